"""The report as text: nothing of a person's is markup, rows stay together, what is not here is said."""

import hashlib
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from singtech.cli.report import HEIGHT, WIDEST, _draw_picture, main
from singtech.results.clips import clip_probabilities
from singtech.results.report import answer_everything
from singtech.training.phase_store import features_name
from tests.results.conftest import make_store

ANN = [("ann", "trill", "trill", "scales", 0), ("ann", "belt", "trill", "scales", 1)]


@pytest.fixture
def outputs(run, put_predictions, put_confusion, tmp_path):
    """Two seeds of one condition, and a run with other settings, which does not count."""
    for seed in (0, 1):
        folder = run(seed=seed)
        put_predictions(folder, ANN)
        put_confusion(folder, ("belt", "trill"), [[0, 1], [0, 1]])
    run(settings={"batch_size": 8}, seed=5)
    return tmp_path


@pytest.fixture
def store(outputs, table3_alone, monkeypatch):
    """The clips of the recordings of `outputs`: a second of noise each, at 8 kHz."""
    monkeypatch.setattr("singtech.cli.report._find_store", lambda *_: make_store(ANN))
    return outputs


def payload(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def report(folder, *options):
    assert main([f"output_dir={folder}", "data=vocalset", *options]) == 0
    return (folder / "tables" / "vocalset" / "report.html").read_text()


def test_the_page_needs_nothing_but_itself_and_the_same_results_give_the_same_bytes(outputs):
    page = report(outputs)
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]', page)
    assert "default-src 'none'" in page
    assert "@import" not in page
    assert report(outputs) == page


@pytest.mark.usefixtures("table3_alone")
def test_confusions_and_recordings_are_those_of_the_counted_runs(outputs):
    told = payload(report(outputs))
    (confusion,) = told["confusions"]
    assert (confusion["techniques"], confusion["counts"]) == (["belt", "trill"], [[0, 2], [0, 2]])
    assert [take["name"] for take in told["recordings"]] == ["ann/scales/belt/1.wav", "ann/scales/trill/0.wav"]
    trill = told["techniques"].index("trill")
    assert told["recordings"][1]["clips"][0]["by"][0][trill] == pytest.approx(1000 / (1 + 9 / 2.71828), abs=1)
    assert told["recordings"][0]["audio"] == ""


@pytest.mark.usefixtures("table3_alone")
def test_f1_of_each_technique_has_its_interval_below_it(outputs, put_predictions):
    """Macro-F1 is 1/3, without ann 0, without bob 1: t of 1 degree. Each technique has one singer and no interval."""
    for folder in (outputs / "runs").iterdir():
        put_predictions(folder, [ANN[0], ("bob", *ANN[1][1:])])
    part = re.search(r'id="f1".*?</table>', report(outputs), re.DOTALL)[0]
    names = re.findall(r"<th [^>]*>(.*?)</th>", part)
    above, below = (re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr><td.*?</tr>", part))
    assert len(above) == len(below) == len(names)
    told = dict(zip(names, (text.replace("\xa0", " ") for text in below), strict=True))
    between = {"Condition": "95 %", "macro": "-6.020 to 6.686", "belt": "—", "trill": "—"}
    assert {name: told[name] for name in between} == between


@pytest.mark.usefixtures("table3_alone")
def test_without_predictions_f1_has_no_interval(run, tmp_path):
    run()
    part = re.search(r'id="f1".*?</table>', report(tmp_path), re.DOTALL)[0]
    assert "0.500" in part
    assert "95 %" not in part


@pytest.mark.usefixtures("undrawn")
def test_the_page_ends_with_what_its_tables_rest_on(run, put_corpus, tmp_path):
    put_corpus("vocalset", {("trill", "train"): (5, 1.5, 30), ("trill", "test"): (2, 0.5, 10)})
    for seed, device in ((0, "cpu"), (1, "H100"), (2, "H100")):
        run(seed=seed, device=device, versions="python 3.12 torch 2.14.1")
    run(fold="3", seed=0, device="H100", condition="late", versions="python 3.12 torch 2.14.1")
    run(settings={"batch_size": 8}, seed=5, device="H200")
    told = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", report(tmp_path))
    assert told[0] == ("Corpus", "vocalset: 2.0 minutes, 7 recordings, 1 technique; clips: 10 test, 30 train")
    assert dict(told[1:]) == {
        "Test singers": "female2, female8",
        "Settings": "the paper&#39;s",
        "Other settings": "batch_size=8: each has a folder of its own beside this page",
        "Runs": "4 in tables, of 5 on this corpus",
        "Numbers of the seeds": "0 (2 runs); 1 (1 run); 2 (1 run)",
        "Folds": "own split (3 runs); 3 (1 run)",
        "Device": "H100 (3 runs); cpu (1 run)",
        "Precision": "32-true",
        "Versions": "python 3.12, torch 2.14.1",
        "Commits": "0012345",
        "State of the corpus": "c",
    }


def answer_of(page):
    """The sentence of the first screen, as text."""
    words = re.sub("<.*?>", "", re.search(r'<p class="answer">(.*?)</p>', page, re.DOTALL)[1])
    return " ".join(words.replace("&nbsp;", " ").split())


@pytest.mark.usefixtures("undrawn")
def test_one_seed_decides_nothing(run, tmp_path):
    run(0.5, strategy="joint")
    run(0.7, strategy="crt_wc")
    assert answer_of(report(tmp_path)) == (
        "Late, cRT-WC is the best of 2 conditions: macro-F1 0.700 (95 %: no interval; 1 seed). Its difference from the "
        "next best, Late, joint: +0.200 (95 %: no interval; 1 seed), ? undecided: one seed decides nothing."
    )


@pytest.mark.usefixtures("table3_alone")
def test_a_single_condition_is_compared_with_none(run, tmp_path):
    run(0.5)
    page = report(tmp_path)
    assert answer_of(page) == "Late, cRT-WC is the only condition: macro-F1 0.500 (95 %: no interval; 1 seed)."
    assert 'class="findings"' not in page


@pytest.mark.usefixtures("table3_alone")
def test_without_a_run_the_page_says_how_to_make_one(run, tmp_path):
    run(status="failed")
    page = report(tmp_path)
    assert answer_of(page).startswith("No run is complete yet.")
    assert "<code>singtech run" in page[page.index('id="missing-table3"') :]


@pytest.mark.usefixtures("undrawn")
def test_a_claim_leads_to_its_row_and_shows_its_verdict(run, tmp_path):
    """Nine seeds of cRT-WC less cRT-WFC: +0.1 and all alike but for a little; 2 / 2**9 times three comparisons."""
    for seed in range(9):
        run(0.7 + 0.001 * seed, seed=seed)
        run(0.6, strategy="crt_wfc", seed=seed)
    page = report(tmp_path)
    strip = re.search(r'<div class="findings">.*?</div>', page, re.DOTALL)[0]
    (claim,) = [each for each in re.findall(r"<li>.*?</li>", strip, re.DOTALL) if "cRT-WC beats cRT-WFC" in each]
    assert 'title="supported" aria-label="supported">✓</span>' in claim
    assert "5.2 · +0.104 over 9 seeds" in claim
    anchor = re.search('href="#(.*?)"', claim)[1]
    row = re.search(f'<tr id="{anchor}">.*?</tr>', page, re.DOTALL)[0]
    cells = [re.sub("<.*?>", "", cell).strip() for cell in re.findall("<t[hd].*?</t[hd]>", row, re.DOTALL)]
    assert cells[:3] == ["Late: cRT-WC against cRT-WFC", "✓ supported", "macro-F1"]
    assert "9 claims not run" in strip


@pytest.mark.usefixtures("undrawn")
def test_ours_stands_beside_the_papers(run, put_predictions, tmp_path):
    run(0.61)
    run(0.55, strategy="joint")
    part = re.search(r'<div class="ours">.*?</div>', report(tmp_path), re.DOTALL)[0]
    rows = [re.findall(r"<t[hd].*?>(?:<strong>)?(.*?)<", row) for row in re.findall(r"<tr><th scope=.row.*", part)]
    assert rows == [["Late, joint", "0.559", "0.550", "—", "1 seed"], ["Late, cRT-WC", "0.620", "0.610", "—", "1 seed"]]
    assert "10 more rows of Tables 2 and 3 not run" in part


@pytest.mark.usefixtures("undrawn")
def test_what_was_not_run_has_no_section_but_a_command(run, tmp_path):
    run(0.61)
    page = report(tmp_path)
    assert 'id="table3"' in page
    assert 'id="table2_joint"' not in page
    lines = page[page.index('id="missing-table2_joint"') :]
    assert "<code>singtech run -m experiments=table2_joint seed=0" in lines
    links = set(re.findall(r'href="#(.*?)"', page))
    assert links <= set(re.findall(r'\bid="(.*?)"', page))


@pytest.mark.usefixtures("undrawn")
def test_a_note_of_several_pages_is_there_once(run, tmp_path):
    run(0.61)
    page = report(tmp_path)
    note = "Runs made with device cpu; precision 32-true; torch 2.14.1"
    assert page.count(note) == 1
    assert page.index('id="notes"') < page.index(note) < page.index('id="part-clips"')


@pytest.mark.usefixtures("table3_alone")
@pytest.mark.parametrize(
    ("data", "command"),
    [
        ("vocalset", "singtech prepare output_dir="),
        ("demo", "singtech prepare data=demo output_dir="),
        ("choir", "singtech prepare data=folder data.name=choir data.root=FOLDER "),
    ],
)
def test_where_the_clips_are_not_here_the_command_that_makes_them_is_named(
    run, put_predictions, tmp_path, data, command
):
    put_predictions(run(data=data), ANN)
    assert main([f"output_dir={tmp_path}", f"data={data}"]) == 0
    assert command in payload((tmp_path / "tables" / data / "report.html").read_text())["silent"]


@pytest.mark.parametrize(
    ("options", "heard", "said"),
    [
        ((), [True, True], ""),
        (("audio=hardest",), [True, False], "1 of 2 recordings can be heard: the page was made with audio=hardest"),
        (("audio=none",), [False, False], "No recording can be heard: the page was made with audio=none."),
    ],
)
def test_as_many_recordings_are_heard_as_were_asked_for(store, monkeypatch, options, heard, said):
    monkeypatch.setattr("singtech.cli.report.HARDEST", 1)
    page = report(store, *options)
    assert said in page
    assert ("can be heard" in page) == (said != "")
    takes = payload(page)["recordings"]  # the belt, taken for a trill, is the harder one
    assert [take["audio"].startswith("data:audio/mpeg;base64,") for take in takes] == heard
    assert all(take["picture"].startswith("data:image/webp;base64,") for take in takes)


def test_where_there_is_no_room_the_hardest_are_heard(store, monkeypatch):
    whole = payload(report(store))["recordings"]
    room = sum(len(take["picture"]) for take in whole) + len(whole[0]["audio"])
    monkeypatch.setattr("singtech.cli.report.MOST_BYTES", room + 10)
    page = report(store)
    assert [bool(take["audio"]) for take in payload(page)["recordings"]] == [True, False]
    assert "<p>1 of 2 recordings can be heard: above " in page
    assert " MB of pictures and sound in all, the easier ones are silent.</p>" in page


def test_a_long_recording_fits_a_picture():
    picture, width = _draw_picture(np.zeros(8000 * 600, dtype=np.int16), 8000)
    assert picture[:4] == b"RIFF"
    assert width == WIDEST


@pytest.mark.parametrize(("rate", "row"), [(8000, 0.75 * HEIGHT), (44100, 0.75 * HEIGHT)])
def test_a_picture_is_spaced_in_mel_up_to_8_khz_and_higher_above(rate, row):
    """A tone at that share of the mels of 4 kHz or 8 kHz, 2146 and 2840 (O'Shaughnessy 1987), is in its row."""
    mels = 2146.06 if rate == 8000 else 2840.02
    tone = np.sin(2 * np.pi * 700 * (10 ** (0.75 * mels / 2595) - 1) * np.arange(2 * rate) / rate)
    picture = np.array(Image.open(io.BytesIO(_draw_picture((9000 * tone).astype(np.int16), rate)[0])).convert("L"))
    assert len(picture) == (HEIGHT if rate == 8000 else round(HEIGHT * 3923.34 / 2840.02))
    assert len(picture) - picture[:, 60].argmax() == pytest.approx(row, abs=2)


def test_features_of_the_last_phase_that_has_them_are_mapped(store):
    """Conditions of the same phase share a map; the clips' fingerprint tells the file."""
    clips, corpus = np.array([[0.0, 1.0], [2.0, 1.0]], dtype=np.float32), make_store(ANN)
    with io.BytesIO() as buffer:
        np.save(buffer, clips)
        data = buffer.getvalue()
    for key, name in (("b", "0" * 16), ("a", corpus.state)):
        folder = store / "phases" / key / "features"
        folder.mkdir(parents=True)
        (folder / features_name(name, data)).write_bytes(data)
    (found,) = payload(report(store))["maps"]
    assert (found["conditions"], found["run"].split("-")[0]) == ([0], "vocalset")
    layout = next(each for each in found["layouts"] if each["name"] == "PCA")
    assert layout["axes"][0] == "component 1: 100 % of the variance"
    assert [abs(x) for x, y in layout["points"]] == [1000, 1000]
    assert layout["points"][0][0] == -layout["points"][1][0]


@pytest.mark.parametrize("damage", ["epoch,loss,f1\n1,9.0,0.25\n", "", None])
def test_a_curve_that_was_changed_is_left_out_and_named(store, caplog, damage):
    curve = "epoch,loss,f1\n1,2.0,0.25\n"
    files = {"log.csv": hashlib.sha256(curve.encode()).hexdigest()}
    for key, content in (("a", curve), ("b", curve if damage is None else damage)):
        phase = store / "phases" / key
        phase.mkdir(parents=True)
        (phase / "log.csv").write_text(content)
        (phase / "phase.json").write_text(json.dumps({"phase": {"name": key}, "files": files}))
    phases = [{"name": key, "epoch": [1.0], "loss": [2.0], "f1": [0.25]} for key in ("a", "b")]
    assert payload(report(store))["curves"][0]["phases"] == (phases if damage is None else phases[:1])
    said = [message for message in caplog.messages if "curve" in message]
    assert said == (
        []
        if damage is None
        else [f"{store / 'phases' / 'b'} is damaged (log.csv has changed). Its learning curve is left out."]
    )


def test_without_features_the_page_says_what_to_bring(store):
    page = report(store)
    assert payload(page)["maps"] == []
    assert "bring <code>phases/*/features/</code>" in page


@pytest.mark.usefixtures("table3_alone")
def test_the_hardest_clip_is_the_one_whose_technique_is_least_probable(outputs, collated):
    collated()
    there = replace(collated(), output_dir=outputs)
    clips = clip_probabilities(answer_everything(there, "vocalset"))
    assert clips.true[1] < clips.true[0]
    hardest = re.search(r'id="hardest".*?<tbody>(.*?)</tbody>', report(outputs), re.DOTALL)[1]
    assert "ann/scales/belt/1" in hardest
    assert "ann/scales/trill/0" not in hardest  # it is named rightly


@pytest.mark.usefixtures("table3_alone")
def test_what_a_person_named_is_escaped(run, put_predictions, tmp_path):
    evil = '</script><img src=x onerror="x">'
    folder = run(data="choir", commit=evil)
    put_predictions(folder, [("ann", "trill", "trill", "a<b>", f"{evil.replace('/', '')}")])
    assert main([f"output_dir={tmp_path}"]) == 0
    page = (tmp_path / "tables" / "choir" / "report.html").read_text()
    assert "<img src=x" not in page
    assert page.count("</script>") == 2
    assert payload(page)["recordings"][0]["context"] == "a<b>"
    assert "not comparable with the paper" in page


@pytest.mark.usefixtures("table3_alone")
def test_without_predictions_the_page_says_so(run, tmp_path):
    run()
    page = report(tmp_path)
    assert "bring <code>runs/*/predictions.csv</code> along" in page
    assert payload(page)["recordings"] == []


@pytest.mark.parametrize(
    ("option", "why"), [("audio=loud", "expected all or hardest or none"), ("size=1", "size=1: no such option")]
)
def test_a_mistake_is_one_sentence(tmp_path, capsys, option, why):
    assert main([f"output_dir={tmp_path}", option]) == 1
    assert why in capsys.readouterr().err
