"""Gains over plain re-training at each imbalance ratio, by hand."""

import math
from dataclasses import replace

import pytest
from scipy.stats import t

from singtech.config_paths import EXPERIMENTS
from singtech.corpus.long_tail import RATIOS
from singtech.results.experiments import read_experiment
from singtech.results.groups import list_groups
from singtech.results.index import render

LONG_TAIL = read_experiment(EXPERIMENTS / "long_tail.yaml")
COUNTS = {1: "belt=20 trill=20", 4: "belt=32 trill=8", 16: "belt=38 trill=2"}
RIGHT = {  # ratio, alpha -> how many of ten clips of ann and of ben are named right
    (1, 0.0): (8, 6),
    (1, 1.0): (8, 6),
    (4, 0.0): (6, 6),
    (4, 1.0): (8, 6),
    (16, 0.0): (4, 4),
    (16, 1.0): (8, 6),
}


@pytest.fixture
def page(run, put_predictions, collated, tmp_path):
    def rendered(data="vocalset", fold="", right=RIGHT):
        for (ratio, alpha), counts in right.items():
            accuracy = sum(counts) / 20
            settings = {"schedule": "demo", "data.long_tail": float(ratio)}
            given = {"alpha": alpha, "settings": settings, "training_counts": COUNTS[ratio], "data": data, "fold": fold}
            folder = run(accuracy, **given, accuracy=accuracy, data_fingerprint=f"tail of {ratio}")
            rows = [
                (singer, name, name if n < count / 2 else "other", "scales", f"{name}{n}")
                for singer, count in zip(("ann", "ben"), counts, strict=True)
                for name in ("belt", "trill")
                for n in range(5)
            ]
            put_predictions(folder, rows, ("belt", "trill", "other"))
        experiment = replace(LONG_TAIL, metrics=("accuracy",))
        there = replace(collated(), output_dir=tmp_path)
        return render(experiment, there, {}, data, tmp_path / "tables")

    return rendered


def lines_of(path):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in path.read_text().splitlines()]


def test_gains_are_over_plain_re_training_at_the_same_ratio(page, fits_print):
    paths, rendered = page()
    fits_print(rendered.figure)
    drawn = [(row.group, round(row.value, 6)) for row in rendered.comparisons]
    assert drawn == [("Ratio 1", 0.0), ("Ratio 4", 0.1), ("Ratio 16", 0.3), ("Ratio 16 − 1", 0.3)]
    gains = rendered.frame.dropna(subset="verdict")
    full = gains[gains["label"] == "Late, cRT-WC, α = 1"].set_index("ratio")
    assert [full.loc[ratio, "value"] for ratio in (1, 4, 16)] == pytest.approx([0.0, 0.1, 0.3])
    # at 16 ann gains .4 and ben .2: the error of two singers is half their difference
    half = t.ppf(0.975, 1) * 0.1
    assert (full.loc[16, "low"], full.loc[16, "high"]) == pytest.approx((0.3 - half, 0.3 + half), abs=1e-5)
    growth = gains[gains["contrast"] == "Late, cRT-WC, α = 1: gain at 16 against at 1"].iloc[0]
    assert (growth["value"], math.isnan(growth["ratio"])) == (pytest.approx(0.3), True)
    lines = lines_of(paths[0])
    first = lines.index(["Late, cRT-WC, α = 1", "Acc.", "0.700", "0.700", "0.700", ""])
    assert lines[first + 2] == ["", "gain", "+0.000", "+0.100", "+0.300", "+0.300"]
    assert lines[first + 5] == ["", "verdict", *["undecided"] * 4]  # one seed
    absent = lines.index(["Late, joint", "Acc.", "—", "—", "—", ""])
    assert lines[absent + 4 : absent + 6] == [["", "p, Holm", *["—"] * 4], ["", "verdict", *["not run"] * 4]]


def test_the_training_clips_of_each_ratio_are_told(page):
    lines = lines_of(page()[0][0])
    assert ["Training clips", "all", "40", "40", "40", ""] in lines
    assert ["", "most, fewest", "20, 20", "32, 8", "38, 2", ""] in lines


def test_runs_of_all_ratios_share_a_group_of_the_other_settings(page, collated):
    page()
    (group,) = list_groups(collated(), "vocalset")
    assert group.settings.words == "schedule=demo"
    assert group.runs == len(RIGHT)


def test_what_is_missing_names_its_ratio(page):
    missing = dict(page()[1].missing)
    assert missing["Late, joint, data.long_tail=4, seed 0"].startswith(
        "singtech run condition=late_joint data.long_tail=4 seed=0 schedule=demo"
    )
    assert len(missing) == 7 * 3


def test_gains_over_folds_are_those_of_folds(page):
    right = {key: counts for key, counts in RIGHT.items() if key[0] == 16}
    page("choir", "0", right)
    page("choir", "1", right | {(16, 1.0): (6, 6)})
    _, rendered = page("choir", "2", right | {(16, 1.0): (4, 4)})
    gains = rendered.frame.dropna(subset="verdict")
    full = gains[(gains["label"] == "Late, cRT-WC, α = 1") & (gains["ratio"] == 16)].iloc[0]
    assert (full["value"], full["units"]) == (pytest.approx((0.3 + 0.2 + 0.0) / 3), 3)


def test_the_default_total_allows_every_ratio_of_the_page():
    assert LONG_TAIL.ratios == RATIOS
    names = {"late_crt_wc@0", "late_crt_wc", "late_crt_wc@1", "late_class_balanced", "late_balanced_softmax"}
    names |= {"late_logit_adjusted", "late_minimum", "late_joint", "late_joint_balanced_softmax"}
    assert rows_of(LONG_TAIL) == {(name, ratio) for name in names for ratio in RATIOS}


def rows_of(experiment):
    return {(c.reference.split("+")[0], c.own.values["data.long_tail"]) for c in experiment.conditions}
