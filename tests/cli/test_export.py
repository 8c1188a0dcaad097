"""Exporting: the folder alone gives the run's own logits back, the card says what it is, mistakes are sentences."""

import re
import sys

import numpy as np
import pytest
import soundfile
import torch
import yaml

from singtech.inference.model_card import model_card
from singtech.inference.saved import read_model
from singtech.results.collate import read_collated
from singtech.results.predictions import read_predictions
from tests.conftest import call_command, own_settings, write_corpus


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Outputs of two runs on four singers, one of them with a random forest."""
    place = tmp_path_factory.mktemp("export")
    own = own_settings(write_corpus(place / "corpus"), place / "outputs")
    assert call_command("run", "-m", "condition=late_crt_wc,forest_plain", *own) == 0
    assert call_command("export", "run=late-crt_wc", f"output_dir={place / 'outputs'}", f"to={place / 'model'}") == 0
    return place


def test_the_folder_alone_gives_the_runs_logits_back(place):
    network, description = read_model(place / "model")
    (folder,) = (place / "outputs" / "runs").glob("*late-crt_wc*")
    told = read_predictions(folder / "predictions.csv")
    assert description.techniques == told.techniques
    waveforms = []
    for clip in told.clips.itertuples():
        samples, rate = soundfile.read(place / "corpus" / f"{clip.recording}.wav", dtype="int16")
        assert (rate, clip.start) == (8000, 0)
        waveforms.append(samples[:4800].astype("f4") / 32768)
    with torch.no_grad():
        logits = network(torch.from_numpy(np.stack(waveforms))).numpy()
    np.testing.assert_allclose(logits, told.logits, atol=1e-4)


def test_the_card_says_what_it_is(place):
    card = (place / "model" / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert (front["library_name"], front["pipeline_tag"]) == ("singtech", "audio-classification")
    assert "corpus choir: not VocalSet, not comparable with the paper" in card
    assert "straight, trill, vibrato" in card
    assert "clips of 0.6 s at 8,000 Hz" in card
    assert "6 clips of singers that it never heard: dot." in card
    (line,) = [line for line in card.splitlines() if line.startswith("| macro-F1")]
    assert line.endswith("— |")  # one singer has no interval


def test_the_card_has_a_plain_title_and_a_picture_of_bounded_size(place):
    from PIL import Image

    card = (place / "model" / "README.md").read_text()
    assert "\n# Singing technique classification: Late, cRT-WC (singtech)\n" in card
    (link,) = re.findall(r"!\[Confusion matrix: [^]]+\]\((.+)\)", card)
    picture = place / "model" / link
    assert picture.stat().st_size < 200_000
    with Image.open(picture) as image:
        assert max(image.size) <= 1000


def test_the_front_matter_gives_the_runs_scores_as_the_hub_reads_them(place):
    card = (place / "model" / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    (folder,) = (place / "outputs" / "runs").glob("*late-crt_wc*")
    row = yaml.safe_load((folder / "row.json").read_text())
    (model,) = front["model-index"]
    (result,) = model["results"]
    assert model["name"] == "Late, cRT-WC (singtech)"
    assert result["task"]["type"] == "audio-classification"
    assert result["dataset"] == {
        "type": "choir",
        "name": "Corpus choir, not VocalSet",
        "config": "its split",
        "split": "test",
    }
    assert {each["type"]: each["value"] for each in result["metrics"]} == {
        name: round(row[name], 4) for name in ("f1", "accuracy", "balanced_accuracy")
    }
    assert "datasets" not in front  # the Hub has no such corpus


def test_the_hubs_own_reader_takes_the_front_matter(place):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard.load(place / "model" / "README.md")
    assert card.data.model_name == "Late, cRT-WC (singtech)"
    assert [result.metric_type for result in card.data.eval_results] == ["f1", "accuracy", "balanced_accuracy"]
    assert all(result.dataset_name == "Corpus choir, not VocalSet" for result in card.data.eval_results)
    again = yaml.safe_load(str(card.data))
    assert again["model-index"][0]["results"][0]["dataset"]["type"] == "choir"


def test_the_card_of_a_split_by_recording_claims_no_unheard_singers(place):
    collated = read_collated(place / "outputs")
    row = next(row for row in collated.results.to_dict("records") if row["strategy"] == "crt_wc")
    card = model_card(row, ("straight",), 8000, 0.6, collated, split_by="recording")
    assert "recordings that it never heard, of singers whom it may have heard: dot" in card
    assert "singers that it never heard" not in card
    assert "test singers are few" not in card


@pytest.mark.parametrize("room", range(0, 13, 2))
def test_a_full_disk_is_one_sentence_and_leaves_no_folder(place, call, fill_disk, tmp_path, room):
    with fill_disk(room):
        said = call("export", "run=late-crt_wc", f"output_dir={place / 'outputs'}", f"to={tmp_path / 'to'}")
    assert said.status == 1
    assert said.err.startswith("error: no room on the disk")
    assert "make room there and run the same command again" in said.err
    assert said.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["run=forest"], "a random forest names its techniques"),
        (["run=nobody"], "run=nobody: none is called so; there are choir-"),
        (["run=choir"], "run=choir: several are called so"),
        (["run=late-crt_wc", "to={place}/model"], "already exists"),
        (["rum=late"], "rum=late: no such option (is run meant?)"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(place, call, arguments, why):
    before = set((place / "outputs").iterdir())
    said = call("export", *(a.format(place=place) for a in arguments), f"output_dir={place / 'outputs'}")
    assert said.status == 1
    assert why in said.err
    assert said.err.count("\n") == 1
    assert set((place / "outputs").iterdir()) == before


def test_uploading_without_its_library_says_what_to_install(place, call, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    options = ["run=late-crt_wc", f"to={place / 'other'}", "push=ann/late", f"output_dir={place / 'outputs'}"]
    said = call("export", *options)
    assert 'pip install "singtech[hub]"' in said.err
    assert not (place / "other").exists()


def test_damaged_weights_are_not_exported(place, call, tmp_path):
    (folder,) = (place / "outputs" / "runs").glob("*late-crt_wc*")
    row = yaml.safe_load((folder / "row.json").read_text())
    weights = place / "outputs" / "phases" / row["phases"].split()[-1] / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    said = call("export", "run=late-crt_wc", f"output_dir={place / 'outputs'}", f"to={tmp_path / 'to'}")
    weights.write_bytes(whole)
    assert "SHA-256 has changed" in said.err
    assert not (tmp_path / "to").exists()


def test_a_run_by_name_predicts_without_being_exported(place, call, tmp_path):
    take = next((place / "corpus" / "dot").rglob("*.wav"))
    options = [f"input={take}", f"output_dir={place / 'outputs'}", f"to={tmp_path}", "pictures=false"]
    said = call("predict", "network=late-crt_wc", *options)
    assert (said.status, said.err) == (0, "")
    assert (tmp_path / f"{take.stem}.csv").is_file()


def test_onnx_without_its_libraries_says_what_to_install(place, call, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    options = ["run=late-crt_wc", f"to={place / 'another'}", f"output_dir={place / 'outputs'}"]
    said = call("export", *options, "onnx=true")
    assert re.search(r'onnxscript (is|are) not installed; do so with pip install "singtech\[onnx\]"', said.err)
    assert not (place / "another").exists()


def test_the_card_says_what_each_technique_is_taken_for(place):
    """Counted here by scikit-learn from the run's predictions."""
    from sklearn.metrics import confusion_matrix, f1_score

    (folder,) = (place / "outputs" / "runs").glob("*late-crt_wc*")
    told = read_predictions(folder / "predictions.csv")
    named = told.logits.argmax(axis=1)
    shares = confusion_matrix(told.targets, named, normalize="true", labels=range(3))
    card = (place / "model" / "README.md").read_text()
    table = card.split("its clips are most often taken for")[1].splitlines()[2:5]
    for name, line in zip(("straight", "trill", "vibrato"), table, strict=True):
        k = told.techniques.index(name)
        f1 = f1_score(told.targets, named, labels=[k], average=None, zero_division=0)[0]
        assert line.startswith(f"| {name}")
        assert f"{f1:.3f}" in line
        for other in range(3):
            expected = f"{told.techniques[other]} ({shares[k, other]:.0%})"
            assert (expected in line) == (other != k and shares[k, other] > 0)


def test_the_card_counts_one_run_a_seed_on_the_same_clips():
    """Of this seed the exported run, of others the newest, none of another state of the corpus."""
    import pandas as pd

    from singtech.inference.model_card import select_condition_runs

    alikes = {"data": "choir", "fold": "", "settings": "{}", "status": "complete", "corpus_fingerprint": "c"}
    row = {"run": "a", "seed": 0, "f1": 0.5, "finished": "2026-01-02"} | alikes
    others = [
        {"run": "rerun of a", "seed": 0, "f1": 0.9, "finished": "2026-01-03"},
        {"run": "old b", "seed": 1, "f1": 0.1, "finished": "2026-01-01"},
        {"run": "b", "seed": 1, "f1": 0.7, "finished": "2026-01-02"},
        {"run": "c", "seed": 2, "f1": 0.7, "finished": "2026-01-02", "corpus_fingerprint": "another"},
        {"run": "d", "seed": 3, "f1": 0.7, "finished": "2026-01-02", "status": "failed"},
    ]
    told = select_condition_runs(row, pd.DataFrame([row, *(alikes | other for other in others)]))
    assert sorted(told["run"]) == ["a", "b"]


OWN = """
from torch import nn


class Flat(nn.Module):
    def __init__(self, shape, width=4):
        super().__init__()
        self.out_features = width
        self.dense = nn.Linear(shape[0] * shape[1] * shape[2], width)

    def forward(self, spectrograms):
        return self.dense(spectrograms.flatten(1))
"""


@pytest.fixture(scope="module")
def own_network(tmp_path_factory):
    """Outputs of a run with a network from `mine_export.py`, whose file is then put elsewhere."""
    place = tmp_path_factory.mktemp("own")
    (place / "mine_export.py").write_text(OWN)
    settings = own_settings(write_corpus(place / "corpus"), place / "outputs")
    network = ["model=own", "model._target_=mine_export.Flat", "+model.width=3", "dc=none"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "path", [*sys.path])
        assert call_command("run", *network, *settings) == 0
    sys.modules.pop("mine_export", None)
    (place / "kept").mkdir()
    (place / "mine_export.py").rename(place / "kept" / "mine_export.py")
    return place


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A file of the class's name on the Python path and in the present folder, which leaves a mark when executed."""
    (tmp_path / "mine_export.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("mine_export", None)
    yield tmp_path / "sprung"
    sys.modules.pop("mine_export", None)


def test_a_network_of_ones_own_is_exported_with_its_file_alone(own_network, call, trap, tmp_path):
    place = f"output_dir={own_network / 'outputs'}"
    refused = call("export", "run=choir", place, f"to={tmp_path / 'model'}")
    assert refused.status == 1
    assert refused.err.count("\n") == 1
    assert "a class that is not singtech's: name its file, code=mine_export.py" in refused.err
    assert not (tmp_path / "model").exists()
    done = call("export", "run=choir", place, f"to={tmp_path / 'model'}", f"code={own_network / 'kept/mine_export.py'}")
    assert (done.status, done.err) == (0, "")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "Its network, `own`, is not the method of the paper" in card
    assert "Yamamoto" not in card
    assert "deformable" not in card
    assert 'load("FOLDER", code="mine_export.py")' in card
    assert "network=FOLDER code=mine_export.py" in card
    names = {"README.md", "config.json", "confusion.png", "model.safetensors"}
    assert {path.name for path in (tmp_path / "model").iterdir()} == names
    assert not trap.exists()


def test_a_network_of_ones_own_predicts_with_its_file_alone(own_network, call, trap, tmp_path):
    code, place = f"code={own_network / 'kept/mine_export.py'}", f"output_dir={own_network / 'outputs'}"
    assert call("export", "run=choir", place, f"to={tmp_path / 'model'}", code).status == 0
    take = next((own_network / "corpus" / "dot").rglob("*.wav"))
    options = [f"input={take}", f"to={tmp_path / 'to'}", "pictures=false", place]
    for network in (tmp_path / "model", "choir"):  # a folder from anywhere, and a run of one's own
        sys.modules.pop("mine_export", None)
        refused = call("predict", f"network={network}", *options)
        assert refused.status == 1
        assert "name its file, code=mine_export.py" in refused.err
        assert not trap.exists()
        done = call("predict", f"network={network}", *options, code)
        assert (done.status, done.err) == (0, "")
        assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("raise RuntimeError('not today')", "mine_export.py, line 1, in <module>: RuntimeError: not today"),
        ("Flat = 3", "name its file"),
        (None, "there is no such file"),
    ],
)
def test_a_file_of_ones_own_that_does_not_serve_is_one_sentence(own_network, call, tmp_path, content, why):
    if content is not None:
        (tmp_path / "mine_export.py").write_text(content)
    place = f"output_dir={own_network / 'outputs'}"
    for command in (["export", "run=choir"], ["predict", "network=choir", f"input={own_network / 'corpus'}"]):
        said = call(*command, place, f"to={tmp_path / 'model'}", f"code={tmp_path / 'mine_export.py'}")
        assert said.status == 1
        assert why in said.err
        assert said.err.count("\n") == 1
        assert "report" not in said.err
