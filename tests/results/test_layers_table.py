"""Table 1 from the runs' layers: the paper's check marks, and sums beside its counts."""

import csv

import pytest

from singtech.config_paths import EXPERIMENTS
from singtech.results.experiments import read_experiment, read_paper_numbers
from singtech.results.index import render as render_page

PAPER = read_paper_numbers(EXPERIMENTS / "paper.csv")
TABLE = read_experiment(EXPERIMENTS / "table1.yaml")


@pytest.fixture
def page(tmp_path, collated):
    """The Markdown page on a corpus."""

    def render(data="vocalset"):
        paths, _ = render_page(TABLE, collated(), PAPER, data, tmp_path / "tables")
        assert [path.name for path in paths] == ["table1.md", "table1.csv", "table1.tex"]
        return paths[0].read_text(encoding="utf-8")

    return render


@pytest.fixture
def all_run(run, put_layers):
    def put(data="vocalset", **given):
        for dc in ("none", "all", "early", "late", "last"):
            put_layers(run(dc=dc, data=data, **given), dc)

    return put


def cells(page):
    lines = [line for line in page.splitlines() if line.startswith("|") and not line.startswith("|:")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_check_marks_stand_as_in_the_papers_table_1(page, all_run):
    all_run()
    assert cells(page())[:7] == [
        ["Layer Configuration", "Ch", "Output", "all", "early", "late", "last"],
        ["Conv(4×1), MP(4×4)", "32", "32×256×64", "✓", "✓", "", ""],
        ["Conv(16×1), MP(4×4)", "64", "64×64×16", "✓", "✓", "", ""],
        ["Conv(1×4), MP(3×3)", "128", "128×21×5", "✓", "", "✓", ""],
        ["Conv(1×16), MP(2×2)", "128", "128×10×2", "✓", "", "✓", "✓"],
        ["Global AP", "128", "128", "–", "–", "–", "–"],
        ["FC (Softmax)", "10", "10", "–", "–", "–", "–"],
    ]


def test_parameters_add_up_beside_the_papers_counts(page, all_run):
    all_run()  # conftest's layers are made to add up to the counts of the network
    rows = cells(page())[7:]
    assert rows[0] == ["Layer Configuration", "none", "all", "early", "late", "last"]
    assert rows[1] == ["Conv(4×1), MP(4×4)", "480", "3,012", "3,012", "480", "480"]
    assert rows[-3:] == [
        ["total, ours", "337,510", "463,374", "362,194", "438,690", "435,734"],
        ["total, paper", "337.5k", "463.3k", "362.2k", "438.7k", "435.7k"],
        ["difference", "+0.0k", "+0.1k", "+0.0k", "+0.0k", "+0.0k"],
    ]


def test_the_caption_says_what_the_counts_decide_and_what_they_do_not(page):
    said = page()
    assert "The hidden layer of 50 before the features explains the paper's parameter counts" in said
    assert "the paper's for ten techniques, ours for the techniques of the corpus" in said
    assert "With it and ten techniques, four of the five counts match as printed, and All within 0.1k" in said
    assert "The counts do not show which layers have biases" in said


def test_a_short_run_says_the_layers_and_another_network_does_not(page, run, put_layers):
    for seed in (0, 1):
        run(seed=seed)  # whose layers were not kept; the group of most runs
    put_layers(run(dc="late", settings={"schedule": "smoke"}), "late")
    put_layers(run(dc="early", settings={"model.hidden": None}), "early")
    put_layers(run(dc="last", settings={"front_end.hop_length": 256}), "last")
    put_layers(run(dc="none", settings={"data.clip_seconds": 2.0}), "none")
    said = page()
    assert cells(said)[3] == ["Conv(1×4), MP(3×3)", "128", "128×21×5", "?", "?", "✓", "?"]
    assert ["total, ours", "—", "—", "—", "438,690", "—"] in cells(said)
    assert "- Early (1,2): `singtech run condition=early seed=0 schedule=smoke`" in said
    assert said.count("schedule=smoke`") == 5  # four and the sweep
    assert "- Late, " not in said


def test_without_runs_the_papers_counts_and_every_command_are_shown(page):
    said = page("demo")
    assert cells(said)[0] == ["Layer Configuration", "none", "all", "early", "late", "last"]
    assert "`singtech run -m experiments=table1 seed=0 data=demo schedule=smoke`" in said


def test_the_demo_takes_no_difference_and_says_what_it_is(page, all_run):
    all_run("demo")
    said = page("demo")
    assert "demo corpus (synthetic voices): not VocalSet" in said
    assert "difference" not in said
    assert "Missing" not in said


def test_the_csv_has_every_layer_and_the_totals(page, all_run, tmp_path):
    all_run()
    page()
    lines = list(csv.DictReader((tmp_path / "tables" / "table1.csv").read_text(encoding="utf-8").splitlines()))
    assert len(lines) == 5 * 7
    assert lines[3] == {
        **{
            "data": "vocalset",
            "artefact": "table1",
            "condition": "none_weighted",
            "label": "w/o DC weighted",
            "model": "oblong",
            "dc": "none",
            "number": "4",
        },
        **{"layer": "Conv(1×16), MP(2×2)", "channels": "128", "output": "128×10×2", "deformable": "False"},
        **{"parameters": "262528", "paper": ""},
    }
    totals = [(line["label"], line["parameters"], line["paper"]) for line in lines if line["layer"] == "total"]
    assert totals[1] == ("All (1,2,3,4)", "463374", "463300")
