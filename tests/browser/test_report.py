"""The report in a real browser, from the disk: it answers first, sorts, filters, plays, and fits a phone and paper."""

import base64
import re
import shutil
import time

import pytest

from benchmarks.study import CONDITIONS, write_study
from tests.conftest import call_command, own_settings, write_corpus

pytestmark = pytest.mark.long
pytest.importorskip("selenium.webdriver")

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report on three conditions of four singers, as a file's address; one technique is called like markup."""
    place = tmp_path_factory.mktemp("report")
    corpus = write_corpus(place / "corpus")
    for singer in corpus.iterdir():
        shutil.move(singer / "scales" / "trill", singer / "scales" / "<b onclick=x>&trill")
    own = own_settings(corpus, place / "outputs")
    own = [setting for setting in own if not setting.startswith(("trainer=", "schedule="))]
    short = ["schedule.features=1", "schedule.classifier=1"]
    sweep = ["-m", "condition=late,late_crt_wc,none_weighted"]
    assert call_command("run", *sweep, *own, *short) == 0
    assert call_command("report", f"output_dir={place / 'outputs'}", "data=choir") == 0
    return (place / "outputs" / "tables" / "choir" / "report.html").as_uri()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The report on a made-up study of nine seeds and 17 conditions, as a file's address."""
    place = tmp_path_factory.mktemp("study")
    write_study(place)
    assert call_command("report", f"output_dir={place}") == 0
    return (place / "tables" / "made-up" / "report.html").as_uri()


@pytest.fixture
def opened(browser, page):
    browser.set_window_size(1280, 900)
    browser.get(page)
    return browser


@pytest.fixture
def studied(browser, study):
    browser.set_window_size(1280, 1000)
    browser.get(study)
    return browser


PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}


@pytest.fixture
def phone(studied):
    studied.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    yield studied
    studied.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def box(browser, css):
    """Left, top, right and bottom of an element on the screen."""
    script = (
        "const r = document.querySelector(arguments[0]).getBoundingClientRect(); return [r.x, r.y, r.right, r.bottom]"
    )
    return browser.execute_script(script, css)


def texts(browser, css):
    return [element.text for element in browser.find_elements(By.CSS_SELECTOR, css)]


def test_it_loads_without_an_error_and_asks_no_network(opened):
    assert opened.get_log("browser") == []
    asked = [entry["message"] for entry in opened.get_log("performance")]
    requested = [message for message in asked if '"Network.requestWillBeSent"' in message]
    assert all('"url":"http' not in message for message in requested)
    assert "choir" in opened.title
    assert "not comparable" in opened.find_element(By.CLASS_NAME, "warning").text.lower()


def test_the_first_screen_answers(studied):
    """A thousand pixels high: the sentence, Figure 3 beside the claims, and each claim leads to its row."""
    sentence = studied.find_element(By.CLASS_NAME, "answer").text
    assert f"is the best of {len(CONDITIONS)} conditions: macro-F1 0." in sentence
    assert "9 seeds" in sentence
    assert re.search("(supported|refuted|negligible|undecided): ", sentence)
    figure, claims = box(studied, "figure.first img"), box(studied, ".findings")
    assert figure[2] <= claims[0]
    assert max(figure[3], claims[3]) < 1000
    links = studied.find_elements(By.CSS_SELECTOR, ".findings li a")
    assert len(links) == 8  # of ten, without those on random forests
    for link in links:
        row = studied.find_element(By.ID, link.get_attribute("href").split("#")[1])
        assert " against " in row.text
    links[0].click()
    assert 0 <= box(studied, "tr:target")[1] < 1000
    assert texts(studied, ".contents a") == ["Answer", "The paper", "Beyond it", "Statistics", "Clips", "Runs"]
    assert box(studied, ".contents")[1] == 0  # it stays in view


def test_every_link_leads_somewhere(studied):
    lost = studied.execute_script(
        "return [...document.querySelectorAll('a[href^=\"#\"]')].map((a) => a.hash.slice(1))"
        ".filter((id) => !id.startsWith('clip=') && !document.getElementById(id))"
    )
    assert lost == []
    assert studied.get_log("browser") == []


def test_the_header_and_the_first_column_stay_in_view(phone):
    """Both ways, within the frame that scrolls; and the page itself does not scroll sideways."""
    scroll = (
        "const w = document.querySelector('#f1 .wide'); w.scrollIntoView(); w.scrollTo(300, 200); return w.scrollLeft"
    )
    assert phone.execute_script(scroll) == 300
    frame = box(phone, "#f1 .wide")
    assert box(phone, "#f1 thead th:first-child")[:2] == pytest.approx(frame[:2], abs=1)
    assert box(phone, "#f1 thead th:nth-child(4)")[1] == pytest.approx(frame[1], abs=1)
    assert box(phone, "#f1 tbody:nth-of-type(9) tr > :first-child")[0] == pytest.approx(frame[0], abs=1)
    assert phone.execute_script("return document.documentElement.scrollWidth") <= PHONE["width"]


def test_few_cells_are_dashes(studied):
    cells = texts(studied, "main td")
    assert len(cells) > 500
    assert sum(cell == "—" for cell in cells) < len(cells) / 20


def test_plots_are_dark_in_the_dark(studied):
    media = [{"name": "prefers-color-scheme", "value": "dark"}]
    studied.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    plot = "return getComputedStyle(document.querySelector('img.plot')).filter"
    dark = studied.execute_script(plot)
    studied.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert "invert" in dark
    assert studied.execute_script(plot) == "none"


def test_it_prints_in_portrait(studied):
    printed = studied.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})
    pages = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", base64.b64decode(printed["data"]))
    assert 5 < len(pages) < 60
    assert {(round(float(width)), round(float(height))) for width, height in pages} == {(595, 842)}  # A4 in points


def test_what_people_named_is_text_and_not_markup(opened):
    assert opened.find_elements(By.CSS_SELECTOR, "[onclick]") == []
    assert "<b onclick=x>&trill" in opened.find_element(By.ID, "f1").text


def test_a_click_sorts_best_first_another_the_other_way_and_a_third_as_it_was(opened):
    table = "#f1 table"
    header = opened.find_elements(By.CSS_SELECTOR, f"{table} th button")[1]
    cells = f"{table} tbody tr:first-child td:nth-child(2)"
    original = [float(text) for text in texts(opened, cells)]
    first, second, third = [], [], []
    for found in (first, second, third):
        header.click()
        found += [float(text) for text in texts(opened, cells)]
    assert first == sorted(first, reverse=True)
    assert second == sorted(first)
    assert third == original
    assert header.find_element(By.XPATH, "..").get_attribute("aria-sort") is None


@pytest.mark.parametrize(
    ("cells", "ordered"),
    [
        (["Late (3,4)", "Oblong", "1DCNN", "w/o DC"], ["1DCNN", "Late (3,4)", "Oblong", "w/o DC"]),
        (["wc-alpha_1", "wc-alpha_0.5", "—", "wc-alpha_0.05"], ["wc-alpha_0.05", "wc-alpha_0.5", "wc-alpha_1"]),
        (["10 of 12", "5 of 6", "9 of 12"], ["5 of 6", "9 of 12", "10 of 12"]),
        (["2bd87c8", "0012345", "10aaaaa"], ["2bd87c8", "10aaaaa", "0012345"]),
        (["2.14.1+cu130", "2.9.0", "2.9.1"], ["2.9.0", "2.9.1", "2.14.1+cu130"]),
        (["0.61 ± 0.05", "not run yet", "0.9", "—", "-0.2", "−0.3"], ["−0.3", "-0.2", "0.61 ± 0.05", "0.9"]),
        (["100 %", "", "9.5 %", "20 % (3)"], ["9.5 %", "20 % (3)", "100 %"]),
        (["1,438", "962", "10", "< 0.001"], ["< 0.001", "10", "962", "1,438"]),
        (["10 seeds", "0", "9 seeds"], ["0", "9 seeds", "10 seeds"]),
        (["0.500 to 1.000", "—", "0.050 to 0.900"], ["0.050 to 0.900", "0.500 to 1.000"]),
    ],
)
def test_words_sort_as_words_and_numbers_as_numbers_and_the_empty_last(opened, cells, ordered):
    header = opened.execute_script(
        "const table = document.createElement('table'), frame = document.createElement('div');"
        "table.innerHTML = '<thead><tr><th>cells</th></tr></thead>';"
        "for (const text of arguments[0]) { const cell = table.createTBody().insertRow().insertCell();"
        "cell.textContent = text; }"
        "frame.className = 'wide'; frame.id = 'made'; frame.append(table); document.querySelector('h1').after(frame);"
        "equip(table); return table.querySelector('button');",
        cells,
    )
    for expected in (ordered, ordered[::-1]):
        header.click()
        found = texts(opened, "#made td")
        assert found[: len(ordered)] == expected
        assert sorted(found) == sorted(cells)


def test_rows_that_belong_together_stay_together(opened):
    header = opened.find_elements(By.CSS_SELECTOR, "#table2 table th button")[0]
    header.send_keys(Keys.ENTER)  # a keyboard is enough
    groups = opened.find_elements(By.CSS_SELECTOR, "#table2 table tbody")
    late = next(group for group in groups if group.text.startswith("Late"))
    rows = late.find_elements(By.TAG_NAME, "tr")
    kinds = [row.find_elements(By.CSS_SELECTOR, "th, td")[1].text for row in rows]
    assert kinds == ["ours", "paper"]  # no interval: one singer is tested


def test_rows_stay_below_their_heading(studied):
    """Sorted and filtered: the claims' table has a heading a family."""
    table = studied.find_element(By.CSS_SELECTOR, "#verdicts table")

    def families():
        found = {}
        for group in table.find_elements(By.TAG_NAME, "tbody"):
            if group.is_displayed():
                cells = group.find_elements(By.CSS_SELECTOR, "tr:first-child > *")
                found.setdefault(cells[0].text if len(cells) == 1 else list(found)[-1], []).append(cells[0].text)
        return {name: labels[1:] for name, labels in found.items()}

    before = families()
    assert len(before) >= 4
    table.find_element(By.CSS_SELECTOR, "th button").click()
    after = families()
    assert list(after) == list(before)
    assert {name: sorted(labels) for name, labels in before.items()} == {name: sorted(after[name]) for name in after}
    assert after != before
    studied.find_element(By.CSS_SELECTOR, "#verdicts input[type=search]").send_keys("joint cRT-WC")
    assert families() == {"Training strategy (5.2)": ["Late: cRT-WC against joint"]}


def test_a_filter_leaves_the_rows_with_its_words(opened):
    table = opened.find_element(By.CSS_SELECTOR, "#table2 table")
    search = opened.find_element(By.CSS_SELECTOR, "#table2 input[type=search]")
    search.send_keys("late")
    shown = [group.text for group in table.find_elements(By.TAG_NAME, "tbody") if group.is_displayed()]
    assert len(shown) == 1
    assert shown[0].startswith("Late")
    search.send_keys(Keys.CONTROL, "a", Keys.DELETE)
    search.send_keys("nobody")
    assert opened.find_element(By.CSS_SELECTOR, "#table2 [role=status]").text == "No row has these words."
    assert not table.is_displayed()
    search.send_keys(Keys.CONTROL, "a", Keys.DELETE)
    assert sum(group.is_displayed() for group in table.find_elements(By.TAG_NAME, "tbody")) > 5


def test_a_recording_is_chosen_seen_and_heard(opened):
    Select(opened.find_element(By.ID, "take-technique")).select_by_visible_text("vibrato")
    assert opened.find_element(By.ID, "takes-count").text == "2 of 6 recordings"
    opened.find_elements(By.CSS_SELECTOR, "#takes button")[1].click()
    assert "vibrato" in opened.find_element(By.CSS_SELECTOR, "#take h3").text
    picture = opened.find_element(By.CSS_SELECTOR, "#take img")
    assert opened.execute_script("return arguments[0].naturalHeight", picture) == 160
    assert picture.get_attribute("alt").startswith("Spectrogram of ")
    opened.execute_script("return document.querySelector('#take audio').play()")
    until = time.monotonic() + 10
    while not opened.execute_script("return document.querySelector('#take audio').currentTime > 0.1"):
        assert time.monotonic() < until, "it does not play"
        time.sleep(0.05)
    row = [float(cell) for cell in texts(opened, "#take tbody tr:first-child td")]
    assert sum(row) == pytest.approx(100, abs=2)


def test_a_hard_clip_leads_to_its_recording(opened):
    link = opened.find_element(By.CSS_SELECTOR, "#hardest a")
    name = link.text
    link.click()
    until = time.monotonic() + 10
    while opened.find_element(By.CSS_SELECTOR, "#take h3").text != name:
        assert time.monotonic() < until, "it does not open"
        time.sleep(0.05)


def test_confusions_and_curves_follow_the_choice(opened):
    select = Select(opened.find_element(By.ID, "matrix-of"))
    assert len(select.options) == 3
    select.select_by_index(1)
    assert "%" in opened.find_element(By.ID, "matrix").text
    assert len(opened.find_elements(By.CSS_SELECTOR, "#curves polyline")) >= 4
    assert "Loss and F1" in opened.find_element(By.CSS_SELECTOR, "#curves svg").get_attribute("aria-label")


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast_in_light_and_dark(opened, dark):
    """At least 4.5 to 1 (WCAG 2.2, 1.4.3), computed from what the browser shows."""
    media = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    colours = opened.execute_script(
        "const rgb = (e, p) => getComputedStyle(e)[p].match(/[\\d.]+/g).map(Number).slice(0, 3);"
        "const ground = rgb(document.body, 'backgroundColor');"
        "const all = document.querySelectorAll('body, a, small, caption, .quiet, label');"
        "return [...all].map((e) => [rgb(e, 'color'), ground]);"
    )
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert len(colours) > 10
    assert (sum(colours[0][1]) < 200) == dark
    for ink, ground in colours:
        light, low = sorted((luminance(ink), luminance(ground)), reverse=True)
        assert (light + 0.05) / (low + 0.05) >= 4.5


def luminance(colour):
    parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_a_phone_need_not_scroll_sideways(opened):
    phone = {"width": 375, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    width = opened.execute_script("return document.documentElement.scrollWidth")
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert width <= 375


def test_on_paper_no_column_is_cut_off(opened):
    """At the width of A4, less the margins: 186 mm at 96 dots to an inch."""
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    paper = {"width": 703, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", paper)
    rights = opened.execute_script(
        "return [...document.querySelectorAll('table')].map((e) => e.getBoundingClientRect().right)"
    )
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert len(rights) > 8
    assert max(rights) <= 703


def test_pictures_and_controls_have_names(opened):
    unnamed = opened.execute_script(
        "const label = (e) => e.getAttribute('aria-label') || e.ariaHidden || e.alt || (e.labels && e.labels.length);"
        "const named = (e) => label(e) || e.textContent.trim();"
        "return [...document.querySelectorAll('img, svg, audio, input, select, button, [role=region]')]"
        ".filter((e) => !named(e)).map((e) => e.outerHTML.slice(0, 200));"
    )
    assert unnamed == []
    regions = opened.execute_script("return [...document.querySelectorAll('[role=region]')].map((e) => e.ariaLabel)")
    assert len(regions) == len(set(regions)) > 8
    assert all(text.strip() for text in texts(opened, "th"))
    ids = opened.execute_script("return [...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
