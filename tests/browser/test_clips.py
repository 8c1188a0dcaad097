"""Clips in a real browser: pictures, addresses, lists, two conditions beside each other, the map, learning curves."""

import hashlib
import io
import json
import time

import numpy as np
import pytest

from singtech.cli import report as cli
from singtech.results.collate import collate, read_collated
from singtech.results.report import answer_everything, write_report
from singtech.results.rows import write_row
from singtech.training.phase_store import features_name
from tests.results.conftest import make_a_row, make_store, write_predictions

pytestmark = pytest.mark.long
pytest.importorskip("selenium.webdriver")

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

CLIPS = [  # singer, technique, context, recording; three clips are of one recording
    *[("ann", "trill", "long & tones", "one@2")] * 3,
    ("ann", "belt", "scales", "two"),
    ("bob", "belt", "scales", "three"),
    ("bob", "vibrato", "scales", "four"),
]
WC = ("trill", "belt", "trill", "belt", "trill", "vibrato")  # what late_crt_wc names each
JOINT = (
    "trill",
    "belt",
    "belt",
    "trill",
    "trill",
    "vibrato",
)  # and late_joint: 2 both right, 2 fixed by late_crt_wc, 2 both wrong
OTHER_SEED = ("trill", "trill", "trill", "belt", "trill", "vibrato")  # of late_crt_wc, with half the logits
FIRST = "ann/long & tones/trill/one@2.wav"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report on two conditions of 24 kHz, with features and curves, as a file's address."""
    place = tmp_path_factory.mktemp("clips")
    for condition, strategy, seed, named in (
        ("late_crt_wc", "crt_wc", 0, WC),
        ("late_crt_wc", "crt_wc", 1, OTHER_SEED),
        ("late_joint", "joint", 0, JOINT),
    ):
        row = make_a_row(condition=condition, strategy=strategy, alpha=0.2, seed=seed)
        row |= {"phases": f"{strategy}{seed}"}
        folder = place / "runs" / row["run"]
        write_row(folder, row)
        write_predictions(folder, [(s, t, n, c, r) for (s, t, c, r), n in zip(CLIPS, named, strict=True)])
        if named is OTHER_SEED:  # the first seed counts more
            halve(folder / "predictions.csv")
        phase = place / "phases" / f"{strategy}{seed}"
        phase.mkdir(parents=True)
        curve = b"epoch,loss,f1\n1,2.0,0.25\n2,1.0,0.5\n3,0.5,0.75\n"
        (phase / "log.csv").write_bytes(curve)
        files = {"log.csv": hashlib.sha256(curve).hexdigest()}
        (phase / "phase.json").write_text(json.dumps({"phase": {"name": "features"}, "files": files}))
    store = make_store([(s, t, "", c, r) for s, t, c, r in CLIPS], 24000, 3.0)
    with io.BytesIO() as buffer:
        np.save(buffer, np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))
        data = buffer.getvalue()
    features = place / "phases" / "crt_wc0" / "features" / features_name(store.state, data)
    features.parent.mkdir()
    features.write_bytes(data)
    collate(place)
    answer = answer_everything(read_collated(place), "vocalset")
    clips = cli.clip_probabilities(answer)
    takes, sounds = cli.render_recordings(answer.collated, "vocalset", clips, store, "all")
    maps = cli.describe_maps(clips, cli.read_features(answer, clips, store))
    path = place / "report.html"
    write_report(path, answer, clips, [], takes, sounds, maps)
    return path.as_uri()


def halve(path):
    path.write_text(path.read_text().replace(",1.0", ",0.5"))


@pytest.fixture
def opened(browser, page):
    browser.set_window_size(1280, 900)
    browser.get("about:blank")
    browser.get(page)
    return browser


def find(browser, css):
    return browser.find_element(By.CSS_SELECTOR, css)


def texts(browser, css):
    return [element.text for element in browser.find_elements(By.CSS_SELECTOR, css)]


def wait(browser, script):
    until = time.monotonic() + 10
    while not browser.execute_script(f"return {script}"):
        assert time.monotonic() < until, script
        time.sleep(0.05)


def click(browser, css):
    element = find(browser, css)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def listed(browser):
    """What the open list shows, the name of each of its recordings."""
    return [text.split("/")[-1] for text in texts(browser, "#clip-list[open] details[open] li a")]


def test_there_is_no_error_and_no_network(opened, page):
    opened.get(f"{page}#clip=nobody@0")
    wait(opened, "document.getElementById('takes-lost').textContent.includes('nobody')")
    assert [entry for entry in opened.get_log("browser") if entry["level"] != "INFO"] == []
    asked = [entry["message"] for entry in opened.get_log("performance")]
    assert not [message for message in asked if '"Network.requestWillBeSent"' in message and '"url":"http' in message]


def test_an_address_opens_its_clip_and_back_works(opened, page):
    opened.get(f"{page}#clip=bob/scales/belt/three.wav@12&by=Late,+joint&against=Late,+cRT-WC")
    wait(opened, "view.clip.take.singer === 'bob'")
    assert find(opened, "#take h3").text == "bob/scales/belt/three.wav"
    assert Select(find(opened, "#take-by")).first_selected_option.text == "Late, joint"
    assert Select(find(opened, "#compare-against")).first_selected_option.text == "Late, cRT-WC"
    assert opened.execute_script(
        "const b = arguments[0].getBoundingClientRect(); return b.top < innerHeight", find(opened, "#take")
    )
    click(opened, "#takes li:nth-child(1) button")
    wait(opened, "document.querySelector('#take h3').textContent.includes('one@2')")
    assert "clip=ann/long+%26+tones/trill/one%402.wav@0&by=Late,+joint&" in opened.current_url
    Select(find(opened, "#take-by")).select_by_visible_text("Late, cRT-WC")
    opened.back()
    opened.back()
    wait(opened, "document.querySelector('#take h3').textContent.includes('three')")
    assert Select(find(opened, "#take-by")).first_selected_option.text == "Late, joint"


def test_a_picture_has_axes_and_what_its_clips_are_named(opened, page):
    opened.get(f"{page}#clip=ann/long+%26+tones/trill/one%402.wav@3&by=Late,+cRT-WC")
    wait(opened, "view.clip.start === 3")
    assert texts(opened, ".stage g > text") == ["✓ trill", "✗ belt", "✓ trill"]  # the mean of both seeds
    assert opened.execute_script("return document.querySelectorAll('.stage .border').length") == 2
    assert texts(opened, ".spectrogram > svg text") == ["named", "0", "0.25", "0.5", "1", "2", "4", "8", "kHz"]
    assert texts(opened, ".stage > svg > text") == [*map(str, range(10)), "seconds"]
    eight = opened.execute_script("return document.querySelector('.ground img').clientHeight")
    click(opened, ".tools button:last-child")
    assert "12" in texts(opened, ".spectrogram > svg text")
    assert opened.execute_script("return document.querySelector('.ground img').clientHeight") == 200 < eight
    Select(find(opened, "#take-against")).select_by_visible_text("Late, joint")
    wait(opened, "view.against !== null")
    assert texts(opened, ".stage g > text")[3:] == ["✓ trill", "✗ belt", "✗ belt"]


def test_keys_step_and_a_click_seeks(opened):
    figure = find(opened, ".figure")
    opened.execute_script("arguments[0].focus()", figure)
    figure.send_keys(Keys.ARROW_DOWN)
    wait(opened, "view.clip.start === 9")
    figure.send_keys(Keys.ARROW_UP)
    wait(opened, f"view.clip.take.name === '{FIRST}'")
    figure.send_keys(Keys.ARROW_RIGHT)
    wait(opened, "view.clip.start === 3")
    assert opened.current_url.endswith("one%402.wav@3&by=Late,+cRT-WC")
    wait(opened, "document.querySelector('#take audio').currentTime === 3")
    figure.send_keys(Keys.SPACE)
    wait(opened, "document.querySelector('#take audio').currentTime > 3.1")
    moved = opened.execute_script("return document.querySelector('.playhead').getAttribute('transform')")
    assert float(moved.split("(")[1].split()[0]) > 3.05 / 9 * opened.execute_script(
        "return document.querySelector('.stage').clientWidth"
    )
    figure.send_keys(Keys.SPACE)
    opened.execute_script(
        "const box = document.querySelector('.stage svg').getBoundingClientRect();"
        "document.querySelector('.stage svg').dispatchEvent(new MouseEvent('click', {bubbles: true, "
        "clientX: box.left + box.width * 7 / 9, clientY: box.top + 99}))"
    )
    wait(opened, "view.clip.start === 6 && Math.abs(document.querySelector('#take audio').currentTime - 7) < 0.1")


def test_a_hard_clip_opens_at_its_second(opened):
    """With a logit of 1, 0.232 of what a seed names is sure, with 0.5 0.155: late_joint wins where they differ."""
    assert "The 4 clips that the mean over all conditions names wrongly" in find(opened, "#hardest .caption").text
    click(opened, "#hardest a[href*='one']")
    wait(opened, "view.clip.start === 3")
    wait(opened, "document.querySelector('#take audio').currentTime === 3")


def test_two_conditions_are_counted_clip_by_clip(opened):
    Select(find(opened, "#compare-by")).select_by_visible_text("Late, cRT-WC")
    wait(opened, "document.querySelector('#compare-says').textContent.startsWith('Late, cRT-WC names')")
    assert texts(opened, ".square tbody td") == ["2 both right", "0 broken", "2 fixed", "2 both wrong"]
    assert find(opened, "#compare-says").text == (
        "Late, cRT-WC names 2 clips rightly that Late, joint does not, and 0 the other way round: "
        "McNemar's exact p = 0.500."
    )  # 2 of 2 the same way: 2 / 4
    rows = texts(opened, "#compare-table [aria-label*=technique] tbody tr")
    assert rows == ["belt 0 1 0 1 +1", "trill 1 1 0 1 +1", "vibrato 1 0 0 0 0"]
    assert texts(opened, "#compare-table [aria-label*=singer] tbody tr") == ["ann 1 2 0 1 +2", "bob 1 0 0 1 0"]
    click(opened, ".square td.fixed button")
    assert listed(opened) == ["one@2.wav", "two.wav"]
    click(opened, "#clip-list li:nth-child(1) a")
    wait(opened, "view.clip.start === 6")
    assert not find(opened, "#clip-list").is_displayed()
    assert "against=Late,+joint" in opened.current_url


def test_a_list_is_heard_clip_after_clip(opened):
    click(opened, ".square td.both-wrong button")
    click(opened, "#clip-list-on")
    opened.execute_script("sound.playbackRate = sound.defaultPlaybackRate = 8")
    click(opened, "#clip-list li:first-child .thumb")
    wait(opened, "sound.currentTime > 0 && !sound.paused")
    wait(opened, "sound.src === takes[2].audio")  # the second of the list
    find(opened, "#clip-list").send_keys(Keys.ESCAPE)
    wait(opened, "sound.paused")


def test_numbers_open_their_clips(opened):
    Select(find(opened, "#matrix-of")).select_by_visible_text("Late, cRT-WC")
    cell = next(
        one
        for one in opened.find_elements(By.CSS_SELECTOR, "#matrix button")
        if "named belt" in one.get_attribute("title") and "trill" in one.get_attribute("title")
    )
    assert cell.text == "17 % (1)"  # of 3 clips by 2 seeds
    opened.execute_script("arguments[0].click()", cell)
    assert listed(opened) == ["one@2.wav"]
    assert "by 1 of 2 seeds" in find(opened, "#clip-list li").text
    click(opened, "#clip-list .close")
    click(opened, "#f1 td[data-condition='Late, joint'][data-technique=trill] button")
    assert texts(opened, "#clip-list summary") == [
        *("Missed (trill taken for another): 2 clips", "False (another taken for trill): 2 clips", "Right: 1 clip")
    ]
    assert listed(opened) == ["one@2.wav", "one@2.wav"]


def test_a_point_of_the_map_is_heard_and_a_name_stands_alone(opened):
    assert texts(opened, "#map-of option") == ["Late, cRT-WC"]
    assert len(opened.find_elements(By.CSS_SELECTOR, "#map-figure .dot")) == 6
    assert texts(opened, ".legend button") == ["belt 2", "trill 3", "vibrato 1"]
    axes = texts(opened, "#map-figure > svg > text")
    assert all("of the variance" in axis for axis in axes)
    opened.execute_script("document.querySelector('#map-figure .dot').dispatchEvent(new MouseEvent('click'))")
    assert "one@2.wav" in find(opened, "#map-clip").text
    wait(opened, "sound.currentTime > 0 && !sound.paused")
    click(opened, ".legend button:nth-child(2)")
    assert len(opened.find_elements(By.CSS_SELECTOR, "#map-figure .faded")) == 3
    Select(find(opened, "#map-colour")).select_by_visible_text("right or wrong")
    assert texts(opened, ".legend button") == ["right 4", "wrong 2"]


def test_curves_of_several_runs_lie_over_each_other_and_tell_their_values(opened):
    assert texts(opened, "#curves tbody td")[1:3] == ["0.500", "0.750"]
    find(opened, "#curves svg").send_keys(Keys.ARROW_LEFT)
    assert texts(opened, "#curves th")[0] == "Epoch 2"
    assert texts(opened, "#curves tbody td")[1:3] == ["1.000", "0.500"]
    click(opened, "#curves-keep")
    Select(find(opened, "#curves-of")).select_by_index(2)
    assert len(opened.find_elements(By.CSS_SELECTOR, "#curves polyline")) == 4
    assert {"loss", "F1", "epoch"} <= set(texts(opened, "#curves svg text"))
    click(opened, "#curves tbody tr:first-child button")
    assert len(opened.find_elements(By.CSS_SELECTOR, "#curves polyline")) == 2


@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_scrolls_the_page_sideways(opened, width):
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    opened.refresh()
    found = opened.execute_script("return document.documentElement.scrollWidth")
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert found <= width
