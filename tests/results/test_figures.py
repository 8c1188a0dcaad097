"""Figures look alike on every machine: a person's own matplotlib settings change nothing."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager

from singtech.results import figures
from singtech.results.figures import blank, save
from singtech.results.timeline_figure import draw_timeline

OWN = {"axes.facecolor": "red", "font.size": 20, "text.usetex": True, "savefig.dpi": 30, "axes.grid": True}


def timeline(stem):
    """The bytes of half a second of a 1 kHz tone, belt throughout."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000).astype("f4")
    edges, probabilities = np.array([0, 0.5]), np.array([[0.9, 0.1]])
    figure = draw_timeline("tone", [tone], 8000, ("belt", "lip_trill"), edges, probabilities, np.array([False]))
    return [path.read_bytes() for path in save(figure, stem)]


def test_a_matplotlibrc_changes_no_figure_and_is_left_as_it_is(tmp_path):
    plain = timeline(tmp_path / "plain")
    with matplotlib.rc_context(OWN):
        assert timeline(tmp_path / "own") == plain
        assert matplotlib.rcParams["font.size"] == 20


def font_of(letters, path):
    """Write a font that has a triangle for each letter."""
    builder, pen = FontBuilder(1000), TTGlyphPen(None)
    pen.moveTo((0, 0)), pen.lineTo((0, 500)), pen.lineTo((500, 500)), pen.closePath()
    names = {letter: f"u{ord(letter):04X}" for letter in letters}
    glyphs = [".notdef", *names.values()]
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap({ord(letter): name for letter, name in names.items()})
    builder.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Triangles", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(path)


def test_letters_are_drawn_in_an_installed_font_that_has_them(tmp_path, monkeypatch, caplog):
    letters = "\U00013000\U00013001"  # hieroglyphs
    monkeypatch.setattr(figures, "_boxed", set())
    boxes = save(blank(letters), tmp_path / "boxes")[0].read_bytes()
    save(blank("\U00013002"), tmp_path / "boxes")
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("\U00013000 \U00013001: no font here has it")
    font_of(letters, tmp_path / "triangles.ttf")
    monkeypatch.setattr(fontManager, "ttflist", fontManager.ttflist[:])
    fontManager.addfont(tmp_path / "triangles.ttf")
    figures._find_fonts.cache_clear()
    assert save(blank(letters), tmp_path / "triangles")[0].read_bytes() != boxes
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("place", ["the current folder", "MATPLOTLIBRC"])
def test_commands_draw_as_without_the_users_backend_and_file_and_where_no_home_is(tmp_path, place):
    (tmp_path / "matplotlibrc").write_bytes("font.size: 30  # für Folien".encode("cp1252"))
    code = "import os, sys; from singtech.__main__ import main; sys.argv[1:] = ['store', 'columns=true']; main()\n"
    code += "import matplotlib\nprint(matplotlib.get_backend(), matplotlib.rcParams['font.size'])\n"
    code += "print(os.environ['NUMBA_CACHE_DIR'], matplotlib.get_cachedir(), os.getcwd())"
    environment = os.environ | {"MPLBACKEND": "module://not_installed.backend", "HOME": "/nonexistent"}
    for name in ("MPLCONFIGDIR", "NUMBA_CACHE_DIR"):
        environment.pop(name, None)
    if place == "MATPLOTLIBRC":
        environment[place] = str(tmp_path / "matplotlibrc")
    folder = tmp_path if place == "the current folder" else tmp_path.parent
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=folder, capture_output=True, text=True, check=True
    )
    *_, figures, places = done.stdout.splitlines()
    assert (figures, done.stderr) == ("agg 10.0", "")
    cache, config, current = places.split()
    assert (config, current, Path(cache).exists()) == (cache, str(folder), False)
