"""Tables: ours beside the paper's and the difference, the best in bold, what is missing named."""

import csv
import re

import pandas as pd
import pytest

from singtech.config_paths import EXPERIMENTS
from singtech.results import pages
from singtech.results.experiments import read_experiment, read_paper_numbers
from singtech.results.index import render
from singtech.results.latex import latex, tex
from singtech.results.pages import shown, shown_change
from singtech.results.summaries import answer
from singtech.results.tables import best, table_page

PAPER = read_paper_numbers(EXPERIMENTS / "paper.csv")


@pytest.fixture
def answered(collated):
    """The page of an experiment's table."""

    def page(name, data="vocalset"):
        return table_page(answer(read_experiment(EXPERIMENTS / f"{name}.yaml"), collated(), data, published=PAPER))

    return page


@pytest.fixture
def table3(run, answered):
    """Table 3 on VocalSet with three seeds of joint training, two of cRT-WFC, one of cRT-WC."""
    for strategy, values in (("joint", [0.5, 0.6, 0.7]), ("crt_wfc", [0.6, 0.5]), ("crt_wc", [0.64])):
        for seed, f1 in enumerate(values):
            run(f1, strategy=strategy, seed=seed)
    return answered("table3")


def cells(page):
    """The cells of a Markdown table's lines, its header first."""
    lines = [line for line in page.splitlines() if line.startswith("|") and not line.startswith("|:")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_each_row_has_ours_the_papers_and_the_difference(table3):
    header, *lines = cells(pages.markdown(table3))
    assert header == ["Methods", "", "Seeds", "F1", "Acc.", "B-Acc.", "Top-2", "Top-3"]
    joint, joint_paper, joint_difference, wfc, _, wfc_difference, wc, wc_paper, wc_difference = lines
    assert joint[:5] == ["Late, joint", "ours", "3", "0.600 ± 0.100", "0.600 ± 0.100"]
    assert joint_paper == ["", "paper", "", "0.559", "0.610", "0.635", "0.774", "0.874"]
    assert joint_difference == ["", "difference", "", "+0.041", "-0.010", "-0.035", "-0.174", "-0.274"]
    assert wfc[:4] == ["Late, cRT-WFC", "ours", "2", "0.550 ± 0.071"]
    assert wfc_difference[3] == "-0.032"
    assert wc[:4] == ["Late, cRT-WC", "ours", "1", "**0.640**"]
    assert wc_paper[3:] == ["**0.620**", "**0.656**", "**0.655**", "**0.815**", "0.887"]
    assert wc_difference[3] == "+0.020"


@pytest.mark.parametrize(
    ("name", "printed"),
    [  # the labels in whose rows the paper prints F1, Acc., B-Acc., Top-2 and Top-3 in bold
        ("table2", ["Late, cRT-WFC"] * 4 + ["All (1,2,3,4)"]),
        ("table3", ["Late, cRT-WC"] * 4 + ["Late, cRT-WFC"]),
    ],
)
def test_the_papers_bold_numbers_are_bold(answered, name, printed):
    _, *lines = cells(pages.markdown(answered(name)))
    bold, label = {}, ""
    for line in lines:
        label = line[0] or label
        for column, cell in enumerate(line[3:]):
            if line[1] == "paper" and cell.startswith("**"):
                bold.setdefault(column, []).append(label)
    assert bold == {column: [label] for column, label in enumerate(printed)}


def test_best_numbers_tie_as_printed_and_need_a_rival():
    numbers = pd.DataFrame([[0.5004, 0.7], [0.5001, None], [0.4, None]], columns=["f1", "accuracy"])
    assert best(numbers).to_numpy().tolist() == [[True, False], [True, False], [False, False]]


def test_a_table_without_runs_shows_the_papers_and_every_command(answered):
    page = pages.markdown(answered("table3"))
    assert ["Late, joint", "ours", "0", "—", "—", "—", "—", "—"] in cells(page)
    assert "difference" not in page
    assert page.count("singtech run condition=late") == 3
    assert "- Late, cRT-WC, seed 0: `singtech run condition=late_crt_wc seed=0`" in page


def test_missing_cells_are_named_below_the_table(table3):
    page = pages.markdown(table3)
    assert "- Late, cRT-WC, seeds 1, 2: `singtech run -m condition=late_crt_wc seed=1,2`" in page
    assert "but Late, cRT-WFC has seeds 0, 1; Late, cRT-WC has seed 0." in page


def test_a_full_table_names_nothing_missing(run, answered):
    for strategy in ("joint", "crt_wfc", "crt_wc"):
        run(0.5, strategy=strategy)
    page = pages.markdown(answered("table3"))
    assert "Missing" not in page
    assert "one seed, so no deviation" in page


def test_tables_of_the_demo_say_so_and_take_no_difference(run, answered):
    run(0.9, data="demo")
    found = answered("table3", "demo")
    for text in (pages.markdown(found), latex(found)):
        assert "emo corpus (synthetic voices): not VocalSet, not comparable with the paper" in text
        assert "difference" not in text
        assert "0.620" in text
    assert pages.markdown(found).startswith("# Table 3: ")
    assert all(line["difference"] == "" for line in csv.DictReader(pages.csv(found).splitlines()))


def test_the_csv_holds_one_number_a_line(table3):
    lines = list(csv.DictReader(pages.csv(table3).splitlines()))
    assert len(lines) == 3 * 5
    joint = {
        **{"data": "vocalset", "artefact": "table3", "condition": "late_joint", "label": "Late, joint"},
        **{"model": "oblong", "dc": "late"},
        **{
            "strategy": "joint",
            "alpha": "0.2",
            "settings": "",
            "metric": "f1",
            "mean": "0.6",
            "deviation": "0.1",
            "low": "",
            "high": "",
            "units": "3",
            "unit": "seeds",
        },
        **{"paper": "0.559", "difference": "0.041", "change": "", "change_deviation": ""},
        **{"change_low": "", "change_high": ""},
    }
    assert lines[0] == joint
    assert (lines[-1]["label"], lines[-1]["units"], lines[-1]["deviation"]) == ("Late, cRT-WC", "1", "")


def test_latex_has_the_lines_of_the_table(table3):
    text = re.sub(r" ?\\phantom\{.*?\}\}|\\fontsize\{7\}\{8\}\\selectfont ", "", latex(table3)).replace("{$\\pm$", "{±")
    lines = text.splitlines()
    assert r" & difference &  & $+$0.041 & $-$0.010 & $-$0.035 & $-$0.174 & $-$0.274 \\" in lines
    assert r"Late, joint & ours & 3 & 0.600 {±0.100} & 0.600 {±0.100} & 0.600 {±0.100} &" in text
    assert any(line.startswith(r"Late, cRT-WC & ours & 1 & \textbf{0.640} & ") for line in lines)
    assert lines.count(r"\addlinespace[2pt]") == 2


def test_latex_takes_no_character_for_a_command():
    assert tex("50 % of A&B_c, #1 {x} ~^ α ± 1 \\ —") == (
        r"50 \% of A\&B\_c, \#1 \{x\} \textasciitilde{}\textasciicircum{} $\alpha$ $\pm$ 1 \textbackslash{} --"
    )


@pytest.mark.parametrize(
    ("mean", "deviation", "text"), [(0.61249, 0.0131, "0.612 ± 0.013"), (0.5, None, "0.500"), (None, None, "—")]
)
def test_numbers_have_the_papers_three_decimals(mean, deviation, text):
    assert shown(mean, deviation) == text


@pytest.mark.parametrize(
    ("change", "deviation", "text"),
    [(-0.008, None, "-0.008"), (0.008, 0.0012, "+0.008 ± 0.001"), (-0.0001, None, "+0.000"), (None, None, "—")],
)
def test_changes_have_a_sign(change, deviation, text):
    assert shown_change(change, deviation) == text


def test_a_table_is_written_three_times_and_the_same_each_time(tmp_path, table3, collated):
    experiment = read_experiment(EXPERIMENTS / "table3.yaml")
    asked = (experiment, collated(), PAPER, "vocalset", tmp_path / "tables" / "vocalset")
    paths, _ = render(*asked)
    assert [path.name for path in paths] == ["table3.md", "table3.csv", "table3.tex"]
    before = [path.read_bytes() for path in paths]
    render(*asked)
    assert [path.read_bytes() for path in paths] == before


def test_chance_and_majority_stand_below_never_bold_and_never_compared(run, answered, put_corpus):
    for condition, f1 in (("cnn1d", 0.01), ("oblong_forest", 0.02)):
        run(f1, model=condition, dc="none", strategy="joint")
    put_corpus("vocalset", {("trill", "train"): (1, 1, 9), ("trill", "test"): (1, 1, 3), ("belt", "test"): (1, 1, 1)})
    found = answered("table2")
    _, *lines = cells(pages.markdown(found))
    assert lines[-2][:3] == ["Chance", "computed", ""]
    assert lines[-2][4:] == ["0.500", "0.500", "1.000", "1.000"]
    # always trill: F1 6/7 and 0, accuracy 3/4, recall 1 and 0
    assert lines[-1] == ["Majority", "computed", "", "0.429", "0.750", "0.500", "1.000", "1.000"]
    ours = [line for line in lines if line[1] == "ours"]
    assert [line[0] for line in ours if line[3].startswith("**")] == ["Oblong weighted"]  # the best of the runs
    in_csv = [line for line in csv.DictReader(pages.csv(found).splitlines()) if line["label"] == "Majority"]
    assert [line["mean"] for line in in_csv[:2]] == ["0.428571", "0.75"]
    assert {line["difference"] + line["paper"] + line["model"] for line in in_csv} == {""}


def test_the_joint_reading_stands_beside_the_numbers_of_table_2(run, answered):
    run(0.6, strategy="joint", dc="last")
    _, *lines = cells(pages.markdown(answered("table2_joint")))
    last = lines[-3:]
    assert [line[3] for line in last] == ["0.600", "0.517", "+0.083"]
    assert len(lines) == 5 * 2 + 3
    assert "condition=none_plain strategy=joint seed=0`" in pages.markdown(answered("table2_joint"))


def test_metrics_by_technique_are_lines_with_the_change_from_the_baseline(run, answered):
    for seed, (last, late) in enumerate([(0.4, 0.5), (0.4, 0.7)]):
        run(0.5, strategy="crt_wfc", dc="last", seed=seed, recall_lip_trill=last)
        run(0.5, strategy="crt_wfc", dc="late", seed=seed, recall_lip_trill=late)
    header, seeds, lip_trill, vocal_fry, *others = cells(pages.markdown(answered("late_last")))
    assert header == ["Technique", "last, ours", "late, ours", "late, to last"]
    assert seeds == ["Seeds", "2", "2", ""]
    assert lip_trill == ["lip trill", "0.400 ± 0.000", "**0.600 ± 0.141**", "+0.200 ± 0.141"]
    assert vocal_fry[0] == "vocal fry"
    assert len(others) == 8


def test_class_wise_f1_stands_beside_the_papers_where_it_prints_one(run, answered):
    run(0.5, alpha=0.2, f1_trill=0.6)
    run(0.5, alpha=1.0)
    header, _, *lines = cells(pages.markdown(answered("techniques")))
    first, second = (["α = 0.2, ours", "α = 0.2, paper", "α = 0.2, difference"], ["α = 1, ours", "α = 1, paper"])
    assert header == ["Technique", *first, *second, "α = 1, difference", "α = 1, to α = 0.2"]
    trill = next(line for line in lines if line[0] == "trill")
    assert trill == ["trill", "**0.600**", "**0.544**", "+0.056", "0.500", "0.495", "+0.005", "-0.100"]
    assert next(line for line in lines if line[0] == "belt")[2:4] == ["—", "—"]


def test_ablations_stand_in_groups_with_their_change_from_the_default(run, answered):
    for seed, (default, flat) in enumerate([(0.5, 0.6), (0.7, 0.6)]):
        run(default, seed=seed)
        run(flat, seed=seed, settings={"model.aggregation": "flatten"})
    found = answered("ablations")
    header, default, network, *lines = cells(pages.markdown(found))
    assert default[:4] == ["Late, cRT-WC", "ours", "2", "**0.600 ± 0.141**"]
    assert network == ["*Network*", *[""] * (len(header) - 1)]
    flat = next(k for k, line in enumerate(lines) if line[0] == "Late, cRT-WC, flatten")
    assert lines[flat][1:4] == ["ours", "2", "**0.600 ± 0.000**"]
    assert lines[flat + 1][:4] == ["", "to Late, cRT-WC", "", "+0.000 ± 0.141"]
    assert [line[0] for line in lines if line[0].startswith("*")] == [
        "*Input*",
        "*Training*",
        "*Re-training*",
        "*Data*",
    ]
    in_csv = list(csv.DictReader(pages.csv(found).splitlines()))
    row = next(line for line in in_csv if line["condition"] == "late_crt_wc+flatten")
    assert (row["settings"], row["change"], row["change_deviation"]) == (
        "model.aggregation=flatten",
        "0.0",
        "0.141421",
    )
    assert "condition=late_crt_wc ablation=dcn_v1 seed=0,1`" in pages.markdown(found)


def test_a_cross_validation_counts_folds(run, answered):
    for fold in range(5):
        run(0.5 + fold / 10, fold=str(fold), data_fingerprint=str(fold))
    found = answered("folds")
    header, *lines = cells(pages.markdown(found))
    assert header[2] == "Folds"
    best_row = next(line for line in lines if line[0] == "Late, cRT-WC")
    assert best_row[1:4] == ["ours", "5", "0.700 ± 0.158"]
    assert next(csv.DictReader(pages.csv(found).splitlines()))["units"] == "0"


def test_bold_is_said_to_be_no_verdict_where_there_is_something_to_compare(run, answered):
    run(0.64, strategy="crt_wc")
    alone = pages.markdown(answered("table3", "vocalset"))
    run(0.60, strategy="joint")
    assert "which may be luck" not in alone
    assert "Bold is the best of a column, which may be luck" in pages.markdown(answered("table3", "vocalset"))
