"""Differences of sums of scores, by hand."""

import math
from dataclasses import replace

import pytest

from singtech.config_paths import EXPERIMENTS
from singtech.results.contrasts import contrasts_frame
from singtech.results.experiments import Contrast, read_experiment
from singtech.results.index import render
from singtech.results.summaries import answer

BATCH_NORM = read_experiment(EXPERIMENTS / "batch_norm.yaml")
RUNNING = {"batch_norm": "running"}
TECHNIQUES = ("belt", "trill")


@pytest.fixture
def put(run, put_predictions):
    """Runs of two singers with 10 clips each, of which each run names some right."""

    def runs(right, seed=0, settings=None, **condition):
        clips = [
            (singer, technique, technique if n < count else "other", "scales", f"{technique}{n}")
            for singer, count in right.items()
            for technique in TECHNIQUES
            for n in range(5)
        ]
        accuracy = sum(2 * count for count in right.values()) / 20
        options = {"strategy": "crt_wfc", "settings": settings or {}, "seed": seed, **condition}
        folder = run(accuracy, **options)
        put_predictions(folder, clips, (*TECHNIQUES, "other"))

    return runs


@pytest.fixture
def values(collated, tmp_path):
    def of(*contrasts):
        experiment = replace(BATCH_NORM, contrasts=contrasts, metrics=("accuracy",))
        here = replace(collated(), output_dir=tmp_path)
        return contrasts_frame(answer(experiment, here, "vocalset")).set_index("contrast")

    return of


def test_an_interaction_is_a_difference_of_differences(put, values):
    put({"ann": 5, "ben": 4}, dc="late")  # .9
    put({"ann": 4, "ben": 2}, dc="none")  # .6
    put({"ann": 3, "ben": 3}, dc="late", settings=RUNNING)  # .6
    put({"ann": 1, "ben": 1}, dc="none", settings=RUNNING)  # .2
    interaction = Contrast("interaction", ("late+running", "none_weighted"), ("none_weighted+running", "late"))
    row = values(Contrast("gain", ("late",), ("none_weighted",)), interaction)
    assert row.loc["gain", "value"] == pytest.approx(0.3)
    assert row.loc["interaction", "value"] == pytest.approx((0.6 - 0.2) - (0.9 - 0.6))
    # ann gains .2 and ben .4: the jackknife's error of two singers is half their difference, t(1) is 12.706
    assert row.loc["gain", "high"] - row.loc["gain", "low"] == pytest.approx(2 * 12.7062 * 0.1, rel=1e-4)
    assert row.loc["gain", "verdict"] == "undecided"  # one seed


def test_differences_are_of_the_seeds_that_all_have(put, values):
    for seed, right in enumerate((5, 4)):
        put({"ann": right, "ben": right}, dc="late", seed=seed)
    put({"ann": 2, "ben": 2}, dc="none", seed=1)
    row = values(Contrast("gain", ("late",), ("none_weighted",)))
    assert (row.loc["gain", "seeds"], row.loc["gain", "value"]) == (1, pytest.approx(0.8 - 0.4))


def test_what_was_not_run_says_so_on_the_page(put, collated, tmp_path):
    put({"ann": 5, "ben": 4}, dc="late")
    paths, _ = render(BATCH_NORM, collated(), {}, "vocalset", tmp_path)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in paths[0].read_text().splitlines()]
    assert ["Late against w/o DC, recalibrated", "not run", "0", "—", "—", "—", "—", "—", "—"] in lines


def test_the_correlation_is_of_the_two_sides_over_seeds(put, values):
    late, none = (5, 4, 2, 3), (3, 4, 1, 5)
    for seed, (own, other) in enumerate(zip(late, none, strict=True)):
        put({"ann": own, "ben": own}, dc="late", seed=seed)
        put({"ann": other, "ben": other}, dc="none", seed=seed)
    gain = Contrast("gain", ("late",), ("none_weighted",))
    # deviations from the means 3.5 and 3.25: products 1.5 * -.25 + .5 * .75 + 1.5 * 2.25 - .5 * 1.75 = 2.5
    assert values(gain).loc["gain", "correlation"] == pytest.approx(2.5 / math.sqrt(5 * 8.75))


def test_two_pairs_have_no_correlation(put, values):
    for seed in (0, 1):
        put({"ann": 5 - seed, "ben": 4}, dc="late", seed=seed)
        put({"ann": 2 + seed, "ben": 2}, dc="none", seed=seed)
    assert math.isnan(values(Contrast("gain", ("late",), ("none_weighted",))).loc["gain", "correlation"])


def test_one_seed_is_undecided_even_if_its_interval_excludes_0(put, values):
    gain = Contrast("gain", ("late",), ("none_weighted",))
    for seed, expected in ((0, "undecided"), (1, "supported")):
        put({"ann": 5, "ben": 5, "cid": 4, "dan": 4}, dc="late", seed=seed)
        put({"ann": 1, "ben": 1, "cid": 1, "dan": 1}, dc="none", seed=seed)
        row = values(gain).loc["gain"]
        assert row["low"] > 0.5
        assert row["p_holm"] < 0.05
        assert row["verdict"] == expected


def test_a_heads_distance_from_its_minimum_is_shown_but_no_difference_of_it(put, collated, tmp_path):
    for alpha, gap in ((0.0, 0.25), (0.2, 0.5)):
        put({"ann": 5, "ben": 4}, strategy="crt_wc", alpha=alpha, head_gap=gap)
    ladder = read_experiment(EXPERIMENTS / "ladder.yaml")
    paths, page = render(ladder, collated(), {}, "vocalset", tmp_path)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in paths[0].read_text().splitlines()]
    (own,) = [line for line in lines if line[:1] == ["Late, cRT-WC"]]
    assert own[-1] == "0.500"
    assert [line[-1] for line in lines if line[:1] == ["Difference"]] == ["B-Acc."]
    assert "head_gap" not in set(page.frame.loc[page.frame["verdict"].notna(), "metric"])
