"""A metric is one entry: added from outside, it stands in rows, tables, intervals, claims, card and report."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, precision_score

from singtech import metrics
from singtech.cli.report import main as report
from singtech.config_paths import EXPERIMENTS
from singtech.inference.model_card import model_card
from singtech.metrics import Metric, divide, register
from singtech.results import pages
from singtech.results.collate import collate, read_results
from singtech.results.experiments import Claim, read_experiment
from singtech.results.index import render
from singtech.results.rows import read_row, read_rows, write_row
from singtech.results.selections import select
from singtech.results.summaries import answer
from singtech.results.tables import table_page
from singtech.training.inventory import check

TABLE3 = read_experiment(EXPERIMENTS / "table3.yaml")
RIGHT = [("ann", "trill", "trill", "scales", 0), ("ben", "belt", "belt", "scales", 1)]
WRONG = [("ann", "trill", "belt", "scales", 0), ("ben", "belt", "belt", "scales", 1)]


def kappa(clips):
    """(R,) Cohen's kappa."""
    clips_in_all = clips.totals.sum(axis=1)
    by_chance = divide((clips.totals * clips.predictions).sum(axis=1), clips_in_all**2)
    return divide(divide(clips.correct.sum(axis=1), clips_in_all) - by_chance, 1 - by_chance)


@pytest.fixture
def added(monkeypatch):
    """Kappa, the mean rank of the truth (less is better), and the precision of each technique."""
    monkeypatch.setattr(metrics, "METRICS", dict(metrics.METRICS))
    register("kappa", Metric("Cohen's kappa", kappa, "κ"))
    register(
        "mean_rank", Metric("mean rank", lambda clips: clips.mean(clips.ranks + 1), "Rank", higher_is_better=False)
    )
    register("precision_*", Metric("precision", lambda clips: divide(clips.correct, clips.predictions)))


@pytest.fixture
def older(run, put_predictions, tmp_path):
    """Two runs that were scored before the metrics were added: cRT-WC right, joint training half wrong."""
    for strategy, clips in (("crt_wc", RIGHT), ("joint", WRONG)):
        folder = run(strategy=strategy)
        put_predictions(folder, clips)
        write_row(folder, read_row(folder) | metrics.score_clips(*told_by(clips), metrics_of()))
    return tmp_path


def metrics_of():
    from singtech.techniques import TECHNIQUES

    return TECHNIQUES


def told_by(clips):
    names = list(metrics_of())
    logits = np.eye(len(names))[[names.index(named) for _, _, named, *_ in clips]]
    return np.array([names.index(true) for _, true, *_ in clips]), logits


def test_a_run_is_scored_by_it(added):
    draw = np.random.default_rng(0)
    targets, logits = draw.integers(3, size=50), draw.normal(size=(50, 3))
    found, named = metrics.score_clips(targets, logits, "abc"), logits.argmax(axis=1)
    assert found["kappa"] == pytest.approx(cohen_kappa_score(targets, named))
    precision = precision_score(targets, named, average=None)
    assert [found[f"precision_{name}"] for name in "abc"] == pytest.approx(list(precision))
    assert "κ " in metrics.format_scores(found)
    assert "Rank " in metrics.format_scores(found)


def test_an_older_run_gets_it_from_its_predictions_and_stays_whole(older, request):
    before = collate(older).results
    assert "kappa" not in before
    request.getfixturevalue("added")
    frame = collate(older).results.set_index("strategy")
    assert frame.loc["crt_wc", "kappa"] == pytest.approx(1)
    assert frame.loc["joint", "kappa"] == pytest.approx(0)
    assert (frame.loc["crt_wc", "mean_rank"], frame.loc["crt_wc", "precision_trill"]) == (1, 1)
    assert "kappa" not in read_rows(older / "runs")[0]  # whose file is left as it is
    _, faults, _ = check(older)
    assert faults == []


def test_a_run_whose_own_scores_are_wrong_is_still_set_aside(older, added):
    (folder,) = (older / "runs").glob("*crt_wc*")
    row = json.loads((folder / "row.json").read_text())
    write_row(folder, row | {"f1": 0.25})
    _, (fault,), _ = check(older)
    assert "f1 is 0.25, its predictions give 1.0" in fault


def test_an_older_results_file_and_runs_without_predictions_lack_it(run, tmp_path, request):
    run()
    collate(tmp_path)
    request.getfixturevalue("added")
    assert read_results(tmp_path)["kappa"].isna().all()
    assert collate(tmp_path).results["kappa"].isna().all()


def test_tables_have_it_with_its_interval_and_its_own_direction(older, added, collated):
    there = replace(collated(), output_dir=older)
    found = table_page(answer(TABLE3, there, "vocalset"))
    header, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in pages.markdown(found).splitlines()
        if line.startswith("|") and not line.startswith("|:")
    ]
    assert header[-2:] == ["κ", "Rank"]
    ours = {line[0]: line for line in lines if line[1] == "ours"}
    assert ours["Late, cRT-WC"][-2:] == ["**1.000**", "**1.000**"]  # the highest kappa, and the lowest rank
    assert (
        ours["Late, joint"][-1] == "4.000"
    )  # belt ranks first; trill seventh, behind belt and the five that tie before it
    assert lines[[line[0] for line in lines].index("Late, joint") + 1][1] == "95 %"
    (line,) = [
        row
        for row in csv.DictReader(pages.csv(found).splitlines())
        if (row["condition"], row["metric"]) == ("late_joint", "mean_rank")
    ]
    assert float(line["low"]) < float(line["mean"]) < float(line["high"])


def test_a_reference_without_a_formula_is_a_dash(added, run, put_corpus, collated, tmp_path):
    run(model="cnn1d", dc="none", strategy="joint")
    put_corpus("vocalset", {("trill", "train"): (1, 1, 9), ("trill", "test"): (1, 1, 3)})
    paths, _ = render(read_experiment(EXPERIMENTS / "table2.yaml"), collated(), {}, "vocalset", tmp_path)
    (chance,) = [line for line in paths[0].read_text().splitlines() if line.startswith("| Chance")]
    assert [cell.strip() for cell in chance.split("|")[-3:-1]] == ["—", "—"]


def test_a_claim_about_it_is_of_what_is_less(older, added, collated, tmp_path):
    verdicts = read_experiment(EXPERIMENTS / "verdicts.yaml")
    claim = Claim("strategy", "5.2", "cRT-WC ranks better", ("mean_rank",), (("late_crt_wc", "late_joint"),))
    asked = replace(verdicts, claims=(claim,))
    there = replace(collated(), output_dir=older)
    paths, page = render(asked, there, {}, "vocalset", tmp_path)
    assert page.frame["difference"][0] == pytest.approx(3)
    line = "| Late: joint against cRT-WC | undecided | mean rank"
    assert line in re.sub(" +", " ", paths[0].read_text())


def test_the_lowest_is_selected_where_less_is_better(added, run, collated):
    asked = read_experiment(EXPERIMENTS / "select_dc.yaml")
    asked = replace(asked, metrics=("validation_mean_rank", "mean_rank"))
    for condition, (judged, tested) in zip(asked.conditions, [(3, 2), (2, 3), (4, 4), (5, 5), (6, 6)], strict=True):
        held_out = dict(condition.settings.values)
        run(dc=condition.dc, strategy="crt_wfc", settings=held_out, mean_rank=tested, validation_mean_rank=judged)
    found = select(answer(asked, collated(), "vocalset"))
    assert (found.on_validation, found.on_test) == ("all+validation_singers", "none_weighted+validation_singers")
    assert found.optimism == 1


def test_the_card_and_the_report_have_it(undrawn, older, added, collated):
    there = replace(collated(), output_dir=older)
    row = next(row for row in there.results.to_dict("records") if row["strategy"] == "crt_wc")
    card = model_card(row | {"command": "", "commit": ""}, metrics_of(), 44100, 3.0, there)
    assert re.search(r"\| Cohen's kappa +\| +1\.000", card)
    assert card.split("\n# ")[1].startswith("Singing technique classification: Late, cRT-WC (singtech)")
    assert report([f"output_dir={older}", "audio=none"]) == 0
    assert ">κ</th>" in (older / "tables" / "vocalset" / "report.html").read_text()
