"""The five metrics of Section 4.1 against values by hand and against second formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singtech import metrics
from singtech.metrics import METRICS, Metric, WeightedClips, is_higher_better, label, register

# Six clips of belt, trill and vibrato: truth b b b t t v, named b b t t v v.
TARGETS = np.array([0, 0, 0, 1, 1, 2])
LOGITS = np.array([[5, 1, 0], [4, 2, 1], [2, 3, 1], [0, 9, 4], [1, 2, 3], [0, 1, 7]], dtype=float)
NAMES = ("belt", "trill", "vibrato")


def test_six_clips_score_as_counted_by_hand():
    found = metrics.score_clips(TARGETS, LOGITS, NAMES)
    by_technique = [f"{metric}_{name}" for metric in ("f1", "recall", "auc") for name in NAMES]
    assert list(found) == [*metrics.list_overall(), *by_technique]
    # belt: precision 2/2, recall 2/3; trill: 1/2 and 1/2; vibrato: 1/2 and 1/1
    each = [0.8, 0.5, 2 / 3]
    assert [found[f"f1_{name}"] for name in NAMES] == pytest.approx(each)
    assert [found[f"recall_{name}"] for name in NAMES] == pytest.approx([2 / 3, 1 / 2, 1])
    assert found["f1"] == pytest.approx(sum(each) / 3)
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert found["top2_accuracy"] == 1.0  # both mistakes have the truth in second place
    assert found["top3_accuracy"] == 1.0


def test_confusion_has_the_truth_in_rows():
    assert metrics.count_confusions(TARGETS, LOGITS).tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]


def test_top_accuracies_count_the_rank_of_the_truth():
    targets = np.zeros(4, dtype=int)  # the truth ranks first, second, third and fourth
    logits = np.array([[9, 1, 2, 3], [2, 9, 1, 0], [2, 9, 8, 0], [0, 3, 2, 1]], dtype=float)
    found = metrics.score_clips(targets, logits, "abcd")
    assert (found["accuracy"], found["top2_accuracy"], found["top3_accuracy"]) == (0.25, 0.5, 0.75)


def test_of_equal_logits_the_first_techniques_rank_first():
    equal = np.zeros((4, 4))
    found = metrics.score_clips(np.arange(4), equal, "abcd")  # as argmax: every clip is named a, then b, then c
    assert (found["accuracy"], found["top2_accuracy"], found["top3_accuracy"]) == (0.25, 0.5, 0.75)
    odd = np.tile(np.arange(10) % 2.0, (2, 1))  # 1, 3, 5, 7 and 9 are equal; an unstable sort would put 7 before 5
    assert metrics.score_clips(np.array([1, 5]), odd, "abcdefghij")["top3_accuracy"] == 1.0
    assert metrics.score_clips(np.array([7, 9]), odd, "abcdefghij")["top3_accuracy"] == 0.0
    tied = np.array([[5.0, 5.0, 9.0]])
    assert metrics.score_clips(np.array([0]), tied, NAMES)["top2_accuracy"] == 1.0
    assert metrics.score_clips(np.array([1]), tied, NAMES)["top2_accuracy"] == 0.0


def test_a_technique_without_test_clips_has_no_score_and_counts_in_no_average():
    found = metrics.score_clips(np.array([0, 0, 1]), np.array([[3, 1, 0], [0, 1, 3], [0, 3, 1]], dtype=float), NAMES)
    assert np.isnan([found["f1_vibrato"], found["recall_vibrato"]]).all()
    assert found["f1"] == pytest.approx((2 / 3 + 1) / 2)  # belt: precision 1, recall 1/2
    assert found["balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)


def test_one_technique_alone_and_two_techniques_are_scored():
    assert metrics.score_clips(np.array([1]), np.array([[0.0, 1.0]]), "ab")["f1"] == 1.0
    two = metrics.score_clips(np.array([0, 1]), np.array([[0.0, 1.0], [1.0, 0.0]]), "ab")
    assert (two["accuracy"], two["top2_accuracy"], two["top3_accuracy"]) == (0.0, 1.0, 1.0)


def test_naming_one_technique_for_every_clip_gives_chance_in_balanced_accuracy():
    targets = np.repeat(np.arange(10), 7)
    logits = np.tile(np.eye(10)[4] + np.arange(10) / 100, (70, 1))
    found = metrics.score_clips(targets, logits, [str(k) for k in range(10)])
    assert found["balanced_accuracy"] == pytest.approx(0.1)
    assert found["f1"] == pytest.approx(2 * 0.1 * 1.0 / 1.1 / 10)  # precision 0.1, recall 1, of one technique in ten


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(4, 10))
def test_metrics_equal_their_textbook_formulas(seed, clips, techniques):
    generator = np.random.default_rng(seed)
    targets = generator.integers(techniques, size=clips)
    logits = generator.permuted(np.tile(np.arange(float(techniques)), (clips, 1)), axis=1)  # no ties
    found = metrics.score_clips(targets, logits, [str(k) for k in range(techniques)])
    counts = np.zeros((techniques, techniques))
    for target, row in zip(targets, logits, strict=True):
        counts[target, max(range(techniques), key=lambda k: row[k])] += 1
    right, true, named = np.diag(counts), counts.sum(1), counts.sum(0)
    present = true > 0
    assert (metrics.count_confusions(targets, logits) == counts).all()
    assert found["f1"] == pytest.approx((2 * right / np.maximum(true + named, 1))[present].mean())
    recall = right[present] / true[present]
    assert found["balanced_accuracy"] == pytest.approx(recall.mean())
    assert [found[f"recall_{k}"] for k in np.flatnonzero(present)] == pytest.approx(list(recall))
    rank = (logits > logits[np.arange(clips), targets][:, None]).sum(1)
    assert found["accuracy"] == pytest.approx((rank < 1).mean())
    assert found["top2_accuracy"] == pytest.approx((rank < 2).mean())
    assert found["top3_accuracy"] == pytest.approx((rank < 3).mean())


@pytest.mark.parametrize(
    ("targets", "logits", "message"),
    [
        ([], np.zeros((0, 3)), "no test clip"),
        ([0, 1], [[0.0, np.nan, 1.0], [0.0, 1.0, 2.0]], "1 of 2 clips have logits that are not finite"),
    ],
)
def test_what_cannot_be_scored_is_refused(targets, logits, message):
    with pytest.raises(ValueError, match=message):
        metrics.score_clips(np.array(targets, dtype=int), np.array(logits), NAMES)


def test_the_area_under_the_curve_by_hand():
    """Of belt and trill, by the logit of belt less that of trill: belt 3, 1, 0; trill 2, 0, 0."""
    logits = np.array([[3, 0], [1, 0], [0, 0], [2, 0], [5, 5], [0, 0]], dtype=float)
    found = metrics.score_clips(np.array([0, 0, 0, 1, 1, 1]), logits, ("belt", "trill"))
    # belt at 3 wins 3 of 3 pairs; at 1 wins 2; at 0 ties with 2
    assert [found["auc_belt"], found["auc_trill"], found["auc"]] == pytest.approx([(3 + 2 + 2 / 2) / 9] * 3)


def test_the_area_needs_a_clip_of_the_technique_and_one_of_another():
    logits = np.array([[3, 1, 0], [1, 2, 0], [2, 3, 0]], dtype=float)
    found = metrics.score_clips(np.array([0, 0, 1]), logits, NAMES)
    assert np.isnan(found["auc_vibrato"])
    # belt has the probabilities 0.84 and 0.24 of itself, 0.26 of trill; trill 0.71 of itself, 0.11 and 0.67 of belt
    assert found["auc_belt"] == pytest.approx(1 / 2)
    assert found["auc_trill"] == 1
    assert found["auc"] == pytest.approx((1 / 2 + 1) / 2)
    alone = metrics.score_clips(np.array([1, 1]), np.eye(2), ("belt", "trill"))
    assert np.isnan([alone["auc"], alone["auc_belt"], alone["auc_trill"]]).all()


def test_probabilities_that_are_rounded_to_one_are_still_ranked():
    """The probability of belt is 1 in double precision from a logit of 37 on."""
    logits = np.array([[50, 0], [40, 0], [45, 0]], dtype=np.float32)
    found = metrics.score_clips(np.array([0, 1, 0]), logits, ("belt", "trill"))
    assert (found["auc_belt"], found["auc_trill"]) == (1, 1)


def test_where_clips_have_equal_logits_in_any_order_their_pairs_count_half():
    """Six techniques: a clip's logits are 0.1 to 0.6 in some order, always 0.3 for belt; all pairs are equal."""
    draw = np.random.default_rng(0)
    others = draw.permuted(np.tile([0.1, 0.2, 0.4, 0.5, 0.6], (40, 1)), axis=1)
    found = metrics.score_clips(np.arange(40) % 6, np.column_stack([np.full(40, 0.3), others]), "abcdef")
    assert found["auc_a"] == 0.5


def test_the_calibration_error_by_hand():
    """Always 1/3 sure and never right: off by 1/3. Right as often as sure: off by nothing."""
    equal = np.zeros((3, 3))
    assert metrics.score_clips(np.array([1, 1, 2]), equal, NAMES)["calibration_error"] == pytest.approx(1 / 3)
    assert metrics.score_clips(np.array([0, 1, 2]), equal, NAMES)["calibration_error"] == pytest.approx(0)
    # belt with 3/4 and 1/2: the former right, the latter wrong, in bins of their own
    sure = np.log([[3, 1], [1, 1]])
    assert metrics.score_clips(np.array([0, 1]), sure, "ab")["calibration_error"] == pytest.approx((1 / 4 + 1 / 2) / 2)


def test_the_calibration_error_is_torchmetrics_of_clips_as_often_as_they_count():
    torch = pytest.importorskip("torch")
    from torchmetrics.functional.classification import multiclass_calibration_error

    draw = np.random.default_rng(1)
    targets, logits = draw.integers(3, size=400), draw.normal(size=(400, 3)).astype("f4") * 2
    weights = np.concatenate([np.ones((1, 400)), draw.integers(0, 3, size=(4, 400))])
    probabilities = torch.tensor(logits).double().softmax(dim=1)
    for found, times in zip(metrics.calibration_error(WeightedClips(targets, logits, weights)), weights, strict=True):
        clips = np.repeat(np.arange(400), times.astype(int))
        often = probabilities[clips], torch.tensor(targets)[clips]
        expected = multiclass_calibration_error(*often, num_classes=3, n_bins=15, norm="l1")
        assert found == pytest.approx(float(expected), abs=1e-6)


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 10_000), st.booleans())
def test_areas_are_scikit_learns_with_any_weights(seed, has_ties):
    from scipy.special import softmax
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(seed)
    targets, logits = generator.permutation(np.arange(60) % 4), generator.normal(size=(60, 4))
    logits = logits.repeat(2, axis=0)[:60] if has_ties else logits
    weights = np.concatenate([np.ones((1, 60)), generator.integers(0, 3, size=(3, 60))]).astype("f4")
    found, probabilities = metrics.score_weightings(targets, logits, "abcd", weights), softmax(logits, axis=1)
    for number, each in enumerate(weights):
        expected = [roc_auc_score(targets == k, probabilities[:, k], sample_weight=each) for k in range(4)]
        assert [found[f"auc_{name}"][number] for name in "abcd"] == pytest.approx(expected)
        assert found["auc"][number] == pytest.approx(np.mean(expected))
    assert found["auc"][0] == pytest.approx(roc_auc_score(targets, probabilities, multi_class="ovr"))


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 10_000))
def test_metrics_are_scikit_learns(seed):
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score, recall_score

    generator = np.random.default_rng(seed)
    targets, logits = generator.permutation(np.arange(60) % 3), generator.normal(size=(60, 3))
    found, named = metrics.score_clips(targets, logits, NAMES), logits.argmax(axis=1)
    assert found["f1"] == pytest.approx(f1_score(targets, named, average="macro"))
    assert found["accuracy"] == pytest.approx(accuracy_score(targets, named))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(targets, named))
    assert [found[f"f1_{n}"] for n in NAMES] == pytest.approx(list(f1_score(targets, named, average=None)))
    assert [found[f"recall_{n}"] for n in NAMES] == pytest.approx(list(recall_score(targets, named, average=None)))
    assert (metrics.count_confusions(targets, logits) == confusion_matrix(targets, named)).all()


def test_the_printed_line_has_what_a_row_holds():
    row = {"f1": 0.6121, "accuracy": 0.656, "top2_accuracy": None, "top3_accuracy": float("nan"), "f1_belt": 0.1}
    assert metrics.format_scores(row) == "F1 0.612  Acc. 0.656"


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("f1", "macro-F1"),
        ("recall_lip_trill", "recall of lip trill"),
        ("validation_f1", "macro-F1 on validation clips"),
        ("auc_lip_trill", "AUC of lip trill"),
    ],
)
def test_a_column_has_words(column, words):
    assert label(column) == words
    assert is_higher_better(column)


@pytest.mark.parametrize(
    ("name", "why"), [("f1", "has a column of this name"), ("My metric", "expected small letters")]
)
def test_a_metric_that_cannot_have_its_name_is_refused(name, why):
    with pytest.raises(ValueError, match=why):
        register(name, Metric("mine", lambda clips: clips.mean(clips.ranks)))


def test_a_metric_has_no_name_of_a_rows_column():
    with pytest.raises(ValueError, match="a run's row has a column of this name"):
        register("precision", Metric("precision", lambda clips: clips.mean(clips.ranks)))


def test_a_metrics_values_are_checked(monkeypatch):
    targets, logits = np.array([0, 1]), np.eye(2)
    monkeypatch.setitem(METRICS, "own", Metric("own", lambda clips: np.full(1, np.inf)))
    assert np.isnan(metrics.score_clips(targets, logits, ("a", "b"))["own"])
    monkeypatch.setitem(METRICS, "own", Metric("own", lambda clips: 0.5))
    with pytest.raises(ValueError, match=r"the metric own gives an array of shape \(\), expected \(1,\)"):
        metrics.score_clips(targets, logits, ("a", "b"))
