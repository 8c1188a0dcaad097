"""Read recordings whose labels are not folders: from a table of labels, or by your own class.

`data.source` names a class or function by `_target_`. It returns the path of a folder or zip laid out as
`<singer>/…/<technique>/<name>.wav` (`singtech.corpus.archive`), or an object like `LabelledSource`.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import NamedTuple, Protocol

import pandas as pd

from singtech.components import ComponentError, instantiate, outside_line, unwrapped
from singtech.corpus.archive import Source, is_recording, open_source, own_recordings
from singtech.errors import Damaged, InvalidValue, NotThere

COLUMNS = ("path", "singer", "technique")  # of a table of labels; context is optional


class Label(NamedTuple):
    """Who sings what in a recording. The context groups recordings in tables, such as scales or long_tones."""

    singer: str
    technique: str
    context: str = ""


class LabelledSource(Protocol):
    """The methods of your own source. Names are paths with forward slashes; `close()` is called if there is one."""

    def names(self) -> list[str]:
        """Return the names of all files."""

    def signature(self) -> str:
        """Return a text that changes when a file does; the clips are then cut again. It need not cover the labels."""

    def size(self, name: str) -> int:
        """Return the bytes of a file, or 0 where that is not known."""

    def read(self, name: str) -> bytes:
        """Return the content of a WAV or FLAC file. A ValueError or OSError leaves it out, with a note."""

    def labels(self) -> Mapping[str, Label]:
        """Return the label of each recording; a file without one is left out."""


class TableSource:
    """Recordings in a folder or zip, and a CSV with the columns path, singer, technique and, optionally, context.

    Args:
        root: the folder or zip.
        labels: the CSV, below `root` or anywhere by its absolute path. Its paths are below `root`, with forward
            slashes; other columns are ignored.
    Raises:
        InvalidValue, NotThere: a mistake in the table, in one sentence with its line.
    """

    def __init__(self, root: str | os.PathLike | None, labels: str | None) -> None:
        if not labels:
            raise InvalidValue("data.labels is not set: name a CSV with the columns path, singer and technique.")
        self._files = files = open_source(own_recordings(root), by_folders=False)
        self.path, self.names, self.size, self.read = files.path, files.names, files.size, files.read
        self.signature, self.close = files.signature, files.close
        path = Path(labels).expanduser()
        if path.is_absolute() and path.is_file():
            table = path.read_bytes()
        elif path.as_posix() in self.names():
            table = self.read(path.as_posix())
        else:
            raise NotThere(f"data.labels={labels}: there is no such file in {self.path}.")
        self._labels = read_labels(table, labels, set(self.names()))

    def labels(self) -> Mapping[str, Label]:
        """Return the label of each recording in the table."""
        return self._labels


def read_labels(content: bytes, file: str, names: set[str]) -> dict[str, Label]:
    """Read the labels in a CSV.

    Args:
        file: its name, for messages.
        names: of all files below the root.
    Raises:
        InvalidValue: it is no CSV, a column is missing, or a line is wrong.
    """
    try:
        text = io.StringIO(content.decode("utf-8-sig"))
        table = pd.read_csv(text, dtype=str, na_filter=False, skip_blank_lines=False)
    except UnicodeDecodeError:
        raise InvalidValue(f"{file}: expected text in UTF-8; save it so.") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as problem:
        raise InvalidValue(f"{file}: it is no CSV ({' '.join(str(problem).split())}).") from None
    table.columns = [column.strip() for column in table.columns]
    if not {*COLUMNS} <= {*table.columns} or not isinstance(table.index, pd.RangeIndex):
        raise InvalidValue(
            f"{file}: expected the columns path, singer, technique and, optionally, context, with commas between, "
            f"found {', '.join(table.columns)}."
        )
    table = table.reindex(columns=[*COLUMNS, "context"], fill_value="").apply(lambda column: column.str.strip())
    table = table[(table != "").any(axis="columns")]
    recordings = [name for name in names if is_recording(name)]
    mistakes = {
        "a cell is empty": (table[[*COLUMNS]] == "").any(axis="columns"),
        "the path is there twice; keep one line": table["path"].duplicated(),
        "there is no such .wav or .flac": ~table["path"].isin(recordings),
    }
    for mistake, is_wrong in mistakes.items():
        for line in table.index[is_wrong]:
            raise InvalidValue(f"{file}, line {line + 2} ({table['path'][line]}): {mistake}.")
    if table.empty:
        raise InvalidValue(f"{file}: it has no line below its columns; write one for each recording.")
    return {path: Label(*label) for path, *label in table.itertuples(index=False)}


class OwnSource(Source):
    """Your own source (see `LabelledSource`). An exception inside it names your file and line."""

    def __init__(self, source: LabelledSource) -> None:
        kind = type(source).__name__
        for method in ("names", "signature", "size", "read", "labels"):
            if not callable(getattr(source, method, None)):
                raise InvalidValue(
                    f"data.source: {kind} has no {method}(); expected the path of a folder or zip, or an object with "
                    "names, signature, size, read and labels (LabelledSource in singtech/corpus/sources.py)."
                )
        with _own_line():
            sizes = {name: str(source.size(name)) for name in source.names()}
            labels, signature = source.labels(), str(source.signature())
        super().__init__(Path(getattr(source, "path", kind)), sizes, by_folders=False)
        self._source, self._labels = source, _checked_labels(labels, sizes.keys(), kind)
        self._signature = hashlib.sha256(json.dumps([signature, sorted(self._labels.items())]).encode()).hexdigest()

    def labels(self) -> dict[str, Label]:
        """Return the label of each recording."""
        return self._labels

    def signature(self) -> str:
        """Return a hash of the source's signature and the labels."""
        return self._signature

    def close(self) -> None:
        """Close the source, if it can be closed."""
        getattr(self._source, "close", bool)()

    def _content(self, path: str) -> bytes:
        with _own_line(but=(ValueError, OSError, MemoryError)):
            try:
                data = self._source.read(path)
            except ValueError as problem:
                raise Damaged(str(problem)) from problem
        if not isinstance(data, bytes):
            raise ComponentError(f"data.source: read() gives {type(data).__name__} for {path}; expected bytes.")
        return data


def _checked_labels(labels: object, names: Collection[str], kind: str) -> dict[str, Label]:
    """Return the labels as one mapping of one form.

    Raises:
        InvalidValue: they are not what `LabelledSource.labels` must return.
    """
    if not isinstance(labels, Mapping) or not labels:
        value = "no label" if isinstance(labels, Mapping) else type(labels).__name__
        raise InvalidValue(f"data.source: {kind}.labels() gives {value}; expected a Label for each recording.")
    for name, label in labels.items():
        if name not in names:
            raise InvalidValue(f"data.source: {kind}.labels() has {name}, which names() has not.")
        is_label = isinstance(label, tuple) and len(label) in (2, 3) and all(isinstance(x, str) for x in label)
        if not (is_label and label[0] and label[1]):
            raise InvalidValue(f"data.source: {kind}.labels() gives {label!r}; expected Label(singer, technique).")
    return {name: Label(*label) for name, label in labels.items()}


@contextmanager
def _own_line(but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Let an exception inside your own source name your file and line.

    Args:
        but: exceptions that pass.
    Raises:
        ComponentError: instead of an exception that went through one of your files.
    """
    try:
        yield
    except Exception as problem:
        line = outside_line(problem)
        if isinstance(problem, (ComponentError, *but)) or not line:
            raise
        raise ComponentError(f"data.source: {line}: {type(problem).__name__}: {problem}") from problem


def make_source(settings: Mapping) -> str | os.PathLike | LabelledSource:
    """Make the source that `data.source` names.

    Raises:
        InvalidValue: there is no such class, or it has other settings.
        ComponentError: it is your own and raises an exception.
    """
    component: Callable | None = instantiate(settings, "data.source") if settings.get("_target_") else None
    if component is None:
        raise InvalidValue("data.source._target_ is not set: name a class or function, as conf/data/folder.yaml does.")
    target, arguments = unwrapped(component)
    try:
        signature(target).bind(**arguments)
    except TypeError as problem:
        raise InvalidValue(f"data.source: {target.__name__}: {problem}.") from None
    with _own_line():
        return component()


def checked_source(source: str | os.PathLike | LabelledSource) -> Source:
    """Open a source: the folder or zip at a path, or an object with its own labels.

    Raises:
        SingtechError, OSError: it is not one.
        ComponentError: it is your own and raises an exception.
    """
    return open_source(source) if isinstance(source, str | os.PathLike) else OwnSource(source)
