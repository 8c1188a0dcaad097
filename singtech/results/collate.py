"""All runs in three files, rebuilt from the runs' folders after every run and sweep, and read again without torch.

`results.csv` has one row a run, `layers.csv` the layers of every network that was run (Table 1), and `confusions.csv`
what each run took each technique for. With `corpora/`, what each corpus and each of its folds holds (`<data>.csv`,
`<data>-fold_<k>.csv`), they are all that tables and figures are made of.
"""

import csv
import io
import logging
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from singtech.files import write_text
from singtech.results.rows import BY_TECHNIQUE, CIRCUMSTANCES, CONDITION, NAME, SCORES, is_number, read_rows
from singtech.techniques import TECHNIQUES

if TYPE_CHECKING:
    import pandas as pd

RESULTS, LAYERS, CONFUSIONS, CORPORA = "results.csv", "layers.csv", "confusions.csv", "corpora"
_ORDER = ("data", "model", "dc", "strategy", "alpha", "variant", "fold", "seed", "run")
_NETWORK = ("data", "model", "dc", "variant")  # what decides a network's layers
LAYER = ("number", "layer", "channels", "output", "deformable", "parameters")  # of a run's layers.csv
_CONFUSION = ("run", "technique", "predicted", "clips")
_LENGTHS = ("technique", "split", "recordings", "minutes", "clips")
STATE = ("corpus_fingerprint", "data_fingerprint")  # of all clips of a corpus, and of its split or fold
_IDENTITY = (*STATE, "settings")  # the same in every line of a corpus
_WHOLE = ("seed", "number", "channels", "parameters", "recordings", "clips")  # columns of whole numbers
_FOLD = re.compile(r"-fold_\d+$")

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Collated:
    """What there is to make tables and figures of; a frame is empty where its file is not there.

    Attributes:
        results: one row a run.
        layers: one row a layer of each data, model, dc and variant.
        confusions: run, technique, predicted, clips; pairs without a clip are left out.
        lengths: of each file in `corpora/`, by its stem, technique, split, recordings, minutes, clips; and the same
            in every line, its fingerprints and the settings by which a command names it, empty where it does not say.
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

    def lengths_of(self, data: str) -> "pd.DataFrame":
        """A corpus's lengths, empty where it was not prepared here."""
        return self.lengths[data] if data in self.lengths else _read(Path(), _LENGTHS)

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
    """Rebuild `results.csv`, `layers.csv` and `confusions.csv` from the runs on disk, and read the first.

    The same runs give the same bytes; a file that would not change is not touched. Where no run is on disk, files
    that are there (brought from another machine, say) are kept and read as they are.

    Returns:
        One row a run, sorted by condition and seed; empty where nothing has been run.
    """
    output_dir = Path(output_dir)
    runs = output_dir / "runs"
    if runs.is_dir():
        with FileLock(output_dir / f".{RESULTS}.lock"):  # read under the lock too, or an older view could come last
            rows = read_rows(runs)
            texts = {RESULTS: _text(rows), LAYERS: _layers(runs, rows), CONFUSIONS: _confusions(runs, rows)}
            for name, text in texts.items():
                path = output_dir / name
                if rows and not (path.is_file() and path.read_bytes() == text.encode()):
                    write_text(path, text)
    path = output_dir / RESULTS
    return read_results(path) if path.is_file() else _typed(_text([]), path)


def read_collated(output_dir: str | os.PathLike) -> Collated:
    """Everything collated, as it is on disk.

    Raises:
        ValueError: a file is damaged.
    """
    output_dir = Path(output_dir)
    path = output_dir / RESULTS
    return Collated(
        read_results(path) if path.is_file() else _typed(_text([]), path),
        _read(output_dir / LAYERS, (*_NETWORK, *LAYER)),
        _read(output_dir / CONFUSIONS, _CONFUSION),
        {path.stem: _read(path, _LENGTHS, _IDENTITY) for path in sorted((output_dir / CORPORA).glob("*.csv"))},
        output_dir,
    )


def read_results(path: str | os.PathLike) -> "pd.DataFrame":
    """`results.csv` with text as text (a commit of digits, an empty variant), alpha and metrics as floats, seed as int.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is damaged: a column is missing, or holds text where a number belongs.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no results yet. Make some with `make demo` or `python -m singtech.run`.")
    return _typed(None, path)


def csv_text(header: Iterable[object], lines: Iterable[Iterable[object]]) -> str:
    """A CSV file's text."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return file.getvalue()


def columns(rows: list[dict]) -> list[str]:
    """results.csv's columns: condition, metrics, metrics of each technique, circumstances, what else rows hold."""
    names = set().union(*rows) if rows else set()
    techniques = []
    for prefix in BY_TECHNIQUE:
        usual = [f"{prefix}{technique}" for technique in TECHNIQUES]
        techniques += usual + sorted(name for name in names - set(usual) if name.startswith(prefix))
    fixed = [*CONDITION, *SCORES, *techniques, *CIRCUMSTANCES]
    return fixed + sorted(names - set(fixed))


def _text(rows: list[dict]) -> str:
    """The CSV of the rows, sorted."""
    rows = [{**row, "alpha": float(row["alpha"])} for row in rows]
    names = columns(rows)
    ordered = sorted(rows, key=lambda row: tuple(row[name] for name in _ORDER))
    return csv_text(names, ([_field(row.get(name)) for name in names] for row in ordered))


def _layers(runs: Path, rows: list[dict]) -> str:
    """The layers of each network, from its newest complete run that says them."""
    newest = {}
    for row in sorted(rows, key=lambda row: (str(row.get("finished") or ""), row["run"]), reverse=True):
        key = tuple(row[name] for name in _NETWORK)
        if row["status"] == "complete" and key not in newest:
            lines = _lines(runs / row["run"] / LAYERS, LAYER, numbers=(0, 2, 5))
            if lines:
                newest[key] = lines[1:]
    return csv_text((*_NETWORK, *LAYER), ((*key, *line) for key in sorted(newest) for line in newest[key]))


def _confusions(runs: Path, rows: list[dict]) -> str:
    """Each run's confusion.csv in long form."""
    long = []
    for row in sorted(rows, key=lambda row: row["run"]):
        header, *lines = _lines(runs / row["run"] / "confusion.csv") or [[]]
        pairs = ((line[0], *pair) for line in lines for pair in zip(header[1:], line[1:], strict=True))
        long += [(row["run"], *pair) for pair in pairs if pair[2] != "0"]
    return csv_text(_CONFUSION, long)


def _lines(path: Path, names: Sequence[str] | None = None, numbers: Sequence[int] | None = None) -> list[list[str]]:
    """A small CSV file of a run; empty where it is not there, or is damaged, which is said.

    Args:
        names: of the columns; None for any.
        numbers: the columns that hold whole numbers; None for all but the first.
    """
    try:
        found = list(csv.reader(path.read_text(encoding="utf-8").splitlines(), strict=True))
        header = found[0] if found else []
        if not header or list(names or header) != header:
            raise ValueError("it begins with no line of its columns' names")
        for line in found[1:]:
            if len(line) != len(header):
                raise ValueError(f"a line of {len(line)} fields below {len(header)} names")
            for column in range(1, len(header)) if numbers is None else numbers:
                _whole(line[column])
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, csv.Error) as error:
        log.warning("%s is damaged (%s) and left out of the tables.", path, " ".join(str(error).split())[:120])
        return []
    return found


def _field(value: object) -> object:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value


def _typed(text: str | None, path: Path) -> "pd.DataFrame":
    """results.csv as a frame; a file from before there were folds has none."""
    frame = _frame(text, [name for name in (*CONDITION, *SCORES, "status") if name != "fold"], path)
    return frame if "fold" in frame else frame.assign(fold="")


def _read(path: Path, header: Sequence[str], optional: Sequence[str] = ()) -> "pd.DataFrame":
    """A CSV file, or an empty one; optional columns that it lacks are empty text."""
    frame = _frame(None if path.is_file() else ",".join(header), header, path)
    return frame.assign(**{name: "" for name in optional if name not in frame})


def _frame(text: str | None, needed: Sequence[str], path: Path) -> "pd.DataFrame":
    """CSV text, or None for that at `path`, with text as text and numbers as numbers."""
    import pandas as pd

    try:
        text = path.read_text(encoding="utf-8") if text is None else text
        if "\0" in text:
            raise ValueError("it holds zero bytes")
        frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        lacking = [name for name in needed if name not in frame]
        if lacking:
            raise ValueError(f"it has no column {', '.join(lacking)}")
        if len({len(line) for line in csv.reader(io.StringIO(text)) if line}) > 1:  # pandas shifts or fills them
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
        why = " ".join(str(error).split())[:300]
        rebuilt = "python -m singtech.prepare" if path.parent.name == CORPORA else "make tables"
        raise ValueError(f"{path} is damaged ({why}); remove it and run `{rebuilt}` to rebuild it.") from error
    return frame


def _whole(text: str, signed: bool = False) -> int:
    if not re.fullmatch(f"{'-?' if signed else ''}[0-9]{{1,19}}", text) or abs(int(text)) >= 1 << 63:
        raise ValueError(f"{text!r:.40} where a whole number belongs")
    return int(text)
