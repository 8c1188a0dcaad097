"""What the report's first screen says, by hand."""

from dataclasses import replace

import pytest

from singtech.results.overview import Rank, compare_best, rank, scale
from singtech.results.report import answer_everything

NAN = float("nan")
TECHNIQUES = ("belt", "trill")
SINGERS = ("ann", "ben", "cid")


@pytest.fixture
def put(run, put_predictions):
    """A run in which each singer has 5 clips of two techniques, and `right` of each are named right."""

    def runs(right, **condition):
        clips = [
            (singer, technique, technique if n < count else "other", "scales", f"{technique}{n}")
            for singer, count in zip(SINGERS, right, strict=True)
            for technique in TECHNIQUES
            for n in range(5)
        ]
        shares = [count / 5 for count in right]
        recall = sum(shares) / 3
        folder = run(2 * recall / (1 + recall), **condition)  # the F1 of each technique, with a precision of 1
        put_predictions(folder, clips, (*TECHNIQUES, "other"))

    return runs


@pytest.fixture
def everything(collated, tmp_path):
    return lambda: answer_everything(replace(collated(), output_dir=tmp_path), "vocalset")


def test_conditions_are_ranked_by_macro_f1_with_what_they_rest_on(run, everything):
    for seed in (0, 1):
        run(0.4 + 0.2 * seed, strategy="joint", seed=seed)
    run(0.7)
    ranks = rank(everything())
    assert [(each.label, each.mean, each.rests_on) for each in ranks] == [
        ("Late, cRT-WC", 0.7, "1 seed"),
        ("Late, joint", pytest.approx(0.5), "2 seeds"),
    ]


def test_the_lead_is_paired_and_judged_among_all_others(put, everything):
    """The best has a clip more of each technique and singer, at each seed: little varies, and p counts twice, for two
    other conditions."""
    for seed in (0, 1, 2):
        put((5, 5, 4), seed=seed)
        put((4, 4, 3), strategy="crt_wfc", seed=seed)
        put((2, 2, 1), strategy="joint", seed=seed)
    found = compare_best(everything())
    assert (found["label"], found["rests_on"], found["verdict"]) == ("Late, cRT-WFC", "3 seeds", "supported")
    assert found["difference"] == pytest.approx(28 / 29 - 22 / 26)
    assert 0 < found["low"] < found["difference"] < found["high"]
    assert found["why"].endswith(", among 2 other conditions")


def test_equal_conditions_are_no_lead(put, everything):
    for seed in (0, 1):
        put((5, 4, 3), seed=seed)
        put((5, 4, 3), strategy="joint", seed=seed)
    found = compare_best(everything())
    assert (found["difference"], found["verdict"]) == (0, "undecided")
    assert found["why"] == "without the runs' predictions there is no interval"


def test_without_a_common_seed_nothing_is_decided(run, everything):
    run(0.7, seed=0)
    run(0.5, strategy="joint", seed=1)
    found = compare_best(everything())
    assert (found["verdict"], found["why"]) == ("not run", "they have no seed in common")


def test_a_scale_holds_all_intervals_in_tenths():
    assert scale([Rank("a", 0.42, 0.33, 0.55, ""), Rank("b", 0.3, NAN, NAN, "")]) == (0.3, 0.6)
    assert scale([Rank("a", 0.5, -0.2, 1.3, "")]) == (0.0, 1.0)
    assert scale([Rank("a", 0.5, NAN, NAN, "")]) == (0.5, 0.6)
    assert scale([Rank("a", 1.0, NAN, NAN, "")]) == (0.9, 1.0)
