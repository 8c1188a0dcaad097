"""Pages of a corpus that is cross-validated: numbers over folds, by hand."""

import math
import statistics
from dataclasses import replace

import pytest
from scipy.stats import t, ttest_1samp

from singtech.config_paths import EXPERIMENTS
from singtech.results.breakdown import predictions_of
from singtech.results.contrasts import contrasts_frame
from singtech.results.experiments import Contrast, read_experiment, read_experiments
from singtech.results.index import render
from singtech.results.report import answer_everything
from singtech.results.summaries import answer

TABLE2, TABLE3, ROUNDING, FRONTIER, CONFUSION, BREAKDOWN = (
    read_experiment(EXPERIMENTS / f"{name}.yaml")
    for name in ("table2", "table3", "rounding", "frontier", "confusion", "breakdown")
)
CHOIR = "data=folder data.name=choir data.root=FOLDER"
SINGERS = {"0": ("ann", "ben"), "1": ("cid", "dot"), "2": ("eve", "fay"), "3": ("gus", "hal"), "4": ("ida", "joe")}


@pytest.fixture
def put(run):
    """A run of Late on a fold of a corpus of one's own."""

    def on_fold(f1, fold, seed=0, strategy="crt_wc", **given):
        return run(f1, fold=str(fold), seed=seed, strategy=strategy, data="choir", data_fingerprint=f"{fold}", **given)

    return on_fold


@pytest.fixture
def page(collated, tmp_path):
    def rendered(experiment):
        here = replace(collated(), output_dir=tmp_path)
        return render(experiment, here, {("table3", "late_crt_wc", "f1"): 0.6}, "choir", tmp_path / "tables")

    return rendered


def lines_of(path):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in path.read_text().splitlines()]


def test_a_corpus_with_runs_on_folds_alone_is_answered_over_them(put, collated):
    for fold in range(4):
        put(0.5 + fold / 10, fold)
    found = answer(TABLE3, collated(), "choir", published={("table3", "late_crt_wc", "f1"): 0.6})
    wc = found.numbers.loc[("late_crt_wc", "f1")]
    assert (wc["unit"], wc["units"], wc["mean"]) == ("folds", 4, pytest.approx(0.65))
    assert math.isnan(wc["paper"])
    assert "so this page is over 5 folds of the singers" in found.notes["over folds"]
    assert dict(found.missing)["Late, cRT-WC, fold 4, seed 0"] == (
        f"singtech run condition=late_crt_wc data.fold=4 seed=0 {CHOIR}"
    )
    assert found.sweep == f"singtech run -m experiments=table3 data.fold=0,1,2,3,4 seed=0 {CHOIR}"


def test_one_run_on_the_corpus_s_own_split_keeps_pages_on_it(put, run, collated):
    put(0.5, 0)
    run(0.7, data="choir")
    found = answer(TABLE3, collated(), "choir")
    assert (found.experiment.folds, found.runs_of(TABLE3.conditions[2])["f1"].tolist()) == (0, [0.7])
    assert "over folds" not in found.notes


def test_a_run_with_other_settings_on_the_own_split_leaves_the_folds_to_their_group(put, run, collated):
    for fold in range(3):
        put(0.5, fold)
    run(0.7, data="choir", settings={"schedule.features": 1})
    assert answer(TABLE3, collated(), "choir").experiment.folds == 5


def test_chance_is_not_told_over_folds(put, collated):
    put(0.5, 0, strategy="crt_wfc")
    found = answer(TABLE2, collated(), "choir")
    assert not any("chance" in what for what, _ in found.missing)
    assert "Chance" not in set(found.frame["label"])


def test_twenty_folds_of_one_singer_say_what_their_macro_averages_are_over(put, collated):
    for fold in range(20):
        put(0.5 + fold / 100, fold, settings={"data.folds": 20}, singers_test=f"singer{fold}")
    found = answer(TABLE3, collated(), "choir")
    scores = [0.5 + fold / 100 for fold in range(20)]
    interval = ttest_1samp(scores, 0).confidence_interval()
    wc = found.numbers.loc[("late_crt_wc", "f1")]
    assert (wc["low"], wc["high"]) == pytest.approx((interval.low, interval.high))
    assert (
        "Each fold tests one singer: its macro averages are over the techniques that they sing." in found.notes["folds"]
    )
    assert found.notes["units"] == "Folds 0 to 19."
    assert dict(found.missing)["Late, joint, folds 0 to 19, seed 0"] == (
        f"singtech run -m condition=late_joint 'data.fold=range(20)' seed=0 {CHOIR} data.folds=20"
    )


def test_contrasts_average_seeds_within_folds_and_add_their_variance(put, collated):
    gains = [[0.10, 0.14], [0.20, 0.20], [0.30, 0.26]]  # folds, seeds
    for fold, of_fold in enumerate(gains):
        for seed, gain in enumerate(of_fold):
            put(0.4, fold, seed, strategy="joint")
            put(0.4 + gain, fold, seed)
    experiment = replace(TABLE3, metrics=("f1",), contrasts=(Contrast("gain", ("late_crt_wc",), ("late_joint",)),))
    row = contrasts_frame(answer(experiment, collated(), "choir")).iloc[0]
    folds, seeds = statistics.variance([0.12, 0.20, 0.28]) / 3, statistics.variance([0.20, 0.20]) / 2
    assert seeds == pytest.approx(0)
    half = t.ppf(0.975, 2) * math.sqrt(folds)
    assert (row["value"], row["units"], row["seeds"]) == (pytest.approx(0.2), 3, 2)
    assert (row["low"], row["high"]) == pytest.approx((0.2 - half, 0.2 + half))


def test_contrasts_over_folds_are_printed_with_their_folds(put, page):
    for fold in range(3):
        put(0.4, fold, strategy="joint")
        put(0.5 + fold / 10, fold)
    paths, _ = page(replace(TABLE3, metrics=("f1",), contrasts=(Contrast("gain", ("late_crt_wc",), ("late_joint",)),)))
    assert ["gain", "undecided", "3", "1", "+0.200", "-0.048 to +0.448", "—", "—"] in lines_of(paths[0])
    assert "Each difference is paired by fold and seed." in paths[0].read_text()


def test_deviations_are_pooled_over_folds_and_seeds(put, page):
    scores = {  # fold, seed -> scores at rounding 0 and 1
        (0, 0): (0.50, 0.54),
        (0, 1): (0.60, 0.60),
        (1, 0): (0.70, 0.72),
        (1, 1): (0.90, 0.90),
    }
    for (fold, seed), each in scores.items():
        for rounding, f1 in enumerate(each):
            put(f1, fold, seed, "crt_wfc", run=f"late-{fold}-{seed}-{rounding}", rounding=rounding)
            put(0.4, fold, seed, "crt_wfc", run=f"none-{fold}-{seed}-{rounding}", rounding=rounding, dc="none")
    paths, rendered = page(ROUNDING)
    frame = rendered.frame[rendered.frame["metric"] == "f1"].set_index("label")
    late, change = frame.loc["Late, cRT-WFC"], frame.loc["Late, cRT-WFC against w/o DC weighted"]
    assert late["rounding"] == change["rounding"] == pytest.approx(math.sqrt((0.0008 + 0.0002) / 4))
    assert late["degrees"] == 4
    assert late["seed"] == change["seed"] == pytest.approx(math.sqrt((0.005 + 0.02) / 2))  # within folds
    assert late["singers"] == pytest.approx((0.8 - 0.55) / 2)  # of the means of two folds
    assert (change["seeds"], change["runs"]) == (2, 8)
    assert "± folds" in next(line for line in lines_of(paths[0]) if line)
    assert dict(rendered.missing)["Late, joint, perturbed"] == (
        f"singtech run -m experiments=rounding data.fold=0,1,2,3,4 seed=0,1 {CHOIR} output_dir={paths[0].parents[1]}"
    )


@pytest.fixture
def put_logits(put):
    """A run on a fold that names so many of two singers' belts and trills right."""

    def on_fold(fold, belts, trills, seed=0, **condition):
        folder = put(0.5, fold, seed, training_counts="belt=80 trill=20", **condition)
        lines = ["recording,singer,technique,context,start,logit_belt,logit_trill"]
        for singer in SINGERS[str(fold)]:
            for technique, count in (("belt", belts), ("trill", trills)):
                for n in range(10):
                    named = technique if n < count else {"belt": "trill", "trill": "belt"}[technique]
                    values = [9.0 * (named == name) for name in ("belt", "trill")]  # further than tau log 4
                    words = [f"{singer}/{technique}{n}.wav", singer, technique, "scales", 0.0, *values]
                    lines.append(",".join(map(str, words)))
        (folder / "predictions.csv").write_text("\n".join(lines) + "\n")

    return on_fold


def test_gains_over_the_frontier_are_of_each_fold_and_seed(put_logits, page):
    """The frontier of plain training is one point in each fold, because its logits are far apart."""
    gains = {0: (0.05, 0.10), 1: (0.05, 0.00), 2: (0.20, 0.20)}
    for fold, of_seeds in gains.items():
        for seed, gain in enumerate(of_seeds):
            put_logits(fold, 6, 6, seed, alpha=0.0)
            put_logits(fold, 6 + round(20 * gain), 6, seed, strategy="tau_norm", alpha=0.0)
    paths, rendered = page(FRONTIER)
    row = rendered.frame.dropna(subset="verdict").set_index("condition").loc["late_tau_norm"]
    assert (row["gain"], row["folds"], row["seeds"]) == (pytest.approx(0.1), 3, 2)
    variances = statistics.variance([0.075, 0.025, 0.2]) / 3, statistics.variance([0.1, 0.1]) / 2
    assert row["high"] - row["gain"] == pytest.approx(t.ppf(0.975, 2) * math.sqrt(sum(variances)), rel=1e-6)
    assert any(line[2:4] == ["3", "2"] for line in lines_of(paths[0]) if line)


def test_a_confusion_pools_the_folds_of_a_seed(put_logits, page):
    for fold, right in enumerate((10, 8, 6, 4, 2)):
        put_logits(fold, 10, right)
        put_logits(fold, 10, 10, seed=1)
    put_logits(0, 0, 0, seed=2)  # the other folds lack this seed
    _, rendered = page(CONFUSION)
    told = rendered.frame.set_index(["technique", "predicted"]).loc[("trill", "trill")]
    assert (told["share"], told["units"]) == (pytest.approx((0.6 + 1.0) / 2), 2)
    # without each fold of seed 0: .5, .55, .6, .65, .7; seed 1 has 1. throughout, and seeds differ by .4
    folds = statistics.variance([(each + 1) / 2 for each in (1.0, 0.8, 0.6, 0.4, 0.2)]) / 5
    seeds = statistics.variance([0.6, 1.0]) / 2
    degrees = (folds + seeds) ** 2 / (folds**2 / 4 + seeds**2 / 1)
    assert told["high"] - told["share"] == pytest.approx(t.ppf(0.975, degrees) * math.sqrt(folds + seeds), rel=1e-5)


def test_a_breakdown_has_each_singer_once(put_logits, page, collated, tmp_path):
    for fold, right in enumerate((10, 8, 6, 4, 2)):
        put_logits(fold, right, 10)
    found = answer(BREAKDOWN, replace(collated(), output_dir=tmp_path), "choir")
    (pooled,) = predictions_of(found)["Late, cRT-WC"]
    assert sorted(set(pooled.clips["singer"])) == sorted(name for pair in SINGERS.values() for name in pair)
    _, rendered = page(BREAKDOWN)
    accuracy = rendered.frame[(rendered.frame["line"] == "200 clips") & (rendered.frame["metric"] == "Acc.")].iloc[0]
    assert accuracy["mean"] == pytest.approx(0.8)
    half = t.ppf(0.975, 4) * math.sqrt(statistics.variance([1.0, 0.9, 0.8, 0.7, 0.6]) / 5)
    assert (accuracy["low"], accuracy["high"]) == pytest.approx((0.8 - half, 0.8 + half), abs=1e-5)
    assert any("Intervals are by deleting a fold" in note for note in rendered.notes)
    assert not any("context" in what for what, _ in rendered.missing)


def test_the_report_has_the_runs_on_folds(put_logits, collated):
    for fold in range(5):
        put_logits(fold, 10, 10)
    found = answer_everything(collated(), "choir")
    assert found.numbers.loc[("late_crt_wc", "f1"), "units"] == 5


@pytest.mark.parametrize("experiment", read_experiments(), ids=lambda experiment: experiment.name)
def test_every_page_is_made_of_folds_alone(put_logits, page, experiment):
    for fold in range(5):
        put_logits(fold, 10 - fold, 8)
        put_logits(fold, 10 - fold, 7, strategy="crt_wfc")
        put_logits(fold, 10 - fold, 7, strategy="crt_wfc", dc="none")
    paths, _ = page(experiment)
    assert all(path.stat().st_size for path in paths)
