"""Nested cross-validation, computed by hand: what each fold's validation singers select, and what that is worth."""

import pandas as pd
import pytest
import yaml
from scipy.stats import ttest_rel

from singtech.results.experiments import read_experiment
from singtech.results.index import render
from singtech.results.nested import scores_by_fold
from singtech.results.summaries import answer

FOLDS = 3
INNER = {"late": [(0.5, 0.6), (0.5, 0.5), (0.4, 0.6)], "early": [(0.7, 0.5), (0.4, 0.5), (0.9, 0.2)]}
OUTER = {"late": [0.50, 0.52, 0.54], "early": [0.61, 0.20, 0.63]}


@pytest.fixture
def experiment(tmp_path):
    content = {"kind": "nested", "title": "Two", "caption": "Two candidates.", "header": "Candidate", "folds": FOLDS}
    content |= {"metrics": ["validation_f1", "f1"], "rows": [{"condition": "late_crt_wc"}, {"condition": "early"}]}
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump({"experiment": content}))
    return read_experiment(path)


@pytest.fixture
def put(run):
    """Put the runs of both candidates, for one seed."""

    def put(seed=0, left_out=(), inner_scores=INNER):
        for dc, strategy, alpha in (("late", "crt_wc", 0.2), ("early", "crt_wfc", 0.2)):
            common = {"dc": dc, "strategy": strategy, "alpha": alpha, "seed": seed}
            for fold in range(FOLDS):
                settings = {"data.folds": FOLDS}
                run(OUTER[dc][fold], fold=str(fold), settings=settings, **common)
                for number, score in enumerate(inner_scores[dc][fold], 1):
                    if (dc, fold, number) not in left_out:
                        inner = settings | {"data.inner_fold": number}
                        run(0.99, fold=str(fold), settings=inner, validation_f1=score, **common)

    return put


def test_each_row_is_a_candidate_with_its_inner_folds(experiment):
    assert [c.reference for c in experiment.conditions] == [
        *("late_crt_wc", "late_crt_wc+data.inner_fold=1", "late_crt_wc+data.inner_fold=2"),
        *("early", "early+data.inner_fold=1", "early+data.inner_fold=2"),
    ]


def test_each_fold_selects_by_the_mean_of_its_inner_folds_and_the_first_of_equal_ones(experiment, put, collated):
    put()
    scores = scores_by_fold(answer(experiment, collated(), "vocalset"))
    assert scores["fold"].tolist() == ["0", "1", "2"]
    assert scores["selected"].tolist() == ["early", "late_crt_wc", "early"]  # .6 and .55, .45 and .5, .55 and .5
    assert scores["judge"].tolist() == pytest.approx([0.60, 0.50, 0.55])
    assert scores["tested"].tolist() == pytest.approx([0.61, 0.52, 0.63])
    assert scores["first"].tolist() == pytest.approx([0.50, 0.52, 0.54])


def test_the_page_says_what_selecting_is_worth_with_students_interval(experiment, put, collated, tmp_path):
    put()
    put(seed=1)
    paths, page = render(experiment, collated(), {}, "vocalset", tmp_path / "pages")
    test = ttest_rel([0.61, 0.52, 0.63], [0.50, 0.52, 0.54])
    low, high = test.confidence_interval()
    (sentence,) = page.lead
    assert "**Early (1,2)** 4 of 6 times, **Late, cRT-WC** 2 of 6 times" in sentence
    assert f"0.587 on the test singers, Late, cRT-WC 0.520: +0.067 ({low:+.3f} to {high:+.3f}), undecided." in sentence
    frame = pd.read_csv(paths[1], dtype={"selected_by": str}, keep_default_na=False)
    by = frame.drop_duplicates("condition").set_index("condition")["selected_by"]
    assert (by["early"], by["late_crt_wc"], by["early+data.inner_fold=1"]) == ("0, 2", "1", "")


def test_a_fold_whose_seeds_select_differently_says_how_many(experiment, put, collated, tmp_path):
    put()
    put(seed=1, inner_scores=INNER | {"late": [(0.9, 0.9)] * FOLDS})
    paths, _ = render(experiment, collated(), {}, "vocalset", tmp_path / "pages")
    frame = pd.read_csv(paths[1], dtype={"selected_by": str}, keep_default_na=False)
    by = frame.drop_duplicates("condition").set_index("condition")["selected_by"]
    assert by["late_crt_wc"] == "0 (1 of 2 seeds), 1, 2 (1 of 2 seeds)"
    assert by["early"] == "0 (1 of 2 seeds), 2 (1 of 2 seeds)"


def test_nothing_is_selected_before_every_candidate_was_run(experiment, put, collated, tmp_path):
    put(left_out=[("early", fold, 2) for fold in range(FOLDS)])
    _, page = render(experiment, collated(), {}, "vocalset", tmp_path / "pages")
    assert "Nothing is selected before every candidate" in page.lead[0]
    assert any("data.inner_fold=2" in command and "data.fold=0,1,2" in command for _, command in page.missing)
