"""All runs as frames, and in three files that are rebuilt after every run and sweep. Reading needs no torch or lock.

`results.csv` has one row per run, `layers.csv` the layers of every network of a run (Table 1), and `confusions.csv` for
each run the clips of each technique by predicted technique. `corpora/` has the clips of each corpus and each of its
folds (`<data>.csv`, `<data>-fold_<k>.csv`). Tables and figures need nothing else. If there are runs on disk, the frames
come from them; the three files are read only if they were copied without runs.
"""

import codecs
import csv
import errno
import functools
import io
import logging
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count, product
from pathlib import Path
from typing import TYPE_CHECKING

from singtech import metrics
from singtech.config_paths import add_user_folder
from singtech.errors import Damaged, InvalidValue, Newer, NotThere
from singtech.io.atomic import atomic_folder, list_visible, read_files, remove_temporary_files, set_aside, write_bytes
from singtech.io.lock import hold
from singtech.io.stored import reading, require_version
from singtech.results import schema
from singtech.results.conditions import describe
from singtech.results.jackknife import Jackknife
from singtech.results.predictions import CONFUSION, PREDICTIONS, read_predictions, score
from singtech.results.rows import (
    COMPLETE,
    NAME,
    ROW,
    SCORED,
    VARIANT,
    check_result,
    read_digests,
    read_rows,
    short_digest,
)
from singtech.results.settings import own_folder, read_settings
from singtech.techniques import TECHNIQUES

if TYPE_CHECKING:
    import pandas as pd

RESULTS, LAYERS, CONFUSIONS, CORPORA = "results.csv", "layers.csv", "confusions.csv", "corpora"
BEFORE = "before-"  # begins the names of folders with earlier files
_ORDER = ["data", "model", "dc", "strategy", "alpha", "settings", VARIANT, "fold", "seed", "rounding", "run"]
_NETWORK = ("data", "model", "dc", "settings", VARIANT)  # these decide the layers of a network
LAYER = ("number", "layer", "channels", "output", "deformable", "parameters")  # columns of a run's layers.csv
_CONFUSION = ("run", "technique", "predicted", "clips")
_AMOUNTS = ("recordings", "minutes", "clips")
STATE = ("corpus_fingerprint", "data_fingerprint")  # hashes of all clips of a corpus, and of its split or fold
_LENGTHS = ("technique", "split", "context", *_AMOUNTS, *STATE, "settings")
_REQUIRED = ("run", "data", "model", "dc", "strategy", "alpha", "seed", "status")  # columns of results.csv
_OPTIONAL = {"context", *STATE, "settings", VARIANT}  # columns that files of earlier versions do not have
_TYPES = dict.fromkeys(("number", "channels", "parameters", "recordings", "clips"), "whole") | {"minutes": "number"}
_FOLD = re.compile(r"-fold_\d+$")
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)

_last_rebuilds: dict[Path, tuple[float, float]] = {}  # folder -> end of this process's last rebuild, its seconds

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Collated:
    """The data for tables and figures; a frame is empty if its file is missing.

    Attributes:
        results: one row per run.
        layers: one row per layer, for each data, model, dc and settings.
        confusions: run, technique, predicted, clips; pairs without a clip are left out.
        lengths: stem of each file in `corpora/` -> its technique, split, context, recordings, minutes, clips; and in
            every line its fingerprints and the settings by which a command names the corpus, "" if unknown.
        output_dir: the results folder.
    """

    results: "pd.DataFrame"
    layers: "pd.DataFrame"
    confusions: "pd.DataFrame"
    lengths: "dict[str, pd.DataFrame]"
    output_dir: Path

    @property
    def corpora(self) -> list[str]:
        """List the corpora that were prepared or have runs, by name."""
        return sorted({*self.results["data"], *(name for name in self.lengths if not _FOLD.search(name))})

    @functools.cached_property
    def jackknife(self) -> Jackknife:
        """The runs' scores without each test singer, for runs with predictions."""
        return Jackknife(self.output_dir / "runs")

    def lengths_by_technique(self, data: str) -> "pd.DataFrame":
        """Sum a corpus's lengths by technique and split; empty if it was not prepared here."""
        lengths = self.lengths_by_context(data)
        return lengths.groupby(["technique", "split"], sort=False)[list(_AMOUNTS)].sum().reset_index()

    def lengths_by_context(self, data: str) -> "pd.DataFrame":
        """Get a corpus's lengths by technique, split and context; the context is "" in files of earlier versions."""
        return self.lengths[data] if data in self.lengths else _read(Path(), _LENGTHS)

    def state(self, data: str, fold: str = "") -> tuple[str, ...] | None:
        """Get a corpus's fingerprints of its last use: of all clips, and of its split or fold; None if unknown."""
        state = tuple(self._corpus_entry(data, fold, name) for name in STATE)
        return state if all(state) else None

    def settings(self, data: str, folds: int = 0) -> str:
        """Get the settings by which a command names a corpus, also from its folds; "" if unknown."""
        entries = [self._corpus_entry(data, fold, "settings") for fold in ("", *map(str, range(folds)))]
        return next(filter(None, entries), "")

    def _corpus_entry(self, data: str, fold: str, column: str) -> str:
        lengths = self.lengths.get(f"{data}-fold_{fold}" if fold else data)
        return "" if lengths is None or not len(lengths) else lengths[column].iloc[0]


def collate(output_dir: str | os.PathLike) -> Collated:
    """Rebuild the collated files if they can be written, and return their content."""
    return read_collated(output_dir, rebuild(output_dir))


def read_collated(output_dir: str | os.PathLike, frames: "dict[str, pd.DataFrame] | None" = None) -> Collated:
    """Read everything collated, from the runs on disk, or from the collated files if there are no runs. Write nothing.

    `frames` are those of the runs, if they are read already.

    Raises:
        Damaged, Newer: a collated file is damaged, or of a newer version.
    """
    output_dir = Path(output_dir)
    frames = _frames(output_dir / "runs") if frames is None else frames
    frames = frames or {
        RESULTS: read_results_file(output_dir / RESULTS),
        LAYERS: _read(output_dir / LAYERS, (*_NETWORK, *LAYER)),
        CONFUSIONS: _read(output_dir / CONFUSIONS, _CONFUSION),
    }
    return Collated(frames[RESULTS], frames[LAYERS], frames[CONFUSIONS], read_lengths(output_dir), output_dir)


def read_results(output_dir: str | os.PathLike) -> "pd.DataFrame":
    """Read all runs as one tidy frame, one row per run, with the columns of `singtech.results.schema`. Write nothing.

    Runs with the same `condition` differ only in seed, and in `commit` if the package changed: it names condition,
    alpha, ablation, schedule, other settings, corpus and fold, and where these have several states of clips or of the
    user's own code, which of them. `differences` is a dictionary of the typed settings that differ from the
    condition's. For a run of an earlier version, `settings` is "". Unknown
    numbers, such as a metric that a run lacks, are nan.

    Raises:
        NotThere: there is no run.
        Damaged, Newer: results.csv is damaged or of a newer version, and no run is on disk.
    """
    results = read_collated(output_dir).results
    if not len(results):
        raise NotThere(f"{Path(output_dir) / RESULTS}: no results yet. Make some with `make demo` or `singtech run`.")
    return results.assign(differences=_describe_conditions(results)[1])


def find_run(output_dir: Path, part: str | Path, setting: str = "run") -> dict:
    """Return the row of the one complete run whose name contains `part`.

    Raises:
        NotThere: no run is complete.
        InvalidValue: no name or several contain `part`; the error names `setting`.
    """
    results = collate(output_dir).results
    rows = {row["run"]: row for row in results[results["status"] == "complete"].to_dict("records")}
    if not rows:
        path = (output_dir / RESULTS).absolute()
        raise NotThere(f"{setting}={part}: {path} has no complete run; make some with `make demo`.")
    return rows[match_one_name(rows, Path(part).name, setting)]  # also of its folder


def match_one_name(names: Iterable[str], part: str, setting: str) -> str:
    """Return the one name that equals `part`, or the one that contains it.

    Raises:
        InvalidValue: no name or several match.
    """
    matches = [name for name in names if name == part] or [name for name in names if part in name]
    if len(matches) != 1:
        count, there = "several are" if matches else "none is", [*(matches or names)]
        more = f" and {len(there) - 6} more" * (len(there) > 6)
        raise InvalidValue(f"{setting}={part}: {count} called so; there are {', '.join(there[:6])}{more}.")
    return matches[0]


def rebuild(output_dir: str | os.PathLike) -> "dict[str, pd.DataFrame]":
    """Write `results.csv`, `layers.csv` and `confusions.csv` from all runs on disk; return their frames.

    The same runs give the same bytes; a file that would not change is not written. No file is changed if no run is on
    disk (then there are no frames), if a newer version wrote the files, or if the folder is read-only. Files with rows
    of runs that are not on disk are kept, see `_copy_earlier`.
    """
    output_dir = Path(output_dir)
    runs, path = output_dir / "runs", output_dir / RESULTS
    if not runs.is_dir():
        return {}
    try:
        with hold(path, "results are being collated", announce=lambda line: None):
            frames = _frames(runs)  # under the lock, else older frames could be written last
            if frames:
                _copy_earlier(path, frames[RESULTS]["run"])
            for name, frame in frames.items():
                _write_csv(output_dir / name, frame)
    except Newer:
        log.warning("%s is left as it is: a newer version of singtech wrote it.", path)
    except OSError as problem:
        if problem.errno not in _READ_ONLY:
            raise
        frames = _frames(runs)
    return frames


def rebuild_if_due(output_dir: str | os.PathLike, share: float = 0.05) -> bool:
    """Rebuild between the runs of a sweep, unless this would take more than `share` of the time since the last rebuild.

    Else a sweep of 10,000 runs would spend hours on it. `rebuild` at the end of the sweep adds the last runs. Return
    whether it was rebuilt.
    """
    folder = Path(output_dir).resolve()
    start = time.monotonic()
    end, seconds = _last_rebuilds.get(folder, (start, 0.0))
    if start - end < seconds / share:
        return False
    rebuild(folder)
    end = time.monotonic()
    _last_rebuilds[folder] = (end, end - start)  # includes waiting for another process
    return True


def columns(names: set[str]) -> list[str]:
    """Order the columns of results.csv: condition, metrics, metrics of each technique, circumstances, others.

    Args:
        names: the columns of the rows.
    """
    techniques = []
    for prefix in metrics.list_prefixes():
        standard = [f"{prefix}{technique}" for technique in TECHNIQUES]
        others = [name for name in names - set(standard) if name.startswith(prefix)]
        techniques += standard + sorted(n for n in others if (metrics.split_column(n) or [""])[0] == f"{prefix}*")
    condition, circumstances = ([each.name for each in group] for group in (schema.CONDITION, schema.CIRCUMSTANCES))
    fixed = [*condition, *metrics.list_overall(), *techniques, *circumstances]
    return fixed + sorted(names - set(fixed) - {each.name for each in schema.INTEGRITY})


def read_results_file(path: Path) -> "pd.DataFrame":
    """Read results.csv as a frame like that of the runs themselves; empty if the file is missing."""
    frame = _read_csv(path, _REQUIRED, schema.column_type)
    empty = {"number": math.nan, "count": math.nan, "whole": 0}
    names = columns(set(frame))
    frame = frame.assign(**{n: empty.get(schema.column_type(n), "") for n in names if n not in frame})[names]
    with reading(path, _advise(path)):
        if invalid_names := [data for data in frame["data"] if not NAME.fullmatch(data)]:
            raise ValueError(f"data is {invalid_names[0]!r:.40}, expected a name that a folder can have")
        if len(repeated_runs := frame.loc[frame["run"].duplicated(), "run"]):
            raise ValueError(f"it has the run {repeated_runs.iloc[0]} twice")
        for name in filter(schema.is_share, frame):
            if len(others := frame.loc[(frame[name] - 0.5).abs() > 0.5 + 1e-6, name]):
                raise ValueError(f"{name} is {others.iloc[0]}, expected a number between 0 and 1")
        return frame.assign(condition=_describe_conditions(frame)[0])


def read_lengths(output_dir: Path) -> "dict[str, pd.DataFrame]":
    """Read the files in `corpora/`, see `Collated.lengths`."""
    return {path.stem: _read(path, _LENGTHS) for path in list_visible(output_dir / CORPORA, ".csv")}


def _frames(runs: Path) -> "dict[str, pd.DataFrame]":
    """Make the frames of the collated files, by file name, from the runs on disk; empty if there is no run."""
    rows = []
    for row in read_rows(runs):
        try:
            rows.append(score(row, runs / row["run"]))
        except (OSError, Damaged) as problem:
            log.warning("%s", problem)
            rows.append(row)
    if not rows:
        return {}
    return {RESULTS: _results_frame(rows), LAYERS: _layers_frame(runs, rows), CONFUSIONS: _confusions_frame(runs, rows)}


def _results_frame(rows: list[dict]) -> "pd.DataFrame":
    """Make one typed row per run, sorted by condition and seed."""
    import pandas as pd

    names = columns({"rounding"}.union(*rows))
    frame = pd.DataFrame.from_records([{"rounding": 0} | row for row in rows], columns=names)  # earlier rows lack it
    for name in names:
        dtype = schema.DTYPES.get(schema.column_type(name))
        frame[name] = frame[name].astype(dtype) if dtype else frame[name].map(_text)
    frame["condition"], _ = _describe_conditions(frame)
    return frame.sort_values(_ORDER, ignore_index=True)


def _text(value: object) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def _describe_conditions(results: "pd.DataFrame") -> tuple[list[str], list[dict[str, object]]]:
    """Name each run's condition, and list the typed settings that differ from it.

    Conditions of a user's own configuration folder have names only while that folder exists.
    """
    for command in results["command"].unique():
        if folder := own_folder(command):
            add_user_folder(Path(folder))
    keys = results[["model", "dc", "strategy", "alpha", "settings", VARIANT]]
    descriptions = {}
    of_networks = keys[keys["strategy"] != SCORED].drop_duplicates()
    for model, dc, strategy, alpha, *texts in of_networks.itertuples(index=False, name=None):
        description = describe(model, dc, strategy, alpha, read_settings(*texts))
        descriptions[model, dc, strategy, alpha, *texts] = description
    names, differences = [], []
    others = (results[name] for name in ("data", "fold", "rounding"))
    for key, data, fold, rounding in zip(keys.itertuples(index=False, name=None), *others, strict=True):
        model, _, strategy, *_ = key
        name, differs = (model, {}) if strategy == SCORED else descriptions[key]
        name += f" data={data}" * (data != "vocalset") + f" data.fold={fold}" * (fold != "")
        names.append(name + f" rounding={rounding}" * (rounding != 0))
        differences.append(dict(differs))
    named = results.assign(condition=names)
    for column in ("data_fingerprint", "recipe"):  # other clips, techniques or split of a corpus; other code
        is_mixed = (named.groupby("condition")[column].transform("nunique") > 1) & (named[column] != "")
        named.loc[is_mixed, "condition"] += f" {column}=" + named[column]
    return named["condition"].tolist(), differences


def _layers_frame(runs: Path, rows: list[dict]) -> "pd.DataFrame":
    """Collect the layers of each network from its newest complete run with layers."""
    import pandas as pd

    tables: dict[tuple[str, ...], pd.DataFrame] = {}
    for row in sorted(rows, key=lambda row: (_text(row.get("finished")), row["run"]), reverse=True):
        network = tuple(_text(row.get(name)) for name in _NETWORK)
        path = runs / row["run"] / LAYERS
        if row["status"] != COMPLETE or network in tables:
            continue
        if path.is_file():
            try:
                tables[network] = _read(path, LAYER, row).assign(**dict(zip(_NETWORK, network, strict=True)))
            except Damaged as problem:
                log.warning("%s", problem)
        elif LAYERS in read_digests(row):
            log.warning("%s is absent.", path)
    empty = _read(Path(), (*_NETWORK, *LAYER))
    return pd.concat([empty, *(tables[network] for network in sorted(tables))], ignore_index=True)


def _confusions_frame(runs: Path, rows: list[dict]) -> "pd.DataFrame":
    """Collect each run's confusion matrix in long form, without zeros.

    It comes from confusion.csv if the row has the digest of this file, or else from the predictions if there are any.
    """
    import pandas as pd

    rows = sorted(rows, key=lambda row: row["run"])
    paths = [runs / row["run"] / CONFUSION for row in rows]
    pairs: list[tuple[str, str, str, int]] = []
    for row, path, content in zip(rows, paths, read_files(paths), strict=True):
        try:
            matrix = _read_confusion(content, path, row)
            pairs += [(row["run"], *pair, clips) for pair, clips in matrix.items() if clips]
        except Damaged as problem:
            log.warning("%s The run is left out of the confusions.", problem)
    return pd.DataFrame(pairs, columns=_CONFUSION).astype({"clips": "int64"})


def _read_confusion(content: bytes | OSError, path: Path, row: Mapping) -> dict[tuple[str, str], int]:
    """Get the clips of each pair of true and predicted technique; empty if they are not stored."""
    is_whole = isinstance(content, bytes) and read_digests(row).get(path.name) == short_digest(content)
    if not is_whole and (path.parent / PREDICTIONS).is_file():
        predictions = read_predictions(path.parent / PREDICTIONS)
        counts = metrics.count_confusions(predictions.targets, predictions.logits).tolist()
        return dict(zip(product(predictions.techniques, predictions.techniques), chain(*counts), strict=True))
    if isinstance(content, FileNotFoundError | NotADirectoryError):
        return {}
    with reading(path):
        if isinstance(content, OSError):
            raise content
        text = check_result(content, path.name, row).decode()
        (_, *techniques), *lines = csv.reader(text.splitlines(), strict=True)
        return {
            (technique, predicted): int(clips)
            for technique, *counts in lines
            for predicted, clips in zip(techniques, counts, strict=True)
        }


def _copy_earlier(path: Path, runs: Iterable[str]) -> None:
    """Copy the collated files into `before-<number>/` if results.csv has rows of runs that are absent, and say so.

    A damaged results.csv is set aside; one of a newer version raises `Newer`.
    """
    try:
        absent = set(_read_csv(path, ["run"], schema.column_type)["run"]).difference(runs)
        absent = {run for run in absent if not (path.with_name("runs") / run / ROW).exists()}  # made meanwhile
        if absent:
            read_results_file(path)  # what is kept must be readable
    except Damaged as problem:
        log.warning("%s The file is set aside as %s.", problem, set_aside(path).name)
        return
    if absent:
        folder = next(each for n in count(1) if not (each := path.with_name(f"{BEFORE}{n}")).exists())
        with atomic_folder(folder) as temporary:
            for name in (RESULTS, LAYERS, CONFUSIONS):
                with suppress(FileNotFoundError):
                    shutil.copyfile(path.with_name(name), temporary / name)
        text = "%s had %s of runs that are not in %s: it is kept in %s; copy the runs there, or remove this folder."
        log.warning(text, path, f"{len(absent)} row{'s' * (len(absent) > 1)}", path.with_name("runs"), folder)


def _write_csv(path: Path, frame: "pd.DataFrame") -> None:
    """Write a frame as a CSV file, unless the file already has this content."""
    remove_temporary_files(path)
    counts = {name: "Int64" for name in frame if frame[name].dtype == float and schema.column_type(name) == "count"}
    content = frame.astype(counts).to_csv(index=False, lineterminator="\n").encode()
    if not path.is_file() or path.read_bytes() != content:
        write_bytes(path, content)


def _read(path: Path, names: Sequence[str], row: Mapping | None = None) -> "pd.DataFrame":
    """Read the columns of another CSV file; empty if it is missing. Missing optional columns become empty text."""
    frame = _read_csv(path, [name for name in names if name not in _OPTIONAL], _TYPES.get, row)
    return frame.assign(**{name: "" for name in names if name not in frame})[list(names)]


def _read_csv(
    path: Path, required: Sequence[str], column_type: Callable[[str], str | None], row: Mapping | None = None
) -> "pd.DataFrame":
    """Read a CSV file with typed columns; an empty frame if it is missing.

    Args:
        row: that of the run, if it is a run's file.
    Raises:
        Damaged: it has changed, a column is missing, or a value has the wrong type.
        Newer: a newer version wrote it.
    """
    import pandas as pd

    with reading(path, _advise(path)):
        content = path.read_bytes() if path.is_file() else ",".join(required or ["run"]).encode()
        check_result(content, path.name, row or {})
        if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise ValueError("it is UTF-16, as some spreadsheets write, expected UTF-8")
        names = pd.read_csv(io.BytesIO(content), nrows=0).columns
        if missing_names := [name for name in required if name not in names]:
            signs = [name for name, sign in {"semicolons": ";", "tabs": "\t"}.items() if sign in names[0]]
            why = "".join(f" (its fields are separated by {sign}, expected commas)" for sign in signs)
            raise ValueError(f"it has no column {', '.join(missing_names)}{why}")
        types = {name: schema.DTYPES.get(column_type(name) or "", str) for name in names}
        unknown = {name: [""] for name in names if types[name] == "float64"}
        frame = pd.read_csv(io.BytesIO(content), dtype=types, na_values=unknown, keep_default_na=False)
        if not isinstance(frame.index, pd.RangeIndex):
            raise ValueError("its lines have more fields than names")
        if "schema" in frame:
            require_version({"schema": frame["schema"].max()}, schema.SCHEMA, "schema")
    return frame


def _advise(path: Path) -> str:
    """Say what to do about a damaged collated file."""
    if path.parent.name == CORPORA:
        return "run `singtech prepare` to write it again"
    has_runs = (path.parent / "runs").is_dir()
    return "`singtech tables` makes it again" if has_runs else "copy it again from where it was made"
