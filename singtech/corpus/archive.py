"""Read recordings from a zip or a folder: VocalSet 1.1 or 1.2, or your own. VocalSet is downloaded if it is absent.

A zip is read in place and never unpacked. Below its base a source is laid out as
`<singer>/<context …>/<technique>/<name>.wav` (or .flac). The base is `FULL/` in VocalSet 1.1, `data_by_singer/` in
VocalSet 1.2 (its other two folders hold the same audio again), or the source itself. One folder may wrap the base.
"""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from singtech.corpus.download import download, in_bytes
from singtech.errors import Damaged, InvalidValue, NoConnection, NotThere

# Zenodo record 1442513: VocalSet 1.1, Creative Commons Attribution 4.0.
ZENODO_RECORD = "https://zenodo.org/records/1442513"
ZENODO_URL = f"{ZENODO_RECORD}/files/VocalSet11.zip?download=1"
ZENODO_SIZE = 2_077_243_579
ZENODO_MD5 = "0c09396242f946e7111ad7d8fc649b81"
ZIPS = ("VocalSet11.zip", "VocalSet1-2.zip")

BASES = ("FULL", "data_by_singer")
SUFFIXES = (".wav", ".flac")
LARGEST_BYTES = 1 << 30  # of one recording's file: 100 minutes of CD sound


def fetch_vocalset(root: str | os.PathLike) -> Path:
    """Return the zip or folder at `root`; download VocalSet's zip if nothing is there.

    Args:
        root: a zip, or a folder that holds one or its unpacked content.
    Raises:
        NoConnection: nothing is there and the server cannot be reached.
    """
    root = Path(root).expanduser()
    path = find_source(root)
    if path is not None:
        return path
    target = root if root.suffix == ".zip" else root / ZIPS[0]
    try:
        return download(ZENODO_URL, target, ZENODO_SIZE, ZENODO_MD5)
    except NoConnection as error:
        raise NoConnection(
            f"VocalSet is not at {root} and {error} Bring {ZIPS[0]} from {ZENODO_RECORD} to {target} yourself, "
            "or say data.root=<where it is>, or take data=demo, which needs no download."
        ) from error


def own_recordings(root: str | os.PathLike | None) -> Path:
    """Return the folder or zip at `root`, which holds your own recordings.

    Raises:
        InvalidValue: `root` is not set.
        NotThere: nothing is at `root`.
    """
    if not root:
        raise InvalidValue("data.root is not set: name the folder or zip that holds the recordings.")
    path = find_source(Path(root).expanduser())
    if path is None:
        raise NotThere(f"data.root={root}: nothing is there; expected a folder or a zip with recordings.")
    return path


def find_source(root: Path) -> Path | None:
    """Return the zip or folder to read at `root`, or None if there is none."""
    if root.is_dir():
        names = {item.name for item in root.iterdir() if not item.name.startswith(".") and item.suffix != ".part"}
        zips = [name for name in ZIPS if name in names]
        if len(names) == 1 and not zips:
            zips = [name for name in names if name.lower().endswith(".zip")]
        if names:
            return root / zips[0] if zips else root
    return next((path for path in (root, Path(f"{root}.zip")) if path.is_file()), None)


def open_source(path: str | os.PathLike, by_folders: bool = True) -> "Source":
    """Open the recordings in a folder or zip.

    Args:
        by_folders: see `Source`.
    Raises:
        FileNotFoundError: nothing is at `path`.
        Damaged: the zip cannot be read.
        InvalidValue: no recording is in the layout that singtech reads.
    """
    path = Path(path)
    return (FolderSource if path.is_dir() else ZipSource)(path, by_folders)


class Source:
    """Files below a base folder. Each has a stamp: a text that begins with its size and changes with its content.

    Args:
        by_folders: whether folders name singer and technique. If not, files may be anywhere, and the base is `path`.
    """

    def __init__(self, path: Path, stamps: dict[str, str], by_folders: bool) -> None:
        self.path = path
        stamps = {name: stamp for name, stamp in stamps.items() if not _is_clutter(name)}
        self.base = _base(stamps) if by_folders else ""
        self._stamps = {name[len(self.base) :]: stamps[name] for name in stamps if name.startswith(self.base)}
        found = f"{len(stamps)} files such as {min(stamps)!r}" if stamps else "no file"
        if by_folders and not any(is_recording(name) and name.count("/") >= 2 for name in self._stamps):
            raise InvalidValue(f"{path}: expected <singer>/…/<technique>/<name>.wav or .flac, found {found}.")

    def names(self) -> list[str]:
        """Return the sorted paths of all files below the base, with forward slashes, without hidden files."""
        return sorted(self._stamps)

    def signature(self) -> str:
        """Return a hash of all names and stamps. No file is read."""
        return hashlib.sha256(repr(sorted(self._stamps.items())).encode()).hexdigest()

    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""
        return int(self._stamps[name].split()[0])

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            Damaged, OSError: it cannot be read. The message does not name the file.
        """
        if self.size(name) > LARGEST_BYTES:
            raise Damaged(f"it has {in_bytes(self.size(name))}, more than the {in_bytes(LARGEST_BYTES)} that are read")
        return self._content(self.base + name)

    def labels(self) -> Mapping[str, Sequence[str]] | None:
        """Return singer, technique and context of each file; None if the folders name them."""
        return None

    def close(self) -> None:
        """Close the source."""

    def _content(self, path: str) -> bytes:
        raise NotImplementedError

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_) -> None:
        self.close()


class FolderSource(Source):
    """A folder. Links are followed; a broken one is an OSError that names it."""

    def __init__(self, path: Path, by_folders: bool = True) -> None:
        stamps = {}
        for folder, _, names in os.walk(path, onerror=_raise, followlinks=True):
            for file in (Path(folder, name) for name in names):
                state = file.stat()
                stamps[file.relative_to(path).as_posix()] = f"{state.st_size} {state.st_mtime_ns}"
        super().__init__(path, stamps, by_folders)

    def _content(self, path: str) -> bytes:
        return (self.path / path).read_bytes()


class ZipSource(Source):
    """A zip, read in place. The size of an unpacked member is limited, because a zip may come from anywhere.

    Raises:
        Damaged: it is not a zip, or not complete.
    """

    def __init__(self, path: Path, by_folders: bool = True) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
            members = [member for member in self._zip.infolist() if not member.is_dir()]
        except (zipfile.BadZipFile, NotImplementedError, ValueError, IndexError) as error:
            raise Damaged(
                f"{path}: no zip, or one that is damaged or cut short ({in_bytes(path.stat().st_size)}, VocalSet 1.1 "
                f"has {in_bytes(ZENODO_SIZE)}); bring it again, or, if it is VocalSet, remove it and it is downloaded "
                "again."
            ) from error
        self._members = {member.filename.replace("\\", "/"): member for member in members}
        # size and checksum, but no time: a copy of the zip is the same source
        stamps = {name: f"{m.file_size} {m.CRC:08x}" for name, m in self._members.items()}
        try:
            super().__init__(path, stamps, by_folders)
        except InvalidValue:
            self.close()
            raise

    def _content(self, path: str) -> bytes:
        member, data = self._members[path], None
        if member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # zipfile bounds no others
            with contextlib.suppress(Exception), self._zip.open(member) as stream:  # it raises many kinds
                data = stream.read(member.file_size + 1)  # unpacks no more, and checks the checksum
        if data is None or len(data) != member.file_size:
            raise Damaged("it is damaged in the zip, encrypted, or neither stored nor deflated; pack it again")
        return data

    def close(self) -> None:
        """Close the zip."""
        self._zip.close()


def is_recording(name: str) -> bool:
    """Whether a file's name is that of a WAV or FLAC recording."""
    return name.lower().endswith(SUFFIXES)


def _raise(error: OSError) -> None:
    raise error


def _is_clutter(name: str) -> bool:
    """Whether a path is hidden, or in a `__MACOSX` folder."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _base(names: Iterable[str]) -> str:
    """Find the part of the paths before `<singer>/`: "", "FULL/", "VocalSet 1.2/data_by_singer/" …"""
    recordings = [name.split("/") for name in names if is_recording(name)]
    tops = {parts[0] for parts in recordings if len(parts) > 1}
    inner = {parts[1] for parts in recordings if len(parts) > 2}
    wrapping = f"{tops.pop()}/" if len(tops) == 1 else ""
    for base in BASES:
        if base in tops or wrapping == f"{base}/":
            return f"{base}/"
        if wrapping and base in inner:
            return f"{wrapping}{base}/"
    # a corpus has at least two singers, so a single top folder with several folders in it is not a singer
    is_around_singers = len(inner) > 1 and all(len(parts) >= 4 for parts in recordings if len(parts) > 2)
    return wrapping if is_around_singers else ""
