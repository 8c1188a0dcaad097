"""Where scores come from: each part by hand."""

import csv
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from singtech.config_paths import EXPERIMENTS
from singtech.metrics import score_clips
from singtech.results.breakdown import Part, by_recording, context_only, parts_of, summarize
from singtech.results.experiments import read_experiment
from singtech.results.index import render
from singtech.results.names import read_gender, read_vowel
from singtech.results.predictions import Predictions

EXPERIMENT = read_experiment(EXPERIMENTS / "breakdown.yaml")
TECHNIQUES = ("belt", "spoken", "straight")


def clips(*rows):
    return pd.DataFrame(rows, columns=["recording", "singer", "technique", "context", "start"])


def test_context_only_names_what_its_context_has_most_of_in_training():
    train = pd.DataFrame(
        [("belt", "scales", 5), ("straight", "scales", 9), ("spoken", "excerpts", 2), ("straight", "excerpts", 1)],
        columns=["technique", "context", "clips"],
    )
    test = clips(
        ("a", "ann", "belt", "scales", 0.0),
        ("b", "ann", "spoken", "excerpts", 0.0),
        ("c", "ann", "belt", "long_tones", 0.0),  # which no training singer has: straight has most of all
    )
    told = context_only(test, TECHNIQUES, train)
    assert [TECHNIQUES[k] for k in told.logits.argmax(axis=1)] == ["straight", "spoken", "straight"]


def test_a_recording_is_named_by_the_mean_of_its_clips_logits():
    logits = np.array([[3, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]], "f4")
    named = by_recording(Predictions(clips(*[(r, "ann", "belt", "", 0.0) for r in "bbab"]), TECHNIQUES, logits))
    assert list(named.clips["recording"]) == ["a", "b"]
    np.testing.assert_allclose(named.logits, [[0, 0, 1], [1, 2 / 3, 0]])


@pytest.fixture
def page(run, put_predictions, put_corpus, collated, tmp_path):
    """Late cRT-WC with two seeds on two singers; belt in scales is taken for vibrato by the first seed."""
    rows = [("ann", "belt", "belt", "scales", 0), ("ann", "spoken", "spoken", "excerpts", 1)]
    rows += [("ben", "belt", "belt", "scales", 2), ("ben", "vibrato", "vibrato", "scales", 3)]
    wrong = [(*row[:2], "vibrato" if row[1] == "belt" else row[1], *row[3:]) for row in rows]
    put_predictions(run(seed=0), wrong)
    put_predictions(run(seed=1), rows)
    path = put_corpus("vocalset", {("belt", "train"): (3, 1, 30), ("spoken", "train"): (2, 1, 5)})
    text = path.read_text().replace("technique,split", "technique,split,context")
    path.write_text(text.replace("belt,train", "belt,train,scales").replace("spoken,train", "spoken,train,excerpts"))
    paths, _ = render(EXPERIMENT, replace(collated(), output_dir=tmp_path), {}, "vocalset", tmp_path)
    return paths[0].read_text(), list(csv.DictReader(paths[1].read_text().splitlines()))


def told_of(lines, part, line, metric, label="Late, cRT-WC"):
    (found,) = [
        row
        for row in lines
        if row["part"] == part and row["line"].startswith(line) and (row["metric"], row["label"]) == (metric, label)
    ]
    return found


def number(*where):
    return float(told_of(*where)["mean"])


def interval(*where):
    found = told_of(*where)
    return float(found["low"]), float(found["high"])


def test_each_context_stands_beside_what_it_gives_away(page):
    text, lines = page
    within = "Within each context"
    assert number(lines, within, "excerpts (1 clip, 1 technique)", "Acc.") == 1
    assert number(lines, within, "scales", "Acc.") == pytest.approx((1 / 3 + 1) / 2)
    assert number(lines, within, "scales", "Acc.", "Context only") == pytest.approx(2 / 3)
    assert number(lines, within, "all", "Acc.", "Context only") == pytest.approx(3 / 4)
    assert "| all " in text


def test_singers_and_pairs_are_scored_over_seeds(page):
    _, lines = page
    assert number(lines, "Each test singer", "ann", "Acc.") == pytest.approx((1 / 2 + 1) / 2)
    assert number(lines, "Most confused pairs", "belt taken for vibrato", "") == pytest.approx(1 / 2)
    guesses = ([2, 1, 2, 2], [0, 1, 0, 2])
    f1 = [score_clips(np.array([0, 1, 0, 2]), np.eye(3)[named], TECHNIQUES)["f1"] for named in guesses]
    assert number(lines, "Clips and whole recordings", "4 clips", "F1") == pytest.approx(np.mean(f1))


def test_numbers_have_intervals_by_hand(page):
    """In scales the seeds have 1/3 and 1 of the clips right; without ann 1/2 and 1, without ben 0 and 1."""
    text, lines = page
    singers, seeds = ((3 / 4 - 5 / 8) ** 2 + (1 / 2 - 5 / 8) ** 2) / 2, 2 * (1 / 3) ** 2 / 2
    degrees = (singers + seeds) ** 2 / (singers**2 + seeds**2)  # both have one
    half = t.ppf(0.975, degrees) * math.sqrt(singers + seeds)
    expected = pytest.approx((2 / 3 - half, 2 / 3 + half))
    assert interval(lines, "Within each context", "scales", "Acc.") == expected
    half = t.ppf(0.975, 1) / 2  # one seed confuses all, the other none, whoever sings
    assert interval(lines, "Most confused pairs", "belt taken for vibrato", "") == pytest.approx(
        (0.5 - half, 0.5 + half)
    )
    row = next(line for line in text.splitlines() if line.startswith("| scales (3 clips,"))
    below = text.splitlines()[text.splitlines().index(row) + 1]
    assert [cell.strip() for cell in below.split("|")[1:3]] == ["", "95 %"]


def test_a_single_singer_has_no_interval(page):
    text, lines = page
    for where in (("Within each context", "excerpts"), ("Each test singer", "ann"), ("Each test singer", "ben")):
        found = told_of(lines, *where, "Acc.")
        assert (found["low"], found["high"]) == ("", "")
    assert "One singer has no interval" in text


def test_where_a_seed_has_no_number_there_is_a_mean_of_the_others_and_no_interval():
    """The first seed names no belt and so has no score; the second has ann right, without whom it is 0."""
    sung = clips(("a", "ann", "belt", "", 0.0), ("b", "ben", "belt", "", 0.0))
    seeds = [
        Predictions(sung, TECHNIQUES, np.array(logits, "f4"))
        for logits in ([[0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 0]])
    ]

    def score(predictions, weights):
        right = weights @ (predictions.logits.argmax(axis=1) == 0)
        return {"right": np.where(right.any(), right / weights.sum(axis=1), np.nan)}

    numbers = summarize(Part("Halves", "", "", score), {"both": seeds, "second": seeds[1:]})
    both, second = numbers.itertuples()
    assert (both.label, both.mean, both.units) == ("both", 0.5, 2)
    assert np.isnan([both.deviation, both.low, both.high]).all()
    half = t.ppf(0.975, 1) / 2  # 0 and 1 without one, 0.5 on the whole
    assert (second.label, second.mean, second.low) == ("second", 0.5, pytest.approx(0.5 - half))


def test_thirds_and_probabilities_by_hand(page):
    """Vibrato is named thrice and right once by the first seed: F1 is 1/2, where of belt it is 0 and of spoken 1."""
    _, lines = page
    rarity = "Rare and common techniques"
    assert number(lines, rarity, "middle: trill, trillo, vibrato", "F1") == pytest.approx((1 / 2 + 1) / 2)
    assert number(lines, rarity, "most: vocal fry, spoken, belt", "F1") == pytest.approx(((1 + 0) / 2 + 1) / 2)
    true = "Are its probabilities true?"
    sure = math.e / (math.e + 9)  # of a logit of 1 among nine of 0
    assert number(lines, true, "mean probability", "") == pytest.approx(sure, abs=1e-6)
    assert number(lines, true, "share named right", "") == pytest.approx((1 / 2 + 1) / 2)
    assert number(lines, true, "expected calibration error", "") == pytest.approx((1 / 2 + 1) / 2 - sure, abs=1e-6)


def test_a_recording_is_right_whose_clips_are_right_on_the_whole(run, put_predictions, put_corpus, collated, tmp_path):
    rows = [("ann", "belt", named, "scales", 1) for named in ("belt", "spoken", "belt")]
    put_predictions(run(), [*rows, ("ann", "spoken", "spoken", "scales", 2)])
    put_corpus("vocalset", {("belt", "train"): (3, 1, 30)})
    paths, _ = render(EXPERIMENT, replace(collated(), output_dir=tmp_path), {}, "vocalset", tmp_path)
    lines = list(csv.DictReader(paths[1].read_text().splitlines()))
    assert number(lines, "Clips and whole recordings", "4 clips", "Acc.") == pytest.approx(3 / 4)
    assert number(lines, "Clips and whole recordings", "2 recordings", "Acc.") == 1


def test_without_predictions_the_page_says_so(run, collated, tmp_path):
    run()
    paths, page = render(EXPERIMENT, replace(collated(), output_dir=tmp_path), {}, "vocalset", tmp_path)
    assert "1 run left out" in paths[0].read_text()
    assert len(page.runs) == 1
    assert not len(page.frame)


@pytest.mark.parametrize(
    ("name", "gender", "vowel"),
    [
        ("female1", "female", ""),
        ("male10", "male", ""),
        ("malena", "", ""),
        ("female", "", ""),
        ("f1/scales/belt/f1_scales_belt_a", "", "a"),
        ("f2_scales_straight_u(1)", "", "u"),
        ("ann_belt_e.wav", "", "e"),
        ("scales_fast_piano_f", "", ""),
        ("take_aa", "", ""),
        ("a", "", ""),
    ],
)
def test_names_tell_gender_and_vowel_or_nothing(name, gender, vowel):
    assert (read_gender(name), read_vowel(name)) == (gender, vowel)


def named(sung, *guesses):
    """Predictions of these clips, one seed that names these techniques."""
    return {"one": [Predictions(sung, TECHNIQUES, np.eye(3, dtype="f4")[[TECHNIQUES.index(g) for g in guesses]])]}


def lengths(*rows):
    return pd.DataFrame([(*row, "train", 1) for row in rows], columns=["technique", "context", "split", "clips"])


def test_gender_and_vowel_have_parts_where_all_names_tell():
    rows = [(f"{singer}_belt_{vowel}", singer, "belt", "", 0.0) for singer in ("female1", "male2") for vowel in "aeiou"]
    spoken = ("female1_row_spoken", "female1", "spoken", "", 0.0)
    predictions = named(clips(*rows, spoken), "belt", *["spoken"] * 4, *["belt"] * 5, "spoken")
    parts = {part.title: part for part in parts_of(predictions, lengths(("belt", "")), ["accuracy"])}
    assert "Errors across contexts" not in parts
    tables = [
        summarize(parts[title], predictions).set_index("line")["mean"].to_dict() for title in ("By gender", "By vowel")
    ]
    assert tables[0] == {"female (6 clips, 1 singer)": pytest.approx(2 / 6), "male (5 clips, 1 singer)": 1}
    each = {"a (2 clips, 1 technique)": 1} | {f"{vowel} (2 clips, 1 technique)": 0.5 for vowel in "eiou"}
    assert tables[1] == {"not told (1 clip, 1 technique)": 1} | each


@pytest.mark.parametrize(
    ("singers", "vowels"), [(("female1", "female2"), "aeio"), (("female1", "ann"), "abcd"), (("ann", "ben"), "aeio")]
)
def test_gender_and_vowel_have_no_parts_where_names_do_not_tell(singers, vowels):
    rows = [(f"take_{vowel}", singer, "belt", "", 0.0) for singer in singers for vowel in vowels]
    predictions = named(clips(*rows), *["belt"] * len(rows))
    titles = {part.title for part in parts_of(predictions, lengths(("belt", "")), ["accuracy"])}
    assert not {"By gender", "By vowel", "Errors across contexts"} & titles


def test_errors_across_contexts_by_hand():
    """Spoken is in excerpts alone, belt in scales alone, straight in both.

    Named are belt 3, spoken 2, straight 1 times. Of three errors the first crosses. Were they by chance: of belt in
    scales, spoken against straight, 2 of 3; of straight in scales, spoken against belt, 2 of 5, twice.
    """
    sung = clips(
        *[(str(n), "ann", "belt", "scales", 0.0) for n in range(2)],
        *[(str(n), "ben", "straight", "scales", 0.0) for n in range(2, 4)],
        ("4", "ben", "spoken", "excerpts", 0.0),
        ("5", "ben", "straight", "scales", 0.0),
    )
    predictions = named(sung, "spoken", "belt", "belt", "belt", "spoken", "straight")
    contexts = lengths(("belt", "scales"), ("straight", "scales"), ("straight", "excerpts"), ("spoken", "excerpts"))
    (part,) = [each for each in parts_of(predictions, contexts, ["f1"]) if each.title == "Errors across contexts"]
    share, by_chance = summarize(part, predictions)[["line", "mean"]].itertuples(index=False)
    assert share == ("share of errors that cross", pytest.approx(1 / 3))
    assert by_chance == ("by chance", pytest.approx((2 / 3 + 2 / 5 + 2 / 5) / 3))


def test_no_errors_cross_contexts_that_have_all_techniques_or_are_not_told():
    predictions = named(clips(("a", "ann", "belt", "scales", 0.0)), "spoken")
    everything = lengths(*[(technique, context) for technique in TECHNIQUES for context in ("scales", "excerpts")])
    for contexts in (everything, lengths(("spoken", ""), ("belt", "scales")), lengths()):
        assert "Errors across contexts" not in {part.title for part in parts_of(predictions, contexts, ["f1"])}


def test_errors_across_contexts_are_on_the_page(page):
    text, lines = page
    where = "Errors across contexts", "share of errors that cross", ""
    assert number(lines, *where) == 0  # the one error is of belt for vibrato, both of scales
    assert "were errors to fall on the wrong techniques" in text
