"""Compare methods at equal balanced accuracy with plain training whose logits are adjusted afterwards.

Subtracting tau log pi from the logits (Menon et al. 2021), pi the share of each technique's training clips, moves any
network from common techniques towards rare ones, without training. So the null model of a method against the long tail
is the frontier that plain training reaches in this way. A method gains only what its own frontier has above it.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from singtech.metrics import METRICS, WeightedClips, heading
from singtech.results.figures import TWO_COLUMNS, blank, entitle, plot, print_style, without_runs
from singtech.results.forest_plot import forest_rows
from singtech.results.intervals import UNDEFINED, Estimate, jackknife, over_folds, without_each
from singtech.results.pages import NONE, Page, Table, shown, shown_change, shown_change_interval
from singtech.results.predictions import Predictions
from singtech.results.summaries import Answer
from singtech.results.thirds import read_counts
from singtech.results.verdicts import judge

TAUS = np.linspace(0, 2, 41)
NOT_HERE = ("statistic", "baseline", "interval", "no interval")  # kinds of notes on means and differences
BALANCED, OVERALL = "balanced_accuracy", "accuracy"
NOTE = (
    "B-Acc. and Acc. are the method's own. Its gain: the best accuracy that it reaches under some tau from 0 to 2 at "
    "its own balanced accuracy or a higher one, less the best that plain training reaches there; where plain training "
    "reaches none so high, less its accuracy at its highest. Both select tau on the test singers. Paired by {pairs}; "
    "the interval is for other singers; p is Student's, adjusted by Holm over the methods. One seed decides nothing."
)


def frontier_page(answer: Answer) -> Page:
    """The page of the frontier. Its frame has one row per condition and tau, then one per condition with its gain."""
    curves = {c.reference: _curves(answer, c.reference) for c in answer.experiment.conditions}
    frame, gains = _frame(answer, curves), gains_frame(answer, curves)
    lacking = int(sum(len(answer.runs_of(c)) - len(curves[c.reference]) for c in answer.experiment.conditions))
    notes = [note for kind, note in answer.notes.items() if kind not in NOT_HERE]
    notes.append(NOTE.format(pairs="fold and seed" if answer.experiment.folds else "seed"))
    if lacking:
        notes.append(f"{lacking} runs are left out: they have no predictions or no training counts here.")
    words = {"data": answer.data, "artefact": answer.experiment.name}
    return answer.page(
        frame=pd.concat([frame, gains]).assign(**words),
        tables=[_table(answer, gains)],
        figure=draw(answer, frame),
        comparisons=forest_rows(gains.assign(metric=OVERALL), value="gain"),
        notes=notes,
    )


def adjusted(predictions: Predictions, log_prior: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """(T, R) balanced accuracy and accuracy of logits less tau * log prior, for each of `TAUS` and R weightings.

    Args:
        predictions: of N clips, with logits of K techniques.
        log_prior: (K,).
        weights: (R, N) of the clips.
    """
    scores: dict[str, list[np.ndarray]] = {BALANCED: [], OVERALL: []}
    for tau in TAUS:
        clips = WeightedClips(predictions.targets, predictions.logits - tau * log_prior, weights)
        for metric, values in scores.items():
            values.append(METRICS[metric].function(clips))
    return {metric: np.stack(values) for metric, values in scores.items()}


def best_accuracy(balanced: np.ndarray, accuracy: np.ndarray, least: np.ndarray) -> np.ndarray:
    """(R,) the best accuracy of a frontier at a balanced accuracy of at least some value.

    Args:
        balanced, accuracy: (T, R) of the frontier.
        least: (R,). Where no tau reaches it, the accuracy at the highest balanced accuracy.
    """
    reached = np.where(balanced >= least - 1e-12, accuracy, -np.inf).max(axis=0)
    highest = np.take_along_axis(accuracy, balanced.argmax(axis=0)[None], axis=0)[0]
    return np.where(np.isfinite(reached), reached, highest)


def gains_frame(answer: Answer, curves: dict) -> pd.DataFrame:
    """Make a frame with one row per method: its scores, its gain over plain training, and the verdict on it."""
    experiment, plain = answer.experiment, curves[answer.experiment.baseline]
    methods = [c for c in experiment.conditions if c.reference != experiment.baseline]
    estimates, rows = [], []
    for method in methods:
        own = {cell: curve for cell, curve in curves[method.reference].items() if cell in plain}
        gains = {
            cell: _best(curve, curve[BALANCED][0]) - _best(plain[cell], curve[BALANCED][0])
            for cell, curve in own.items()
        }
        estimates.append(_estimate(gains, experiment.folds > 0))
        means = [_mean({cell: curve[metric][0, 0] for cell, curve in own.items()}) for metric in (BALANCED, OVERALL)]
        rows.append([method.reference, method.label, *map(float, means)])
    verdicts = pd.DataFrame(judge(estimates, experiment.delta)).rename(columns={"difference": "gain", "units": "folds"})
    names = ["gain", "low", "high", "seeds", "p_holm", "verdict", *["folds"] * (experiment.folds > 0)]
    return pd.DataFrame(rows, columns=["condition", "label", BALANCED, OVERALL]).join(verdicts.reindex(columns=names))


def _best(curve: dict[str, np.ndarray], least: np.ndarray) -> np.ndarray:
    return best_accuracy(curve[BALANCED], curve[OVERALL], least)


@print_style()
def draw(answer: Answer, frame: pd.DataFrame) -> Figure:
    """The figure: accuracy over balanced accuracy, plain training's frontier in black, each method's own in colour.

    A mark is the method as it is, at tau 0; its line is the best that logit adjustment makes of it.
    """
    if not len(frame):
        return blank(without_runs(answer))
    figure, axes = plot(TWO_COLUMNS, 3.4)
    colours = colormaps["tab20"].colors  # type: ignore[attr-defined]
    for number, (reference, curve) in enumerate(frame.groupby("condition", sort=False)):
        is_plain = reference == answer.experiment.baseline
        look: dict[str, Any] = {"color": colours[number % 20], "linewidth": 1, "alpha": 0.6}
        look = {"color": "black", "linewidth": 2.2, "zorder": 3} if is_plain else look
        best = keep_best(curve)
        axes.plot(best[BALANCED], best[OVERALL], **look)
        start = curve.iloc[0]
        mark = "osD^vP*X"[number % 8]
        axes.plot(
            start[BALANCED], start[OVERALL], mark, color=look["color"], label=start["label"], markersize=6, zorder=4
        )
    axes.set(xlabel="balanced accuracy", ylabel="accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(color="0.9", linewidth=0.6)
    figure.legend(loc="outside right center")
    entitle(figure, answer)
    return figure


def keep_best(curve: pd.DataFrame) -> pd.DataFrame:
    """Keep the points of a frontier that no other point exceeds in one score without losing in the other."""
    ordered = curve.sort_values([BALANCED, OVERALL], ascending=False)
    before = ordered[OVERALL].cummax().shift(fill_value=-1.0)
    return ordered[ordered[OVERALL] > before].sort_values(BALANCED)


Cell = tuple[str, int]  # fold and seed of a run


def _estimate(gains: "dict[Cell, np.ndarray]", has_folds: bool) -> Estimate:
    """Estimate the mean of the (1 + n,) gains of each fold and seed, with all singers and without each."""
    if not gains:
        return UNDEFINED
    if has_folds:
        index = pd.MultiIndex.from_tuples(gains, names=["fold", "seed"])
        return over_folds(pd.Series([gain[0] for gain in gains.values()], index).unstack("seed").to_numpy())
    return jackknife(np.stack(list(gains.values()), axis=1))


def _mean(values: "dict[Cell, Any]") -> Any:
    """The mean over folds of the mean over a fold's seeds; nan of no values."""
    folds = dict.fromkeys(fold for fold, _ in values)
    means = [np.mean([value for (of, _), value in values.items() if of == fold], axis=0) for fold in folds]
    return np.mean(means, axis=0) if means else np.nan


def _curves(answer: Answer, reference: str) -> "dict[Cell, dict[str, np.ndarray]]":
    """Of each run of a condition its (T, 1 + n) scores, with all singers and without each; (T, 1) on folds."""
    curves = {}
    for row in answer.runs[answer.runs["condition"] == reference].itertuples():
        predictions = answer.collated.jackknife.predictions(row.run)
        counts = read_counts(row.training_counts)
        if predictions is None or not set(predictions.techniques) <= set(counts):
            continue
        prior = np.array([counts[name] for name in predictions.techniques])
        weights = without_each(predictions.clips["singer"])
        weights = weights[:1] if answer.experiment.folds else weights
        curves[str(row.fold), int(row.seed)] = adjusted(predictions, np.log(prior / prior.sum()), weights)
    return curves


def _frame(answer: Answer, curves: dict) -> pd.DataFrame:
    """Make a frame with the mean of each condition's frontier over its folds and seeds."""
    rows = []
    for condition in answer.experiment.conditions:
        each = curves[condition.reference]
        if each:
            means = {name: _mean({cell: each[cell][name][:, 0] for cell in each}) for name in (BALANCED, OVERALL)}
            table = pd.DataFrame({"tau": TAUS} | means)
            rows.append(table.assign(condition=condition.reference, label=condition.label))
    empty = pd.DataFrame(columns=["condition", "label", "tau", BALANCED, OVERALL])
    return pd.concat(rows)[list(empty)] if rows else empty


def _table(answer: Answer, gains: pd.DataFrame) -> Table:
    lines, counts = [], ["folds", "seeds"] if answer.experiment.folds else ["seeds"]
    for row in gains.to_dict("records"):
        interval = shown_change_interval(row["low"], row["high"])
        numbers = [shown(row[BALANCED]), shown(row[OVERALL]), shown_change(row["gain"]), interval]
        numbers.append(shown(row["p_holm"]) if row["seeds"] > 1 else NONE)
        lines.append([row["label"], row["verdict"], *(str(row[name]) for name in counts), *numbers])
    heads = [answer.experiment.header, "verdict", *map(str.title, counts), heading(BALANCED), heading(OVERALL)]
    return Table.of([*heads, "gain", "95 %", "p, Holm"], lines, words=2)
