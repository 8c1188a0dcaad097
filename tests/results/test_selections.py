"""Selecting on the test singers: what would have been selected otherwise, and by how much it flatters."""

import math
from dataclasses import replace

import pytest

from singtech.config_paths import EXPERIMENTS
from singtech.results.experiments import read_experiment
from singtech.results.index import render
from singtech.results.selections import select, sentence
from singtech.results.summaries import answer

EXPERIMENT = read_experiment(EXPERIMENTS / "select_dc.yaml")
HELD_OUT = dict(EXPERIMENT.conditions[0].settings.values)
SCORES = {"none": (0.40, 0.50), "all": (0.50, 0.55), "early": (0.52, 0.54), "late": (0.51, 0.60), "last": (0.45, 0.52)}
RIGHT = (("ann", "late"), ("ben", "early"))


@pytest.fixture
def put(run):
    def runs(names=SCORES, seeds=(0,)):
        for seed in seeds:
            for dc in names:
                validation, test = SCORES[dc]
                options = {"dc": dc, "strategy": "crt_wfc", "settings": HELD_OUT, "seed": seed}
                run(test + 0.1 * seed, validation_f1=validation, **options)

    return runs


def test_the_validation_singers_select_and_the_test_singers_flatter(put, collated, tmp_path):
    put()
    found = answer(EXPERIMENT, collated(), "vocalset")
    selection = select(found)
    assert (selection.on_validation, selection.on_test) == ("early+validation_singers", "late+validation_singers")
    assert selection.optimism == pytest.approx(0.06)
    assert math.isnan(selection.deviation)
    assert sentence(selection, found).endswith(
        "**Late, cRT-WFC, validation_singers**, with 0.600: selecting on the test singers flatters by 0.060."
    )
    paths, _ = render(EXPERIMENT, collated(), {}, "vocalset", tmp_path)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in paths[0].read_text().splitlines()]
    assert ["Early (1,2), validation_singers", "1", "0.520", "0.540", "—", "-0.060", "validation"] in lines
    assert ["Late, cRT-WFC, validation_singers", "1", "0.510", "0.600", "—", "+0.000", "test"] in lines


def test_means_over_seeds_select(put, collated):
    put(seeds=(0, 1))
    found = answer(EXPERIMENT, collated(), "vocalset")
    assert found.wide("mean").at[select(found).on_test, "f1"] == pytest.approx(0.65)


def test_conditions_that_are_alike_on_the_test_singers_flatter_nobody(run, collated):
    for dc, validation in zip(SCORES, (0.3, 0.4, 0.5, 0.4, 0.3), strict=True):
        run(0.6, validation_f1=validation, dc=dc, strategy="crt_wfc", settings=HELD_OUT)
    found = answer(EXPERIMENT, collated(), "vocalset")
    selection = select(found)
    assert selection.on_test == selection.on_validation
    assert "would have selected the same" in sentence(selection, found)


def test_the_optimism_has_a_deviation_over_seeds(put, run, collated):
    put()
    for dc, test in {"none": 0.5, "all": 0.5, "early": 0.50, "late": 0.60, "last": 0.5}.items():
        run(test, validation_f1=SCORES[dc][0], dc=dc, strategy="crt_wfc", settings=HELD_OUT, seed=1)
    selection = select(answer(EXPERIMENT, collated(), "vocalset"))
    assert (selection.optimism, selection.deviation) == pytest.approx((0.08, 0.02 * 2**0.5))  # of 0.06 and 0.10


def test_nothing_is_selected_before_all_were_run(put, collated):
    put(["none", "late"])
    found = answer(EXPERIMENT, collated(), "vocalset")
    assert select(found) is None
    assert "before every condition" in sentence(None, found)


def test_other_corpora_have_other_singers(put, run, collated):
    run(data="choir")
    found = answer(EXPERIMENT, collated(), "choir")
    assert "VocalSet's singers" in sentence(select(found), found)


def test_resampled_singers_tell_how_much_selecting_flatters(run, put_predictions, collated, tmp_path):
    """Of two singers one is drawn. Late is right on ann, Early on ben: F1 of 2/3 on both, 1 on one and 0 on the other.
    The selected one gains 1/3, the other loses 2/3, the other three nothing: 1/15 less in the mean of five."""
    for dc, (validation, test) in SCORES.items():
        folder = run(test, validation_f1=validation, dc=dc, strategy="crt_wfc", settings=HELD_OUT)
        rows = [(name, "belt", "belt" if dc == hit else "trill", "scales", 0) for name, hit in RIGHT]
        put_predictions(folder, rows)
    found = answer(EXPERIMENT, replace(collated(), output_dir=tmp_path), "vocalset")
    selection = select(found)
    assert selection.resampled == pytest.approx(1 / 3 + 1 / 15)
    assert sentence(selection, found).endswith("On resampled test singers, selecting flatters by 0.400 at least.")
