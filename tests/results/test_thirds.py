"""Many, medium and few: techniques in thirds by training clips, by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from singtech.config_paths import EXPERIMENTS
from singtech.results.experiments import read_experiment
from singtech.results.index import render
from singtech.results.thirds import read_counts, split_thirds

IMBALANCE = read_experiment(EXPERIMENTS / "imbalance.yaml")
COUNTS = "belt=40 spoken=20 trill=30 vibrato=10"


def test_techniques_are_divided_by_their_training_clips_fewest_first():
    counts = read_counts("belt=333 breathy=360 lip_trill=267 spoken=56 vocal_fry=376 straight=920 inhaled=109")
    expected = [["spoken", "inhaled", "lip_trill"], ["belt", "breathy"], ["vocal_fry", "straight"]]
    assert split_thirds(list(counts), counts) == expected
    assert split_thirds(["belt"], {"belt": 3}) == [["belt"], [], []]


@pytest.fixture
def page(run, put_predictions, collated, tmp_path):
    """Plain re-training takes ben's spoken and belt for straight, the weighted head only his belt; another run was
    stored before its training clips were."""
    sung = [(singer, name, name, "", k) for k, name in enumerate(read_counts(COUNTS)) for singer in ("ann", "ben")]

    def wrong(*names):
        missed = [("ben", name) for name in names]
        return [(*clip[:2], "straight", *clip[3:]) if clip[:2] in missed else clip for clip in sung]

    recalls = {"recall_belt": 0.5, "recall_spoken": 0.5, "recall_trill": 1.0, "recall_vibrato": 1.0}
    put_predictions(run(alpha=0.0, training_counts=COUNTS, **recalls), wrong("spoken", "belt"))
    put_predictions(run(training_counts=COUNTS, **recalls | {"recall_spoken": 1.0}), wrong("belt"))
    run(alpha=1.0)
    paths, page = render(IMBALANCE, replace(collated(), output_dir=tmp_path), {}, "vocalset", tmp_path)
    return paths[0].read_text(), page.frame.set_index(["condition", "metric"])


def test_each_third_has_its_mean_recall_with_an_interval_and_a_difference(page):
    """Spoken and vibrato have fewest clips: plain 3/4, without ann (0 + 1) / 2, without ben 1; weighted always 1."""
    _, frame = page
    means = [frame.loc["late_crt_wc@0", f"recall_{third}"]["mean"] for third in ("many", "medium", "few")]
    assert means == [0.5, 1.0, 0.75]
    half = t.ppf(0.975, 1) * math.sqrt((0.25**2 + 0.25**2) / 2)
    few = frame.loc["late_crt_wc@0", "recall_few"]
    assert (few["low"], few["high"]) == pytest.approx((0.75 - half, 0.75 + half))
    change = frame.loc["late_crt_wc", "recall_few"]
    assert (change["mean"], change["change"]) == (1.0, 0.25)  # 1/2 without ann, 0 without ben
    assert (change["change_low"], change["change_high"]) == pytest.approx((0.25 - half, 0.25 + half))
    many = frame.loc["late_crt_wc", "recall_many"]
    assert (many["change"], np.isnan(many["change_low"])) == (0.0, True)


def test_the_page_names_the_techniques_of_each_third(page):
    text, frame = page
    assert "training clips (many: belt (40); medium: trill (30); few: spoken (20), vibrato (10))." in text
    (header,) = [line for line in text.splitlines() if " many " in line and line.startswith("|")]
    assert [cell.strip() for cell in header.split("|")[4:7]] == ["many", "medium", "few"]
    assert np.isnan(frame.loc["late_crt_wc@1", "recall_few"]["mean"])  # whose training clips are not stored
