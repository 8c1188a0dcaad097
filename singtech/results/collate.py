"""All runs in three files, rebuilt from the runs' folders after every run and sweep, and read again without torch.

`results.csv` has one row a run, `layers.csv` the layers of every network that was run (Table 1), and `confusions.csv`
what each run took each technique for. With `corpora/`, what each corpus and each of its folds holds (`<data>.csv`,
`<data>-fold_<k>.csv`), they are all that tables and figures are made of.
"""

import csv
import functools
import io
import logging
import math
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from singtech import metrics
from singtech.io.atomic import atomic_path, read_all, remove_remains
from singtech.io.lock import hold
from singtech.results.predictions import PREDICTIONS, read_predictions
from singtech.results.resampling import Draws
from singtech.results.rows import CIRCUMSTANCES, COMPLETE, CONDITION, NAME, VARIANT, is_number, read_rows
from singtech.results.settings import read_settings
from singtech.techniques import TECHNIQUES

if TYPE_CHECKING:
    import pandas as pd

RESULTS, LAYERS, CONFUSIONS, CORPORA = "results.csv", "layers.csv", "confusions.csv", "corpora"
_ORDER = ("data", "model", "dc", "strategy", "alpha", "settings", VARIANT, "fold", "seed", "run")
_NETWORK = ("data", "model", "dc", "settings")  # what decides a network's layers; of an earlier version's its variant
LAYER = ("number", "layer", "channels", "output", "deformable", "parameters")  # of a run's layers.csv
_CONFUSION = ("run", "technique", "predicted", "clips")
_AMOUNTS = ("recordings", "minutes", "clips")
_LENGTHS = ("technique", "split", *_AMOUNTS)
STATE = ("corpus_fingerprint", "data_fingerprint")  # of all clips of a corpus, and of its split or fold
_IDENTITY = (*STATE, "settings")  # the same in every line of a corpus
_OPTIONAL = ("context", *_IDENTITY)
_WHOLE = ("seed", "number", "channels", "parameters", "recordings", "clips")  # columns of whole numbers
_FOLD = re.compile(r"-fold_\d+$")

_rebuilt: dict[Path, tuple[float, float]] = {}  # where this process rebuilt last: when it ended, the seconds it took

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Collated:
    """What there is to make tables and figures of; a frame is empty where its file is not there.

    Attributes:
        results: one row a run.
        layers: one row a layer of each data, model, dc and settings.
        confusions: run, technique, predicted, clips; pairs without a clip are left out.
        lengths: of each file in `corpora/`, by its stem, technique, split, context, recordings, minutes, clips; and
            the same in every line, its fingerprints and the settings by which a command names it, "" if not said.
        output_dir: where all of it was read.
    """

    results: "pd.DataFrame"
    layers: "pd.DataFrame"
    confusions: "pd.DataFrame"
    lengths: "dict[str, pd.DataFrame]"
    output_dir: Path

    @property
    def corpora(self) -> list[str]:
        """The corpora that were prepared or have runs, by name."""
        return sorted({*self.results["data"], *(name for name in self.lengths if not _FOLD.search(name))})

    @functools.cached_property
    def memory(self) -> dict:
        """For what others work out of it once."""
        return {}

    @functools.cached_property
    def draws(self) -> Draws:
        """What the runs' scores are on resampled clips, where their predictions are there too."""
        return Draws(self.output_dir / "runs")

    def lengths_of(self, data: str) -> "pd.DataFrame":
        """A corpus's lengths by technique and split, empty where it was not prepared here."""
        lengths = self.contexts_of(data)
        return lengths.groupby(["technique", "split"], sort=False)[list(_AMOUNTS)].sum().reset_index()

    def contexts_of(self, data: str) -> "pd.DataFrame":
        """The same by context too, which is "" where it was prepared before contexts were told."""
        return self.lengths[data] if data in self.lengths else _read(Path(), _LENGTHS, ("context",))

    def state(self, data: str, fold: str = "") -> tuple[str, ...] | None:
        """A corpus's fingerprints when it was last opened, of all clips and of its split or fold; None if unknown."""
        state = tuple(self._said(data, fold, name) for name in STATE)
        return state if all(state) else None

    def settings(self, data: str, folds: int = 0) -> str:
        """The settings by which a command names a corpus, of which perhaps only folds were opened; "" if unknown."""
        said = [self._said(data, fold, "settings") for fold in ("", *map(str, range(folds)))]
        return next(filter(None, said), "")

    def _said(self, data: str, fold: str, column: str) -> str:
        lengths = self.lengths.get(f"{data}-fold_{fold}" if fold else data)
        return "" if lengths is None or not len(lengths) else lengths[column].iloc[0]


def collate(output_dir: str | os.PathLike) -> "pd.DataFrame":
    """Rebuild the collated files, and read `results.csv`.

    Returns:
        One row a run, sorted by condition and seed; empty where nothing has been run.
    """
    rebuild(output_dir)
    path = Path(output_dir) / RESULTS
    return read_results(path) if path.is_file() else _typed(io.StringIO(_text([])), path)


def rebuild(output_dir: str | os.PathLike) -> None:
    """Write `results.csv`, `layers.csv` and `confusions.csv` anew from all runs on disk, whatever they said before.

    The same runs give the same bytes; a file that would not change is not touched. Where no run is on disk, files
    that are there (brought from another machine, say) are kept as they are.
    """
    output_dir = Path(output_dir)
    runs = output_dir / "runs"
    if runs.is_dir():
        with hold(output_dir / RESULTS, "results are being collated", say=lambda line: None):
            # reading too, or an older view could come last
            rows = [_scored(row, runs) for row in read_rows(runs)]
            if rows:
                _keep(output_dir / RESULTS, [_text(rows)])
                _keep(output_dir / LAYERS, [_layers(runs, rows)])
                _keep(output_dir / CONFUSIONS, _confusions(runs, rows))


def rebuild_if_due(output_dir: str | os.PathLike, share: float = 0.05) -> bool:
    """Between the runs of a sweep: rebuild, unless that took more than this share of the time since it was last done.

    After each of 10,000 runs a rebuilding of seconds would take hours in all, and be rewritten by the next one. A few
    runs are still collated after each. What the last runs added is left to `rebuild`, at the end of the sweep.

    Returns:
        Whether it was rebuilt.
    """
    folder = Path(output_dir).resolve()
    start = time.monotonic()
    ended, seconds = _rebuilt.get(folder, (start, 0.0))
    if start - ended < seconds / share:
        return False
    rebuild(folder)
    ended = time.monotonic()
    _rebuilt[folder] = (ended, ended - start)  # waiting for another process counts too
    return True


def read_collated(output_dir: str | os.PathLike) -> Collated:
    """Everything collated, as it is on disk.

    Raises:
        ValueError: a file is damaged.
    """
    output_dir = Path(output_dir)
    path = output_dir / RESULTS
    return Collated(
        read_results(path) if path.is_file() else _typed(io.StringIO(_text([])), path),
        _read(output_dir / LAYERS, (*_NETWORK, *LAYER), ("settings", VARIANT)),
        _read(output_dir / CONFUSIONS, _CONFUSION),
        {
            path.stem: _read(path, _LENGTHS, ("context", *_IDENTITY))
            for path in sorted((output_dir / CORPORA).glob("*.csv"))
        },
        output_dir,
    )


def read_results(path: str | os.PathLike) -> "pd.DataFrame":
    """`results.csv` with text as text (a commit of digits), alpha and metrics as floats, seed as int.

    Of a run that an earlier version stored `settings` is "", and `variant` says what it differs in. Metrics that a file
    lacks are nan.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is damaged: a column is missing, or holds text where a number belongs.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no results yet. Make some with `make demo` or `python -m singtech.run`.")
    return _typed(path, path)


def csv_text(header: Iterable[object], lines: Iterable[Iterable[object]]) -> str:
    """A CSV file's text."""
    return _csv_lines([header]) + _csv_lines(lines)


def columns(rows: list[dict]) -> list[str]:
    """results.csv's columns: condition, metrics, metrics of each technique, circumstances, what else rows hold."""
    names = set().union(*rows) if rows else set()
    techniques = []
    for prefix in metrics.prefixes():
        usual = [f"{prefix}{technique}" for technique in TECHNIQUES]
        others = [name for name in names - set(usual) if name.startswith(prefix)]
        techniques += usual + sorted(n for n in others if (metrics.technique_of(n) or [""])[0] == f"{prefix}*")
    fixed = [*CONDITION, *metrics.overall(), *techniques, *CIRCUMSTANCES]
    return fixed + sorted(names - set(fixed))


def _text(rows: list[dict]) -> str:
    """The CSV of the rows, sorted."""
    rows = [{**row, "alpha": float(row["alpha"])} for row in rows]
    names = columns(rows)
    ordered = sorted(rows, key=lambda row: tuple(row.get(name, "") for name in _ORDER))
    return csv_text(names, ([_field(row.get(name)) for name in names] for row in ordered))


def _scored(row: dict, runs: Path) -> dict:
    """A row with the metrics that were added since the run was scored, from its predictions where they are there."""
    if row["status"] != COMPLETE or not metrics.lacking(row):
        return row
    try:
        told = read_predictions(runs / row["run"] / PREDICTIONS)
        return metrics.scores(told.targets, told.logits, told.techniques) | row
    except FileNotFoundError:
        return row
    except (OSError, ValueError) as problem:
        log.warning("%s", problem)
        return row


def _layers(runs: Path, rows: list[dict]) -> str:
    """The layers of each network, from its newest complete run that says them."""
    newest = {}
    names = (*_NETWORK, *([VARIANT] if any(row.get(VARIANT) for row in rows) else []))
    for row in sorted(rows, key=lambda row: (str(row.get("finished") or ""), row["run"]), reverse=True):
        key = tuple(row.get(name, "") for name in names)
        if row["status"] == "complete" and key not in newest:
            path = runs / row["run"] / LAYERS
            lines = _lines(path, *read_all([path]), names=LAYER, numbers=(0, 2, 5))
            if lines:
                newest[key] = lines[1:]
    return csv_text((*names, *LAYER), ((*key, *line) for key in sorted(newest) for line in newest[key]))


def _confusions(runs: Path, rows: list[dict]) -> Iterator[str]:
    """Each run's confusion.csv in long form: the file's text, a piece a run."""
    quoted = functools.cache(lambda field: _csv_lines([[field, ""]])[:-2])  # a million lines of few words
    yield _csv_lines([_CONFUSION])
    paths = [runs / name / "confusion.csv" for name in sorted(row["run"] for row in rows)]
    for path, content in zip(paths, read_all(paths), strict=True):
        (_, *techniques), *lines = _lines(path, content) or [[""]]
        yield "".join(
            f"{quoted(path.parent.name)},{quoted(technique)},{quoted(predicted)},{quoted(clips)}\n"
            for technique, *counts in lines
            for predicted, clips in zip(techniques, counts, strict=True)
            if clips != "0"
        )


def _lines(
    path: Path, content: bytes | OSError, names: Sequence[str] | None = None, numbers: Sequence[int] | None = None
) -> list[list[str]]:
    """A small CSV file of a run; empty where it is not there, or is damaged, which is said.

    Args:
        path: its name.
        content: what was read of it.
        names: of the columns; None for any.
        numbers: the columns that hold whole numbers; None for all but the first.
    """
    if isinstance(content, FileNotFoundError | NotADirectoryError):
        return []
    try:
        if isinstance(content, OSError):
            raise content
        found = list(csv.reader(content.decode().splitlines(), strict=True))
        header = found[0] if found else []
        if not header or list(names or header) != header:
            raise ValueError("it begins with no line of its columns' names")
        for line in found[1:]:
            if len(line) != len(header):
                raise ValueError(f"a line of {len(line)} fields below {len(header)} names")
            for column in range(1, len(header)) if numbers is None else numbers:
                _whole(line[column])
    except (OSError, ValueError, csv.Error) as error:
        log.warning("%s is damaged (%s) and left out of the tables.", path, " ".join(str(error).split())[:120])
        return []
    return found


def _csv_lines(lines: Iterable[Iterable[object]]) -> str:
    """Lines of a CSV file."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(lines)
    return file.getvalue()


def _keep(path: Path, pieces: Iterable[str]) -> None:
    """Write a file of this text, unless it has just this."""
    remove_remains(path)
    contents = [piece.encode() for piece in pieces]
    with suppress(FileNotFoundError), path.open("rb") as file:
        if all(file.read(len(content)) == content for content in contents) and not file.read(1):
            return
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.writelines(contents)


def _field(value: object) -> object:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value


def _typed(file: Path | io.StringIO, path: Path) -> "pd.DataFrame":
    """results.csv as a frame; a file from before there were folds or settings has none."""
    usual = {"fold": "", "settings": "", VARIANT: ""}
    frame = _frame(file, [name for name in (*CONDITION, "status") if name not in usual], path)
    if "settings" not in frame and VARIANT not in frame:
        raise ValueError(_damaged(path, "it has no column settings"))
    lacking = {name: value for name, value in usual.items() if name not in frame}
    lacking |= {name: math.nan for name in metrics.overall() if name not in frame}
    frame = frame.copy().assign(**lacking)  # a copy keeps columns together, which pandas asks for
    try:
        for text in frame["settings"].unique():
            read_settings(text)
    except ValueError as error:
        raise ValueError(_damaged(path, str(error))) from None
    return frame


def _read(path: Path, header: Sequence[str], optional: Sequence[str] = ()) -> "pd.DataFrame":
    """A CSV file, or an empty one; optional columns that it lacks are empty text."""
    needed = [name for name in header if name not in optional] if optional else header
    frame = _frame(path if path.is_file() else io.StringIO(",".join(header)), needed, path)
    return frame.assign(**{name: "" for name in optional if name not in frame})


def _frame(file: Path | io.StringIO, needed: Sequence[str], path: Path) -> "pd.DataFrame":
    """A CSV file with text as text and numbers as numbers; names that stand in many lines are kept once."""
    import pandas as pd

    try:
        if isinstance(file, Path) and _holds_zeros(file):
            raise ValueError("it holds zero bytes")
        types = defaultdict(lambda: str, dict.fromkeys(_CONFUSION[:-1], "category") if needed == _CONFUSION else {})
        frame = pd.read_csv(file, dtype=types, keep_default_na=False)
        lacking = [name for name in needed if name not in frame]
        if lacking:
            raise ValueError(f"it has no column {', '.join(lacking)}")
        if isinstance(file, Path) and _is_ragged(file):  # pandas shifts or fills such lines
            raise ValueError("its lines have more or fewer fields than names")
        for name in frame.columns:
            if name in _WHOLE and name in needed:
                frame[name] = [_whole(text, signed=name == "seed") for text in frame[name]]
                frame[name] = frame[name].astype("int64")
            elif is_number(name) or (name == "minutes" and name in needed):
                frame[name] = pd.to_numeric(frame[name]).astype(float)
                if frame[name].abs().eq(math.inf).any():
                    raise ValueError(f"{name} is infinite")
        misnamed = [data for data in frame["data"] if not NAME.fullmatch(data)] if "data" in frame else []
        if misnamed:
            raise ValueError(f"data is {misnamed[0]!r:.40}, expected a name that a folder can have")
    except (ValueError, csv.Error) as error:  # pandas' parser errors are ValueErrors
        raise ValueError(_damaged(path, " ".join(str(error).split())[:300])) from error
    return frame


def _damaged(path: Path, why: str) -> str:
    rebuilt = "singtech prepare" if path.parent.name == CORPORA else "make tables"
    return f"{path} is damaged ({why}); remove it and run `{rebuilt}` to rebuild it."


@functools.lru_cache(4096)  # a million counts are few different ones
def _whole(text: str, signed: bool = False) -> int:
    if not re.fullmatch(f"{'-?' if signed else ''}[0-9]{{1,19}}", text) or abs(int(text)) >= 1 << 63:
        raise ValueError(f"{text!r:.40} where a whole number belongs")
    return int(text)


def _is_ragged(path: Path) -> bool:
    """Whether a CSV file has lines of more or fewer fields than others."""
    with path.open(encoding="utf-8", newline="") as file:
        return len({len(line) for line in csv.reader(file) if line}) > 1


def _holds_zeros(path: Path) -> bool:
    """Whether a text file holds zero bytes, which a CSV reader stumbles over; a piece is looked at at a time."""
    with path.open("rb") as file:
        return any(b"\0" in piece for piece in iter(lambda: file.read(1 << 20), b""))
