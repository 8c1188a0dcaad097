"""All runs as frames, and in three files that are rebuilt after every run and sweep. Read without torch or a lock.

`results.csv` has one row a run, `layers.csv` the layers of every network that was run (Table 1), and `confusions.csv`
for each run the clips of each technique by predicted technique. With `corpora/`, the clips of each corpus and each of
its folds (`<data>.csv`, `<data>-fold_<k>.csv`), they are all that tables and figures need. Where runs are on disk, they
decide; the three files count where they were brought without runs.
"""

import csv
import errno
import functools
import hashlib
import io
import logging
import math
import os
import re
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from singtech import metrics
from singtech.errors import Damaged, Newer, NotThere
from singtech.io.atomic import atomic_path, file_digest, read_all, remove_remains
from singtech.io.lock import hold
from singtech.places import use_own_folder
from singtech.results import schema
from singtech.results.conditions import describe
from singtech.results.predictions import PREDICTIONS, read_predictions, score
from singtech.results.resampling import Draws
from singtech.results.rows import COMPLETE, NAME, VARIANT, digest_in, is_intact, read_rows
from singtech.results.settings import read_settings
from singtech.techniques import TECHNIQUES

if TYPE_CHECKING:
    import pandas as pd

RESULTS, LAYERS, CONFUSIONS, CORPORA = FILES = "results.csv", "layers.csv", "confusions.csv", "corpora"
_ORDER = ["data", "model", "dc", "strategy", "alpha", "settings", VARIANT, "fold", "seed", "run"]
_NETWORK = ("data", "model", "dc", "settings", VARIANT)  # what decides a network's layers
LAYER = ("number", "layer", "channels", "output", "deformable", "parameters")  # of a run's layers.csv
_CONFUSION = ("run", "technique", "predicted", "clips")
_AMOUNTS = ("recordings", "minutes", "clips")
STATE = ("corpus_fingerprint", "data_fingerprint")  # of all clips of a corpus, and of its split or fold
_LENGTHS = ("technique", "split", "context", *_AMOUNTS, *STATE, "settings")
_REQUIRED = ("run", "data", "model", "dc", "strategy", "alpha", "seed", "status")  # columns of results.csv
_OPTIONAL = {"context", *STATE, "settings", VARIANT}  # columns that files of earlier versions lack
_TYPES = dict.fromkeys(("number", "channels", "parameters", "recordings", "clips"), "whole") | {"minutes": "number"}
_FOLD = re.compile(r"-fold_\d+$")
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)

_rebuilt: dict[Path, tuple[float, float]] = {}  # of each folder: when this process rebuilt it last, the seconds it took

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


def collate(output_dir: str | os.PathLike) -> Collated:
    """Rebuild the collated files where they can be written, and return what they hold."""
    output_dir = Path(output_dir)
    return _collated(output_dir, rebuild(output_dir))


def read_collated(output_dir: str | os.PathLike) -> Collated:
    """Everything collated, from the runs on disk, or from the collated files where there are none. Writes nothing.

    Raises:
        Damaged, Newer: a collated file is.
    """
    output_dir = Path(output_dir)
    return _collated(output_dir, _frames(output_dir / "runs"))


def read_results(output_dir: str | os.PathLike) -> "pd.DataFrame":
    """All runs as one tidy frame, one row a run; `singtech.results.schema` documents its columns. Writes nothing.

    `condition` keeps apart whatever differs: condition, alpha, ablation, schedule, all other settings, corpus and fold.
    `differences` holds the typed settings that differ from the condition's, as a dictionary. Of a run that an earlier
    version stored `settings` is "". Unknown numbers, as of a metric that a run lacks, are nan.

    Raises:
        NotThere: there is no run.
        Damaged, Newer: results.csv is, and no run is on disk.
    """
    results = read_collated(output_dir).results
    if not len(results):
        path = Path(output_dir) / RESULTS
        raise NotThere(f"{path}: no results yet. Make some with `make demo` or `singtech run`.")
    _, differences = _described(results)
    return results.assign(differences=differences)


def rebuild(output_dir: str | os.PathLike) -> "dict[str, pd.DataFrame]":
    """Write `results.csv`, `layers.csv` and `confusions.csv` from all runs on disk; the frames that they hold.

    The same runs give the same bytes; a file that would not change is not touched. Files are kept as they are where no
    run is on disk (then there are no frames), where a newer version wrote them, and in a folder that is read-only.
    """
    output_dir = Path(output_dir)
    runs = output_dir / "runs"
    if not runs.is_dir():
        return {}
    try:
        with hold(output_dir / RESULTS, "results are being collated", say=lambda line: None):
            frames = _frames(runs)  # within the lock, or an older view could come last
            try:
                newer = _is_newer(output_dir / RESULTS)
            except Damaged:
                newer = False
            if newer:
                log.warning("%s is left as it is: a newer version of singtech wrote it.", output_dir / RESULTS)
            for name, frame in {} if newer else frames.items():
                _keep(output_dir / name, frame)
    except OSError as problem:
        if problem.errno not in _READ_ONLY:
            raise
        frames = _frames(runs)
    return frames


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


def csv_text(header: Iterable[object], lines: Iterable[Iterable[object]]) -> str:
    """A CSV file's text."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([header, *lines])
    return file.getvalue()


def columns(names: set[str]) -> list[str]:
    """The names of results.csv's columns in order: condition, metrics, those of each technique, circumstances, others.

    Args:
        names: those that rows hold.
    """
    techniques = []
    for prefix in metrics.prefixes():
        usual = [f"{prefix}{technique}" for technique in TECHNIQUES]
        others = [name for name in names - set(usual) if name.startswith(prefix)]
        techniques += usual + sorted(n for n in others if (metrics.technique_of(n) or [""])[0] == f"{prefix}*")
    condition, circumstances = ([each.name for each in some] for some in (schema.CONDITION, schema.CIRCUMSTANCES))
    fixed = [*condition, *metrics.overall(), *techniques, *circumstances]
    return fixed + sorted(names - set(fixed) - {each.name for each in schema.INTEGRITY})


def _collated(output_dir: Path, frames: "dict[str, pd.DataFrame]") -> Collated:
    """Everything collated: these frames, or the files in place of those that are not there."""
    corpora = sorted((output_dir / CORPORA).glob("*.csv"))
    results = frames[RESULTS] if frames else read_results_file(output_dir / RESULTS)
    layers = frames[LAYERS] if frames else _read(output_dir / LAYERS, (*_NETWORK, *LAYER))
    confusions = frames[CONFUSIONS] if frames else _read(output_dir / CONFUSIONS, _CONFUSION)
    return Collated(results, layers, confusions, {path.stem: _read(path, _LENGTHS) for path in corpora}, output_dir)


def _frames(runs: Path) -> "dict[str, pd.DataFrame]":
    """The collated files of the runs on disk, by name; empty where there is no run."""
    rows = []
    for row in read_rows(runs):
        try:
            rows.append(score(row, runs / row["run"]))
        except (OSError, Damaged) as problem:
            log.warning("%s", problem)
            if is_intact(row) or not row.get("digest"):
                rows.append(row)
    if not rows:
        return {}
    return {RESULTS: _results(rows), LAYERS: _layers(runs, rows), CONFUSIONS: _confusions(runs, rows)}


def _results(rows: list[dict]) -> "pd.DataFrame":
    """One typed row a run, sorted by condition and seed."""
    import pandas as pd

    names = columns(set().union(*rows))
    frame = pd.DataFrame.from_records(rows, columns=names)
    for name in names:
        if schema.type_of(name) in ("number", "count"):
            frame[name] = frame[name].astype(float)
        elif schema.type_of(name) == "whole":
            frame[name] = frame[name].fillna(0).astype("int64")
        else:
            frame[name] = frame[name].map(_text)
    frame["condition"], _ = _described(frame)
    return frame.sort_values(_ORDER, ignore_index=True)


def _text(value: object) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def _described(results: "pd.DataFrame") -> tuple[list[str], list[dict[str, object]]]:
    """The condition of each run by name, and the typed settings in which it differs from that.

    Conditions of a person's own configuration folder have their names wherever that folder still exists.
    """
    for command in results["command"].unique() if "command" in results else ():
        words = command.split() if "--config-dir" in command else []
        with suppress(ValueError, IndexError):
            use_own_folder(Path(shlex.split(command)[words.index("--config-dir") + 1]))
    keys = results[["model", "dc", "strategy", "alpha", "settings", VARIANT]].itertuples(index=False, name=None)
    of_key = functools.cache(
        lambda m, dc, strategy, alpha, *texts: describe(m, dc, strategy, alpha, read_settings(*texts))
    )
    described = [of_key(*key) for key in keys]
    runs = zip(described, results["data"], results["fold"], strict=True)
    names = [
        name + f" data={data}" * (data != "vocalset") + f" data.fold={fold}" * (fold != "")
        for (name, _), data, fold in runs
    ]
    return names, [dict(differences) for _, differences in described]


def _layers(runs: Path, rows: list[dict]) -> "pd.DataFrame":
    """The layers of each network, from its newest complete run that has them."""
    import pandas as pd

    newest: dict[tuple, list] = {}
    for row in sorted(rows, key=lambda row: (_text(row.get("finished")), row["run"]), reverse=True):
        key = tuple(_text(row.get(name)) for name in _NETWORK)
        if row["status"] == COMPLETE and key not in newest:
            path = runs / row["run"] / LAYERS
            (content,) = read_all([path])
            if lines := _lines(path, content, digest_in(row, LAYERS), LAYER, (0, 2, 5)):
                newest[key] = lines[1:]
    of_networks = [(*key, *line) for key in sorted(newest) for line in newest[key]]
    frame = pd.DataFrame(of_networks, columns=[*_NETWORK, *LAYER], dtype=str)
    return frame.astype({name: "int64" for name in LAYER if _TYPES.get(name)})


def _confusions(runs: Path, rows: list[dict]) -> "pd.DataFrame":
    """Each run's confusion matrix in long form, without zeros.

    It is that of confusion.csv where its digest stands in the row, else that of the predictions where these are there.
    """
    import pandas as pd

    rows = sorted(rows, key=lambda row: row["run"])
    paths = [runs / row["run"] / "confusion.csv" for row in rows]
    names: tuple[list[str], list[str], list[str]] = ([], [], [])
    clips = []
    for row, path, content in zip(rows, paths, read_all(paths), strict=True):
        digest = digest_in(row, path.name)
        if (row["status"] == COMPLETE and not digest) or _short_digest(content) != digest:
            content = _confusion_of(path.parent) or content
        (_, *techniques), *lines = _lines(path, content) or [[""]]
        for technique, *counts in lines:
            for predicted, number in zip(techniques, counts, strict=True):
                if int(number):
                    for each, name in zip(names, (row["run"], technique, predicted), strict=True):
                        each.append(name)
                    clips.append(int(number))
    columns = dict(zip(_CONFUSION, map(pd.Categorical, names), strict=False))
    return pd.DataFrame(columns | {"clips": pd.Series(clips, dtype="int64")})


def _confusion_of(folder: Path) -> bytes:
    """The content of a run's confusion.csv, as its predictions give it; empty where they are not there or damaged."""
    if not (folder / PREDICTIONS).is_file():
        return b""
    try:
        predictions = read_predictions(folder / PREDICTIONS)
    except (OSError, ValueError) as problem:
        log.warning("%s", problem)
        return b""
    counts = metrics.confusion(predictions.targets, predictions.logits).tolist()
    lines = [(name, *line) for name, line in zip(predictions.techniques, counts, strict=True)]
    return csv_text(["technique", *predictions.techniques], lines).encode()


def _lines(
    path: Path,
    content: bytes | OSError,
    digest: str = "",
    names: Sequence[str] | None = None,
    numbers: Sequence[int] | None = None,
) -> list[list[str]]:
    """The lines of a small CSV file of a run; none where it is not there, or is damaged, which a warning says.

    Args:
        path: its name, for the warning.
        content: its bytes.
        digest: of these, as the row has it; "" where it has none.
        names: of the columns; None for any.
        numbers: the columns that hold whole numbers; None for all but the first.
    """
    if isinstance(content, FileNotFoundError | NotADirectoryError):
        return []
    try:
        if isinstance(content, OSError):
            raise content
        if digest not in ("", _short_digest(content)):
            raise ValueError("it has changed since the run ended")
        lines = list(csv.reader(content.decode().splitlines(), strict=True))
        header = lines[0] if lines else []
        if not header or list(names or header) != header:
            raise ValueError("it begins with no line of its columns' names")
        for line in lines[1:]:
            if len(line) != len(header):
                raise ValueError(f"a line of {len(line)} fields below {len(header)} names")
            for column in range(1, len(header)) if numbers is None else numbers:
                _whole(line[column])
    except (OSError, ValueError, csv.Error) as error:
        log.warning("%s is damaged (%s) and left out of the tables.", path, " ".join(str(error).split())[:120])
        return []
    return lines


def _short_digest(content: bytes | OSError) -> str:
    return hashlib.sha256(content).hexdigest()[:16] if isinstance(content, bytes) else ""


def _keep(path: Path, frame: "pd.DataFrame") -> None:
    """Write a frame as a CSV file, unless the file holds just this."""
    remove_remains(path)
    counts = {name: "Int64" for name in frame if frame[name].dtype == float and schema.type_of(name) == "count"}
    content = io.BytesIO()
    frame.astype(counts).to_csv(content, index=False, lineterminator="\n")
    if path.is_file() and file_digest(path) == hashlib.sha256(content.getbuffer()).hexdigest():
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def _is_newer(path: Path) -> bool:
    """Whether a newer version wrote a results.csv."""
    if not path.is_file():
        return False
    frame = _read_csv(path, (), schema.type_of)
    return bool("schema" in frame and frame["schema"].max() > schema.SCHEMA)


def read_results_file(path: Path) -> "pd.DataFrame":
    """results.csv as the frame that the runs themselves give; empty where it is not there.

    Raises:
        Damaged, Newer: it is.
    """
    frame = _read_csv(path, _REQUIRED, schema.type_of)
    if "schema" in frame and frame["schema"].max() > schema.SCHEMA:
        raise Newer(f"{path}: a newer version of singtech wrote it; read it with that version.")
    if len(frame) and "settings" not in frame and VARIANT not in frame:
        raise Damaged(_damaged(path, "it has no column settings"))
    empty = {"number": math.nan, "count": math.nan, "whole": 0}
    names = columns(set(frame))
    frame = frame.assign(**{name: empty.get(schema.type_of(name), "") for name in names if name not in frame})[names]
    try:
        return frame.assign(condition=_described(frame)[0])
    except ValueError as error:
        raise Damaged(_damaged(path, str(error))) from None


def _read(path: Path, names: Sequence[str]) -> "pd.DataFrame":
    """Another CSV file, or an empty frame; optional columns that it lacks are empty text."""
    frame = _read_csv(path, [name for name in names if name not in _OPTIONAL], _TYPES.get)
    return frame.assign(**{name: "" for name in names if name not in frame})


def _read_csv(path: Path, required: Sequence[str], type_of: Callable[[str], str | None]) -> "pd.DataFrame":
    """A CSV file with text as text and numbers as numbers; where it is not there, an empty frame.

    Raises:
        Damaged: a column is missing, or holds what it cannot hold.
    """
    import pandas as pd

    try:
        text = path.read_bytes().decode() if path.is_file() else ",".join(required)
        if "\0" in text:
            raise ValueError("it holds zero bytes")
        if len({len(line) for line in csv.reader(io.StringIO(text, newline="")) if line}) > 1:
            raise ValueError("its lines have more or fewer fields than names")  # pandas shifts or fills such lines
        frame = pd.read_csv(io.StringIO(text, newline=""), dtype=str, keep_default_na=False)
        lacking = [name for name in required if name not in frame]
        if lacking:
            is_foreign = ";" in text.partition("\n")[0]
            why = " (its fields are separated by semicolons, expected commas)" if is_foreign else ""
            raise ValueError(f"it has no column {', '.join(lacking)}{why}")
        for name in frame.columns:
            if type_of(name) == "whole":
                frame[name] = pd.Series([_whole(text, name == "seed") for text in frame[name]], dtype="int64")
            elif type_of(name) in ("number", "count"):
                frame[name] = pd.to_numeric(frame[name]).astype(float)
                if frame[name].abs().eq(math.inf).any():
                    raise ValueError(f"{name} is infinite")
        misnamed = [data for data in frame["data"] if not NAME.fullmatch(data)] if "data" in frame else []
        if misnamed:
            raise ValueError(f"data is {misnamed[0]!r:.40}, expected a name that a folder can have")
    except (ValueError, csv.Error) as error:  # pandas' parser errors are ValueErrors
        raise Damaged(_damaged(path, " ".join(str(error).split())[:300])) from error
    if tuple(required) == _CONFUSION:  # names that stand in many lines are kept once
        frame = frame.astype(dict.fromkeys(_CONFUSION[:-1], "category"))
    return frame


def _damaged(path: Path, why: str) -> str:
    if path.parent.name == CORPORA:
        return f"{path} is damaged ({why}); remove it and run `singtech prepare` to rebuild it."
    return f"{path} is damaged ({why}), and no runs are beside it to rebuild it; bring it again from where it was made."


@functools.lru_cache(4096)  # a million counts are few different ones
def _whole(text: str, signed: bool = False) -> int:
    if not re.fullmatch(f"{'-?' if signed else ''}[0-9]{{1,19}}", text) or abs(int(text)) >= 1 << 63:
        raise ValueError(f"{text!r:.40} where a whole number belongs")
    return int(text)
