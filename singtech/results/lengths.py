"""Figure 2: how many minutes there are of each technique, by split, longest first: the long tail."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from singtech.results.commands import command_end, prepare
from singtech.results.figures import COLOURS, SMALL, blank, entitle, plot, print_style, width_for
from singtech.results.pages import Page, Table
from singtech.results.summaries import Answer, printed, progress

SPLITS = ("train", "validation", "test")  # from the ground of a bar upwards
HATCHES = ("", "....", "////")
REST = "A clip is what a recording is cut into; what is left over after its last one counts in the minutes."


def lengths_page(answer: Answer) -> Page:
    """The page of Figure 2; its frame has one row a technique and split, longest technique first."""
    lengths = answer.collated.lengths_by_technique(answer.data)
    minutes = lengths.groupby("technique", sort=False)["minutes"].sum().sort_values(ascending=False, kind="stable")
    rank = lengths["technique"].map({name: number for number, name in enumerate(minutes.index)})
    frame = lengths.iloc[rank.argsort(kind="stable")].assign(data=answer.data, artefact=answer.experiment.name)
    columns = ["data", "artefact", "technique", "split", "recordings", "minutes", "clips"]
    missing = [] if len(lengths) else [("the clips of the corpus", prepare(command_end(answer.collated, answer.data)))]
    return answer.page(
        frame=frame[columns].round({"minutes": 4}),
        tables=[_table(answer.experiment.header, frame)] if len(lengths) else [],
        figure=draw(answer, frame),
        notes=[REST] if len(lengths) else [],
        missing=missing,
        progress=progress(0, 0, missing),
    )


@print_style()
def draw(answer: Answer, frame: pd.DataFrame) -> Figure:
    """The figure: a bar a technique, its splits on one another, its minutes above it."""
    if not len(frame):
        return blank(f"not prepared yet, see {answer.experiment.name}.md")
    minutes = _by_split(frame, "minutes")
    figure, axes = plot(width_for(len(minutes)), 2.3)
    for split, colour, hatch in zip(SPLITS, COLOURS, HATCHES, strict=False):
        if split in minutes:
            below = minutes.cumsum(axis=1)[split] - minutes[split]
            look: dict[str, Any] = {"hatch": hatch, "edgecolor": "white", "linewidth": 0.8}
            axes.bar(range(len(minutes)), minutes[split], 0.75, below, color=colour, label=split, **look)
    for bar, total in enumerate(minutes.sum(axis=1)):
        axes.annotate(f"{total:.1f}", (bar, total), (0, 2), textcoords="offset points", ha="center", fontsize=SMALL)
    names = map(printed, minutes.index)
    axes.set_xticks(range(len(minutes)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_ylabel("minutes")
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    entitle(figure, answer)
    axes.legend(reverse=True)
    return figure


def _table(header: str, frame: pd.DataFrame) -> Table:
    """One line a technique, the sum last."""
    tables = [_by_split(frame, column) for column in ("minutes", "recordings", "clips")]
    minutes, recordings, clips = (table.assign(all=table.sum(axis=1)) for table in tables)
    for table in (minutes, recordings, clips):
        table.loc["sum"] = table.sum()
    lines = [
        [printed(name), *minutes.loc[name].map("{:.2f}".format), f"{recordings.at[name, 'all']:.0f}"]
        + [f"{number:.0f}" for number in clips.loc[name].drop("all")]
        for name in minutes.index
    ]
    heads = [*(f"{split}, min" for split in minutes), "Recordings", *(f"{split}, clips" for split in tables[0])]
    return Table.of([header, *heads], lines)


def _by_split(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """A column with one row a technique, longest first, and one column a split."""
    wide = frame.pivot_table(index="technique", columns="split", values=column, aggfunc="sum", fill_value=0)
    return wide.loc[frame["technique"].unique(), [split for split in SPLITS if split in wide]]
