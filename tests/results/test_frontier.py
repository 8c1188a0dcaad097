"""The frontier of plain training under logit adjustment, by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from singtech.config_paths import EXPERIMENTS
from singtech.results.experiments import read_experiment
from singtech.results.frontier import TAUS, adjusted, best_accuracy, frontier_page, keep_best
from singtech.results.index import render
from singtech.results.predictions import Predictions
from singtech.results.summaries import answer

FRONTIER = read_experiment(EXPERIMENTS / "frontier.yaml")
COUNTS = "belt=80 trill=20"
LOG_PRIOR = np.log([0.8, 0.2])


def predictions(logits, targets):
    clips = pd.DataFrame({"technique": [("belt", "trill")[k] for k in targets]})
    return Predictions(clips, ("belt", "trill"), np.array(logits, dtype=np.float32))


def test_more_tau_names_the_rare_technique_more_often():
    # trill is named once tau log 4 exceeds the lead of belt: 1, 2 and 3
    of_three = predictions([[1, 0], [2, 0], [3, 0]], [1, 1, 0])
    scores = adjusted(of_three, LOG_PRIOR, np.ones((1, 3), dtype=np.float32))
    accuracy = dict(zip(TAUS.round(2), scores["accuracy"][:, 0], strict=True))
    balanced = dict(zip(TAUS.round(2), scores["balanced_accuracy"][:, 0], strict=True))
    assert [accuracy[tau] for tau in (0, 0.7, 0.75, 1.4, 1.45, 2)] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3, 1, 1])
    assert [balanced[tau] for tau in (0, 0.75, 1.45)] == pytest.approx([0.5, 0.75, 1])


def test_the_best_accuracy_at_a_balanced_accuracy_or_more():
    balanced, accuracy = np.array([[0.5], [0.6], [0.7]]), np.array([[0.9], [0.8], [0.85]])
    for least, expected in [(0.4, 0.9), (0.5, 0.9), (0.55, 0.85), (0.7, 0.85), (0.8, 0.85)]:
        assert best_accuracy(balanced, accuracy, np.array([least])) == pytest.approx([expected])


def test_points_that_another_exceeds_in_both_are_left_out():
    points = {"balanced_accuracy": [0.5, 0.6, 0.55, 0.7, 0.7], "accuracy": [0.9, 0.8, 0.7, 0.6, 0.5]}
    best = keep_best(pd.DataFrame(points))
    assert list(zip(best["balanced_accuracy"], best["accuracy"], strict=True)) == [(0.5, 0.9), (0.6, 0.8), (0.7, 0.6)]


@pytest.fixture
def put(run):
    def put(logits, **condition):
        folder = run(0.5, training_counts=COUNTS, **condition)
        lines = ["recording,singer,technique,context,start,logit_belt,logit_trill"]
        for n, (singer, technique, *values) in enumerate(logits):
            lines.append(",".join(map(str, [f"{singer}/{n}.wav", singer, technique, "scales", 0.0, *values])))
        (folder / "predictions.csv").write_text("\n".join(lines) + "\n")

    return put


CLIPS = [
    (singer, technique, round(draw[0], 4), round(draw[1], 4))
    for singer, seed in (("ann", 0), ("ben", 1), ("cid", 2))
    for technique, shift, count in (("belt", 1.0, 40), ("trill", -0.3, 10))
    for draw in np.random.default_rng([seed, count]).normal([shift, 0.0], 1.0, (count, 2))
]


def test_logit_adjustment_itself_gains_nothing_and_a_better_network_does(put, collated, tmp_path):
    put(CLIPS, strategy="crt_wc", alpha=0.0)
    moved = [(singer, name, belt - LOG_PRIOR[0], trill - LOG_PRIOR[1]) for singer, name, belt, trill in CLIPS]
    put(moved, strategy="logit_adjusted", alpha=0.0)
    better = [(singer, name, belt + (name == "belt"), trill + (name == "trill")) for singer, name, belt, trill in CLIPS]
    put(better, strategy="tau_norm", alpha=0.0)
    paths, page = render(FRONTIER, replace(collated(), output_dir=tmp_path), {}, "vocalset", tmp_path)
    gains = page.frame.dropna(subset="verdict").set_index("condition")
    assert gains.loc["late_logit_adjusted", "gain"] <= 1e-9
    assert gains.loc["late_tau_norm", "gain"] > 0.05
    assert gains.loc["late_tau_norm", "verdict"] == "undecided"  # one seed
    assert gains.loc["late_lws", "verdict"] == "not run"
    assert {path.name for path in paths} >= {"frontier.png", "frontier.pdf", "frontier.csv"}


def test_one_seed_is_undecided_even_if_every_singer_gains(put, collated, tmp_path, fits_print):
    better = [(singer, name, belt + (name == "belt"), trill + (name == "trill")) for singer, name, belt, trill in CLIPS]
    few = replace(
        FRONTIER, conditions=tuple(c for c in FRONTIER.conditions if c.reference in ("late_crt_wc@0", "late_tau_norm"))
    )
    for seed, expected in ((0, "undecided"), (1, "supported")):
        put(CLIPS, strategy="crt_wc", alpha=0.0, seed=seed)
        put(better, strategy="tau_norm", alpha=0.0, seed=seed)
        page = frontier_page(answer(few, replace(collated(), output_dir=tmp_path), "vocalset"))
        (gain,) = page.frame.dropna(subset="verdict").itertuples()
        assert gain.p_holm < 0.05
        assert gain.verdict == expected
        (row,) = page.comparisons
        assert (row.value, row.low, row.high, row.verdict) == (gain.gain, gain.low, gain.high, expected)
    fits_print(page.figure)
