"""The score of each layer: the table's cells and the points of the figure are the runs' own."""

import pytest

from singtech.config_paths import EXPERIMENTS
from singtech.results.experiments import read_experiment
from singtech.results.index import PAGES
from singtech.results.summaries import answer

LAYERS = read_experiment(EXPERIMENTS / "encoder_layers.yaml")


@pytest.fixture
def page(run, collated):
    by_layer = [0.4, 0.6, 0.5]
    for encoder, shift in (("wav2vec2", 0.0), ("wavlm", 0.1)):
        for seed in (0, 1):
            for layer, f1 in enumerate(by_layer):
                condition = {"model": encoder, "dc": "none", "strategy": "head", "seed": seed}
                run(f1 + shift + 0.02 * seed, settings={"head": "layers", "model.layer": layer}, **condition)
    return PAGES["layer_scores"](answer(LAYERS, collated(), "vocalset"))


def test_a_layer_is_a_row_and_an_encoder_two_columns():
    names = [condition.reference for condition in LAYERS.conditions]
    assert len(names) == 4 * 13
    assert names[:2] == ["wav2vec2+model.layer=0", "wav2vec2+model.layer=1"]


def test_the_cells_are_the_means_over_seeds(page):
    (table,) = page.tables
    first, second = ([cell.text for cell in line] for line in table.lines[:2])
    assert (first[0], first[1][:5], first[3][:5]) == ("0", "0.410", "0.510")
    assert (second[0], second[1][:5], second[3][:5]) == ("1", "0.610", "0.710")


def test_the_figure_fits_two_columns(page, fits_print):
    fits_print(page.figure)


def test_the_figure_draws_what_was_run(page):
    (axes,) = page.figure.axes
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert lines["wav2vec 2.0"][:3] == pytest.approx([0.41, 0.61, 0.51])
    assert set(lines) == {"wav2vec 2.0", "WavLM"}
