"""The built documentation is whole, and loads nothing from elsewhere. MkDocs' strict checks find dead links."""

import html
import re
import subprocess
import sys

import pytest

from singtech.__main__ import VERBS
from tests.pages import ROOT

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the pages, built with warnings as errors."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def read(path):
    """The words of a page, without its tags."""
    return html.unescape(re.sub(r"<[^>]+>", "", path.read_text(encoding="utf-8")))


def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|source)[^>]+src="?([^" >]+)', text)
        loaded += re.findall(r'<link[^>]+rel="?(?:stylesheet|icon|preload)"?[^>]*href="?([^" >]+)', text)
        assert [each for each in loaded if "//" in each] == [], page.name
    for sheet in site.rglob("*.css"):
        assert re.findall(r"(?:@import|url\()\s*[\"']?https?:", sheet.read_text(encoding="utf-8")) == []


def test_what_is_generated_is_on_its_page(site):
    commands = read(site / "reference" / "commands.html")
    assert [verb for verb in VERBS if f"usage: singtech {verb} " not in commands] == []
    assert "learning rate over the steps of a phase" in read(site / "reference" / "settings.html")
    assert "macro-F1" in read(site / "reference" / "columns.html")
    assert "ablation=padding_both" in read(site / "explanation" / "decisions.html")
    assert "singtech.inference.predictor" in read(site / "reference" / "python.html")
    assert "From command to row" in read(site / "reference" / "contributing.html")
    assert "generated:" not in "".join(page.read_text(encoding="utf-8") for page in site.rglob("*.html"))


def test_no_fence_or_table_was_left_as_text(site):
    for page in site.rglob("*.html"):
        body = re.sub(r"(?s)<pre.*?</pre>|<code>.*?</code>", "", page.read_text(encoding="utf-8"))
        text = re.sub(r"<[^>]+>", "", body)
        assert "```" not in text, page.name
        assert not re.search(r"^\| .* \|$", text, flags=re.MULTILINE), page.name
        assert ":::" not in text, page.name
