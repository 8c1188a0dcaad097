"""Read recordings whose labels are not folders: with a table of labels, or with your own class.

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

from singtech.components import ComponentError, find_user_line, import_component, unwrap
from singtech.corpus.archive import Source, is_recording, open_source, own_recordings
from singtech.errors import Damaged, InvalidValue, NotThere
from singtech.io.atomic import decode_text, expand_home

COLUMNS = ("path", "singer", "technique")  # of a table of labels; context is optional


class Label(NamedTuple):
    """Singer and technique of a recording. The context, such as scales, groups recordings in tables."""

    singer: str
    technique: str
    context: str = ""


class LabelledSource(Protocol):
    """The methods of your own source. Names are paths with forward slashes; `close()` is called if there is one."""

    def names(self) -> list[str]:
        """Return the names of all files."""

    def signature(self) -> str:
        """Return a text that changes with any file; the clips are then cut again. It need not cover the labels."""

    def size(self, name: str) -> int:
        """Return the size of a file in bytes, or 0 if it is unknown."""

    def read(self, name: str) -> bytes:
        """Return the content of a WAV or FLAC file. After a ValueError or OSError it is omitted with a note."""

    def labels(self) -> Mapping[str, Label]:
        """Return the label of each recording; a file without a label is omitted."""


class TableSource:
    """Recordings in a folder or zip, and a CSV with the columns path, singer, technique and, optionally, context.

    Args:
        root: the folder or zip.
        labels: the CSV: a path below `root`, or an absolute path. The paths in it are below `root`, with forward
            slashes; other columns are ignored.
    Raises:
        InvalidValue, NotThere: the table has a mistake; the message names its line.
    """

    def __init__(self, root: str | os.PathLike | None, labels: str | None) -> None:
        if not labels:
            raise InvalidValue("data.labels is not set: name a CSV with the columns path, singer and technique.")
        self._files = files = open_source(own_recordings(root), by_folders=False)
        self.path, self.names, self.size, self.read = files.path, files.names, files.size, files.read
        self.signature, self.close = files.signature, files.close
        path = expand_home(labels)
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
    """Read the labels in a CSV of this name, with a line for each of some of the root's files."""
    text = io.StringIO(decode_text(content, file))
    try:
        table = pd.read_csv(text, dtype=str, na_filter=False, skip_blank_lines=False)
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
        "the path occurs twice; keep one line": table["path"].duplicated(),
        "there is no such .wav or .flac": ~table["path"].isin(recordings),
    }
    for mistake, is_wrong in mistakes.items():
        for line in table.index[is_wrong]:
            raise InvalidValue(f"{file}, line {line + 2} ({table['path'][line]}): {mistake}.")
    if table.empty:
        raise InvalidValue(f"{file}: it has no line below its columns; write one for each recording.")
    return {path: Label(*label) for path, *label in table.itertuples(index=False)}


class OwnSource(Source):
    """Your own source (see `LabelledSource`). Its exceptions name your file and line."""

    def __init__(self, source: LabelledSource) -> None:
        kind = type(source).__name__
        for method in ("names", "signature", "size", "read", "labels"):
            if not callable(getattr(source, method, None)):
                raise InvalidValue(
                    f"data.source: {kind} has no {method}(); expected the path of a folder or zip, or an object with "
                    "names, signature, size, read and labels (LabelledSource in singtech/corpus/sources.py)."
                )
        with _name_user_line():
            sizes = {name: str(source.size(name)) for name in source.names()}
            labels, signature = source.labels(), str(source.signature())
        super().__init__(Path(getattr(source, "path", kind)), sizes, by_folders=False)
        self._source, self._labels = source, _check_labels(labels, sizes.keys(), kind)
        self._signature = hashlib.sha256(json.dumps([signature, sorted(self._labels.items())]).encode()).hexdigest()

    def labels(self) -> dict[str, Label]:
        return self._labels

    def signature(self) -> str:
        """Return a hash of the source's signature and the labels."""
        return self._signature

    def close(self) -> None:
        getattr(self._source, "close", bool)()

    def _read_file(self, path: str) -> bytes:
        with _name_user_line(exempt=(ValueError, OSError, MemoryError)):
            try:
                data = self._source.read(path)
            except ValueError as problem:
                raise Damaged(str(problem)) from problem
        if not isinstance(data, bytes):
            raise ComponentError(f"data.source: read() gives {type(data).__name__} for {path}; expected bytes.")
        return data


def _check_labels(labels: object, names: Collection[str], kind: str) -> dict[str, Label]:
    """Return the labels as a dictionary of `Label`s; raise `InvalidValue` if they are not as in `LabelledSource`."""
    if not isinstance(labels, Mapping) or not labels:
        value = "no label" if isinstance(labels, Mapping) else type(labels).__name__
        raise InvalidValue(f"data.source: {kind}.labels() gives {value}; expected a Label for each recording.")
    for name, label in labels.items():
        if name not in names:
            raise InvalidValue(f"data.source: {kind}.labels() has {name}, which names() lacks.")
        is_label = isinstance(label, tuple) and len(label) in (2, 3) and all(isinstance(x, str) for x in label)
        if not (is_label and label[0] and label[1]):
            raise InvalidValue(f"data.source: {kind}.labels() gives {label!r}; expected Label(singer, technique).")
    return {name: Label(*label) for name, label in labels.items()}


@contextmanager
def _name_user_line(exempt: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Raise `ComponentError`, with your file and line, instead of other exceptions inside your own source."""
    try:
        yield
    except Exception as problem:
        line = find_user_line(problem)
        if isinstance(problem, (ComponentError, *exempt)) or not line:
            raise
        raise ComponentError(f"data.source: {line}: {type(problem).__name__}: {problem}") from problem


def import_source(settings: Mapping) -> Callable[[], str | os.PathLike | LabelledSource]:
    """Import the source that `data.source` names. Calling it builds it, which may download or synthesise recordings.

    Raises:
        InvalidValue: there is no such class, or it has other arguments.
        ComponentError: your own file raises an exception.
    """
    component: Callable | None = import_component(settings, "data.source") if settings.get("_target_") else None
    if component is None:
        raise InvalidValue("data.source._target_ is not set: name a class or function, as conf/data/folder.yaml does.")
    target, arguments = unwrap(component)
    try:
        signature(target).bind(**arguments)
    except TypeError as problem:
        raise InvalidValue(f"data.source: {target.__name__}: {problem}.") from None
    return component


def make_source(settings: Mapping) -> str | os.PathLike | LabelledSource:
    """Build the source that `data.source` names, see `import_source`."""
    with _name_user_line():
        return import_source(settings)()


def open_recordings(source: str | os.PathLike | LabelledSource) -> Source:
    """Open a source: the folder or zip at a path, or an object with its own labels."""
    return open_source(source) if isinstance(source, str | os.PathLike) else OwnSource(source)
