"""Figures look alike on every machine: a person's own matplotlib settings change nothing."""

import os
import subprocess
import sys

import matplotlib
import numpy as np

from singtech.results.figures import save
from singtech.results.timeline_figure import draw_timeline

OWN = {"axes.facecolor": "red", "font.size": 20, "text.usetex": True, "savefig.dpi": 30, "axes.grid": True}


def timeline(stem):
    """The bytes of half a second of a 1 kHz tone, belt throughout."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000).astype("f4")
    figure = draw_timeline("tone", [tone], 8000, ("belt", "lip_trill"), np.array([0, 0.5]), np.array([[0.9, 0.1]]))
    return [path.read_bytes() for path in save(figure, stem)]


def test_a_matplotlibrc_changes_no_figure_and_is_left_as_it_is(tmp_path):
    plain = timeline(tmp_path / "plain")
    with matplotlib.rc_context(OWN):
        assert timeline(tmp_path / "own") == plain
        assert matplotlib.rcParams["font.size"] == 20


def test_commands_draw_where_the_backend_of_a_notebook_is_not_installed():
    code = "import singtech.cli, matplotlib; print(matplotlib.get_backend())"
    environment = os.environ | {"MPLBACKEND": "module://not_installed.backend"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("agg", "")
