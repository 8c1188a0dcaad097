"""Section 5.3: shares of each true technique, of three techniques as a table and of all as a figure."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from singtech.config_paths import EXPERIMENTS
from singtech.results.confusions import confusion, draw
from singtech.results.experiments import read_experiment
from singtech.results.index import render
from singtech.results.summaries import answer

EXPERIMENT = read_experiment(EXPERIMENTS / "confusion.yaml")
NAMES = ("belt", "trill", "trillo", "vibrato")
ONE = [[4, 0, 0, 0], [0, 6, 2, 2], [1, 1, 2, 0], [0, 5, 0, 15]]
TWO = [[2, 2, 0, 0], [0, 8, 0, 2], [0, 0, 4, 0], [0, 5, 0, 15]]


@pytest.fixture
def two_seeds(run, put_confusion):
    put_confusion(run(seed=0), NAMES, ONE)
    put_confusion(run(seed=1), NAMES, TWO)
    put_confusion(run(seed=0, alpha=1.0), NAMES, np.ones((4, 4), dtype=int))  # not asked for


def rendered(tmp_path, collated, data="vocalset"):
    return render(EXPERIMENT, collated(), {}, data, tmp_path / "tables")[0]


def test_shares_are_of_each_true_technique_and_run(two_seeds, collated):
    there = collated()
    runs = answer(EXPERIMENT, there, "vocalset").runs["run"]
    techniques, shares = confusion(there.confusions, runs)
    assert tuple(techniques) == NAMES
    assert shares == pytest.approx(np.array([ONE, TWO]) / np.array([4, 10, 4, 20])[:, None])


def test_a_technique_without_a_test_clip_has_no_share(run, put_confusion, collated):
    put_confusion(run(), ("belt", "trill"), [[3, 1], [0, 0]])
    there = collated()
    _, shares = confusion(there.confusions, tuple(there.results["run"]))
    assert shares[0, 0].tolist() == [0.75, 0.25]
    assert np.isnan(shares[0, 1]).all()


def test_the_three_techniques_are_taken_for_one_another_and_for_anything_else(tmp_path, two_seeds, collated):
    page = rendered(tmp_path, collated)[0].read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    assert rows[0] == ["True", "", "vibrato", "trill", "trillo", "anything else"]
    assert rows[2] == ["vibrato", "", "0.750 ± 0.000", "0.250 ± 0.000", "0.000 ± 0.000", "0.000 ± 0.000"]
    assert rows[3] == ["trill", "", "0.200 ± 0.000", "0.700 ± 0.141", "0.100 ± 0.141", "0.000 ± 0.000"]
    assert rows[4] == ["trillo", "", "0.000 ± 0.000", "0.125 ± 0.177", "0.750 ± 0.354", "0.125 ± 0.177"]
    assert "](confusion.png)" in page
    assert "Seeds 0, 1." in page


def test_shares_have_intervals_where_the_predictions_are_here(run, put_confusion, put_predictions, collated, tmp_path):
    """ann's trill is named right and ben's taken for a vibrato: without one of them none or all are. cid alone sings
    vibrato, and nobody is wrong on trillo, so these have no interval."""
    folder = run()
    put_confusion(folder, ("trill", "trillo", "vibrato"), [[1, 0, 1], [0, 1, 0], [0, 0, 1]])
    rows = [("ann", "trill", "trill"), ("ben", "trill", "vibrato"), ("ben", "trillo", "trillo")]
    rows.append(("cid", "vibrato", "vibrato"))
    put_predictions(folder, [(*row, "long_tones", number) for number, row in enumerate(rows)])
    paths, _ = render(EXPERIMENT, replace(collated(), output_dir=tmp_path), {}, "vocalset", tmp_path)
    page = paths[0].read_text(encoding="utf-8").splitlines()
    (place,) = [number for number, line in enumerate(page) if line.startswith("| trill ")]
    assert [cell.strip() for cell in page[place].split("|")[1:-1]] == ["trill", "", "0.500", "0.500", "0.000", "0.000"]
    below = [cell.strip() for cell in page[place + 1].split("|")[1:-1]]
    low, high = 0.5 - t.ppf(0.975, 1) / 2, 0.5 + t.ppf(0.975, 1) / 2
    assert below == ["", "95 %", *[f"{low:.3f} to {high:.3f}"] * 2, "—", "—"]
    assert not page[place + 2].startswith("| 95 %")
    with paths[1].open(encoding="utf-8") as file:
        told = {(row["technique"], row["predicted"]): row for row in csv.DictReader(file)}
    assert [float(told["trill", "vibrato"][name]) for name in ("share", "low", "high")] == pytest.approx(
        [0.5, low, high]
    )
    assert told["vibrato", "vibrato"]["low"] == ""


def test_the_figure_has_the_mean_of_every_pair(two_seeds, collated):
    there = collated()
    found = answer(EXPERIMENT, there, "vocalset")
    (axes,) = draw(found, *confusion(there.confusions, found.runs["run"])).axes
    image = np.asarray(axes.images[0].get_array())
    assert image[1].tolist() == pytest.approx([0, 0.7, 0.1, 0.2])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(NAMES)
    fields = {tuple(map(round, text.get_position()[::-1])): text.get_text() for text in axes.texts}
    assert fields[1, 1] == "70"
    assert fields[2, 0] == "12"
    assert (0, 3) not in fields  # nothing to say of what never happens
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted, % of the true technique's clips", "true")


def test_a_technique_without_test_clips_has_a_column_and_no_row(run, put_confusion, collated, fits_print):
    put_confusion(run(), ("trill", "trillo", "vibrato"), [[3, 1, 0], [0, 0, 0], [0, 1, 3]])
    there = collated()
    found = answer(EXPERIMENT, there, "vocalset")
    figure = draw(found, *confusion(there.confusions, found.runs["run"]))
    (axes,) = figure.axes
    assert np.asarray(axes.images[0].get_array()).tolist() == [[0.75, 0.25, 0], [0, 0.25, 0.75]]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["trill", "vibrato"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["trill", "trillo", "vibrato"]
    assert figure.get_supxlabel() == "no test clips: trillo"
    fits_print(figure)


def test_all_pairs_are_in_the_csv(tmp_path, two_seeds, collated):
    path = rendered(tmp_path, collated)[1]
    lines = {
        (line["technique"], line["predicted"]): line
        for line in csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    }
    assert len(lines) == 16
    assert [lines["trillo", "trillo"][name] for name in ("share", "deviation", "units")] == ["0.75", "0.353553", "2"]


def test_files_are_the_same_each_time(tmp_path, two_seeds, collated):
    paths = rendered(tmp_path, collated)
    names = ["confusion.md", "confusion.csv", "confusion.tex", "confusion.png", "confusion.pdf"]
    assert [path.name for path in paths] == names
    before = [path.read_bytes() for path in paths]
    rendered(tmp_path, collated)
    assert [path.read_bytes() for path in paths] == before


def test_runs_whose_confusions_are_not_there_are_named(tmp_path, run, collated):
    run(seed=0)
    run(seed=1)
    page = rendered(tmp_path, collated)[0].read_text(encoding="utf-8")
    assert "- 2 of 2 runs in confusions.csv, where they were made: `singtech tables`" in page
    there = collated()
    found = answer(EXPERIMENT, there, "vocalset")
    figure = draw(found, *confusion(there.confusions, found.runs["run"]))
    assert ([text.get_text() for text in figure.texts], figure.axes) == (
        ["not in confusions.csv, see confusion.md"],
        [],
    )


def test_without_runs_the_figure_is_empty_and_the_command_named(tmp_path, collated):
    paths = rendered(tmp_path, collated, "demo")
    assert [path.suffix for path in paths] == [".md", ".csv", ".png", ".pdf"]
    page = paths[0].read_text(encoding="utf-8")
    assert "- Late, cRT-WC, seed 0: `singtech run condition=late_crt_wc seed=0 data=demo`" in page
    assert "demo corpus (synthetic voices): not VocalSet" in page
    there = collated()
    figure = draw(answer(EXPERIMENT, there, "demo"), *confusion(there.confusions, ()))
    assert ([text.get_text() for text in figure.texts], figure.axes) == (["no run yet"], [])


def test_a_corpus_without_the_three_shows_its_own_in_the_figure_alone(tmp_path, run, put_confusion, collated):
    put_confusion(run(data="choir"), ("growl", "yodel"), [[3, 1], [0, 4]])
    page = rendered(tmp_path, collated, "choir")[0].read_text(encoding="utf-8")
    assert "| True" not in page
    there = collated()
    (axes,) = draw(answer(EXPERIMENT, there, "choir"), *confusion(there.confusions, tuple(there.results["run"]))).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["growl", "yodel"]
