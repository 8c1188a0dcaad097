"""Sources of recordings whose labels are not folders: a table of labels, or a person's own class.

`data.source` names a class or function by `_target_`. It makes the path of a folder or zip laid out as
`<singer>/…/<technique>/<name>.wav` (`singtech.corpus.archive`), or an object like `LabelledSource`.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from inspect import signature
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from singtech.components import ComponentError, instantiate, outside_line, unwrapped
from singtech.corpus.archive import Source, is_recording, open_source, own_recordings
from singtech.corpus.manifest import recording_of, shown

COLUMNS = ("path", "singer", "technique")  # of a table of labels; context is optional


class Label(NamedTuple):
    """Who sings what in a recording. The context groups recordings in tables, such as scales or long_tones."""

    singer: str
    technique: str
    context: str = ""


class LabelledSource(Protocol):
    """What a person's own source offers. Names are paths with forward slashes; `close()` is called if there is one."""

    def names(self) -> list[str]:
        """All files."""

    def signature(self) -> str:
        """A text that changes when a file does; the clips are then cut anew. Labels need not be in it."""

    def size(self, name: str) -> int:
        """Bytes of a file, or 0 where that is not known."""

    def read(self, name: str) -> bytes:
        """The bytes of a WAV or FLAC file. A ValueError or OSError leaves it out of the corpus, with a note."""

    def labels(self) -> Mapping[str, Label]:
        """The label of each recording; a file without one is left out."""


class TableSource:
    """Recordings in a folder or zip, and a CSV with the columns path, singer, technique and, optionally, context.

    Args:
        root: the folder or zip.
        labels: the CSV, below `root` or anywhere by its absolute path. Its paths are below `root`, with forward
            slashes; other columns are ignored.
    Raises:
        ValueError, FileNotFoundError: a mistake in the table, in one sentence with its line.
    """

    def __init__(self, root: str | os.PathLike | None, labels: str | None) -> None:
        if not labels:
            raise ValueError("data.labels is not set: name a CSV with the columns path, singer and technique.")
        self._files = open_source(own_recordings(root), by_folders=False)
        self.path = self._files.path
        self.names, self.signature, self.close = self._files.names, self._files.signature, self._files.close
        self.size, self.read = self._files.size, self._files.read
        try:
            self._labels = read_labels(self._table(labels), labels, set(self.names()))
        except BaseException:
            self.close()
            raise

    def labels(self) -> Mapping[str, Label]:
        """The label of each recording in the table."""
        return self._labels

    def _table(self, labels: str) -> bytes:
        place = Path(labels).expanduser()
        if place.is_absolute() and place.is_file():
            return place.read_bytes()
        if place.as_posix() in self.names():
            return self.read(place.as_posix())
        raise FileNotFoundError(f"data.labels={labels}: there is no such file in {self.path}.")


def read_labels(table: bytes, file: str, names: set[str]) -> dict[str, Label]:
    """The labels in a CSV.

    Args:
        file: its name, for messages.
        names: of the files that there are.
    Raises:
        ValueError: a column is missing, or a line is wrong.
    """
    try:
        rows = csv.reader(io.StringIO(table.decode("utf-8-sig"), newline=""), strict=True)
        header = [column.strip() for column in next(rows, [])]
        missing = [column for column in COLUMNS if header.count(column) != 1]
        if missing or header.count("context") > 1:
            raise ValueError(
                f"{file}: expected the columns path, singer, technique and, optionally, context, each once and with "
                f"commas between, found {shown(', '.join(header)) or 'nothing'}."
            )
        labels: dict[str, Label] = {}
        for row in rows:
            if any(cell.strip() for cell in row):
                try:
                    path, label = _labelled(row, header, names, labels)
                except ValueError as problem:
                    raise ValueError(f"{file}, line {rows.line_num}: {problem}") from None
                labels[path] = label
    except UnicodeDecodeError:
        raise ValueError(f"{file}: expected text in UTF-8; save it so.") from None
    except csv.Error as problem:
        raise ValueError(f"{file}, line {rows.line_num}: it is no CSV ({problem}).") from None
    if not labels:
        raise ValueError(f"{file}: it has no line below its columns; write one for each recording.")
    return labels


def _labelled(row: list[str], header: list[str], names: set[str], before: Mapping[str, Label]) -> tuple[str, Label]:
    """The path and label of a line.

    Raises:
        ValueError: it is wrong.
    """
    if len(row) != len(header):
        raise ValueError(f"expected {len(header)} cells, as the first line has, found {len(row)}.")
    cells = dict(zip(header, (cell.strip() for cell in row), strict=True))
    for column in (*COLUMNS, "context"):
        if column in COLUMNS and not cells[column]:
            raise ValueError(f"the {column} is empty.")
        if cells.get(column, "") != shown(cells.get(column, "")):
            raise ValueError(f"the {column} {shown(cells[column])} has a control character; remove it.")
    path = cells["path"]
    if path in before:
        raise ValueError(f"{path} is there twice; keep one line.")
    if path not in names:
        near = [name for name in names if PurePosixPath(name).name == PurePosixPath(path).name]
        near = near or get_close_matches(path, names, n=1)
        raise ValueError(f"there is no file {path}{f'; did you mean {shown(min(near))}?' if near else '.'}")
    if not is_recording(path):
        raise ValueError(f"{path} is neither .wav nor .flac.")
    return path, Label(cells["singer"], cells["technique"], cells.get("context", ""))


class CheckedSource:
    """A person's own source, checked against `LabelledSource`; an exception inside it names their file and line."""

    def __init__(self, source: LabelledSource) -> None:
        self._source = source
        kind = type(source).__name__
        lacking = [
            n for n in ("names", "signature", "size", "read", "labels") if not callable(getattr(source, n, None))
        ]
        if lacking:
            raise ValueError(
                f"data.source: {kind} has no {lacking[0]}(); expected the path of a folder or zip, or an object with "
                "names, signature, size, read and labels (LabelledSource in singtech/corpus/sources.py)."
            )
        self.path = getattr(source, "path", kind)
        with _own_line():
            self._names, labels = sorted(map(str, source.names())), source.labels()
        self._labels = _checked_labels(labels, set(self._names), kind)

    def names(self) -> list[str]:
        """Sorted names of all files."""
        return self._names

    def labels(self) -> Mapping[str, Label]:
        """The label of each recording."""
        return self._labels

    def signature(self) -> str:
        """A hash of the source's signature and the labels."""
        with _own_line():
            of = str(self._source.signature())
        return hashlib.sha256(json.dumps([of, sorted(self._labels.items())]).encode()).hexdigest()

    def size(self, name: str) -> int:
        """Bytes of a file."""
        with _own_line():
            return self._source.size(name)

    def read(self, name: str) -> bytes:
        """A file's bytes (see `LabelledSource.read`)."""
        with _own_line(but=(ValueError, OSError, MemoryError)):
            data = self._source.read(name)
        if not isinstance(data, bytes):
            raise ComponentError(f"data.source: read() gives {type(data).__name__} for {shown(name)}; expected bytes.")
        return data

    def __enter__(self) -> "CheckedSource":
        return self

    def __exit__(self, *_) -> None:
        getattr(self._source, "close", bool)()


def _checked_labels(labels: object, names: set[str], kind: str) -> dict[str, Label]:
    """The labels as one mapping of one form.

    Raises:
        ValueError: they are not what `LabelledSource.labels` must give.
    """
    if not isinstance(labels, Mapping) or not labels:
        found = type(labels).__name__ if labels or not isinstance(labels, Mapping) else "no label"
        raise ValueError(
            f"data.source: {kind}.labels() gives {found}; expected a Label for the name of each recording."
        )
    checked, recordings = {}, {}
    for name, label in labels.items():
        if name not in names:
            raise ValueError(f"data.source: {kind}.labels() has {shown(str(name))}, which names() has not.")
        is_label = isinstance(label, tuple) and len(label) in (2, 3) and all(isinstance(x, str) for x in label)
        if not (is_label and label[0] and label[1]):
            raise ValueError(
                f"data.source: {kind}.labels() gives {label!r} for {shown(name)}; expected Label(singer, technique), "
                "two texts that are not empty, or three with the context."
            )
        for text in label:
            if text != shown(text):
                raise ValueError(f"data.source: the label {shown(text)} of {shown(name)} has a control character.")
        other = recordings.setdefault(recording_of(name), name)
        if other != name:
            raise ValueError(f"data.source: {shown(other)} and {shown(name)} have one name but for .wav or .flac.")
        checked[name] = Label(*label)
    return checked


@contextmanager
def _own_line(but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Let an exception inside a person's own source name their file and line.

    Args:
        but: exceptions that pass.
    Raises:
        ComponentError: instead of an exception that went through a file of theirs.
    """
    try:
        yield
    except Exception as problem:
        place = outside_line(problem)
        if isinstance(problem, (ComponentError, *but)) or not place:
            raise
        raise ComponentError(f"data.source: {place}: {type(problem).__name__}: {problem}") from problem


def make_source(settings: Mapping) -> str | os.PathLike | LabelledSource:
    """The source that `data.source` names.

    Raises:
        ValueError: there is no such class, or it has other settings.
        ComponentError: it is a person's own and raises an exception.
    """
    component: Callable | None = instantiate(settings, "data.source") if settings.get("_target_") else None
    if component is None:
        raise ValueError("data.source._target_ is not set: name a class or function, as conf/data/folder.yaml does.")
    target, given = unwrapped(component)
    try:
        signature(target).bind(**given)
    except TypeError as problem:
        raise ValueError(f"data.source: {target.__name__}: {problem}.") from None
    with _own_line():
        return component()


def checked_source(source: str | os.PathLike | LabelledSource) -> Source | CheckedSource:
    """A source to read from: the folder or zip at a path, or an object with labels of its own.

    Raises:
        ValueError, OSError: it is not one.
        ComponentError: it is a person's own and raises an exception.
    """
    return open_source(source) if isinstance(source, str | os.PathLike) else CheckedSource(source)
