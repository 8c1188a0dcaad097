"""Figure 2: how many minutes there are of each technique, by split, longest first: the long tail."""

from pathlib import Path
from typing import TYPE_CHECKING

from singtech.results.collate import Collated, csv_text
from singtech.results.commands import place_of, prepare
from singtech.results.experiments import Experiment, Published
from singtech.results.figures import COLOURS, blank, entitle, picture, save
from singtech.results.pages import Line, document, pipes
from singtech.results.settings import Settings
from singtech.results.summaries import Answer, printed
from singtech.results.tables import write_texts

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SPLITS = ("train", "validation", "test")  # from the ground of a bar upwards
HATCHES = ("", "..", "//")


def render_lengths(
    experiment: Experiment,
    collated: Collated,
    published: Published,
    data: str,
    folder: Path,
    group: Settings | None = None,
) -> tuple[list[Path], Answer]:
    """Write Figure 2 as `<name>.png` and `.pdf`, its numbers as `.csv` and in a captioned `.md`; the paths written
    and the answer."""
    lengths = collated.lengths_of(data)
    there = len(lengths) > 0
    missing = () if there else (("the clips of the corpus", prepare(place_of(collated, data))),)
    notes = ("A clip is what a recording is cut into; what is left over after its last one counts in the minutes.",)
    found = Answer(experiment, data, missing=missing, notes=notes if there else ())
    table = pipes(*lines(experiment.header, lengths), left=1) if there else ""
    texts = {"md": document(found, picture(found), table), "csv": long_form(found, lengths)}
    paths = write_texts(folder / experiment.name, texts)
    return paths + save(draw(found, lengths), folder / experiment.name), found


def longest_first(lengths: "pd.DataFrame") -> list[str]:
    """The techniques by their minutes in all splits."""
    minutes = lengths.groupby("technique", sort=False)["minutes"].sum()
    return list(minutes.sort_values(ascending=False, kind="stable").index)


def lines(header: str, lengths: "pd.DataFrame") -> tuple[Line, list[Line]]:
    """The figure's numbers as header and lines, one a technique, the sum last."""
    splits = [split for split in SPLITS if split in set(lengths["split"])]
    by_technique = [(printed(name), lengths[lengths["technique"] == name]) for name in longest_first(lengths)]
    cells = [
        [
            name,
            *(f"{rows.loc[rows['split'] == split, 'minutes'].sum():.2f}" for split in splits),
            f"{rows['minutes'].sum():.2f}",
            str(rows["recordings"].sum()),
            *(str(rows.loc[rows["split"] == split, "clips"].sum()) for split in splits),
        ]
        for name, rows in [*by_technique, ("sum", lengths)]
    ]
    minutes = [f"{split}, min" for split in splits]
    return [header, *minutes, "all, min", "Recordings", *(f"{split}, clips" for split in splits)], cells


def long_form(found: Answer, lengths: "pd.DataFrame") -> str:
    """One line a technique and split, longest technique first."""
    header = ["data", "artefact", "technique", "split", "recordings", "minutes", "clips"]
    rows = [row for name in longest_first(lengths) for row in lengths[lengths["technique"] == name].itertuples()]
    words = [found.data, found.experiment.name]
    return csv_text(header, ([*words, r.technique, r.split, r.recordings, round(r.minutes, 4), r.clips] for r in rows))


def draw(found: Answer, lengths: "pd.DataFrame") -> "Figure":
    """The figure: a bar a technique, its splits on one another, its minutes above it."""
    from matplotlib.figure import Figure

    if not len(lengths):
        return blank(f"not prepared yet, see {found.experiment.name}.md")
    figure = Figure(figsize=(6.2, 3.8), layout="constrained")
    axes = figure.subplots()
    techniques = longest_first(lengths)
    base = dict.fromkeys(techniques, 0.0)
    for split, colour, hatch in zip(SPLITS, COLOURS, HATCHES, strict=False):
        rows = lengths[lengths["split"] == split]
        minutes = dict(zip(rows["technique"], rows["minutes"], strict=True))
        if minutes:
            heights = [minutes.get(name, 0.0) for name in techniques]
            ground = [base[name] for name in techniques]
            style = {"color": colour, "edgecolor": "white", "linewidth": 0.8, "hatch": hatch, "label": split}
            axes.bar(range(len(techniques)), heights, bottom=ground, width=0.75, **style)
            base = {name: base[name] + minutes.get(name, 0.0) for name in techniques}
    for place, total in enumerate(base.values()):
        axes.annotate(f"{total:.1f}", (place, total), (0, 2), textcoords="offset points", ha="center", fontsize=8)
    axes.set_xticks(range(len(techniques)), map(printed, techniques), rotation=35, ha="right", rotation_mode="anchor")
    axes.set_ylabel("minutes")
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    entitle(figure, found)
    axes.legend(frameon=False, reverse=True)
    return figure
