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

from singtech.corpus.download import download, format_bytes
from singtech.errors import Damaged, InvalidValue, NoConnection, NotThere
from singtech.io.atomic import expand_home

# Zenodo record 1442513: VocalSet 1.1, Creative Commons Attribution 4.0.
ZENODO_RECORD = "https://zenodo.org/records/1442513"
ZENODO_URL = f"{ZENODO_RECORD}/files/VocalSet11.zip?download=1"
ZENODO_SIZE = 2_077_243_579
ZENODO_MD5 = "0c09396242f946e7111ad7d8fc649b81"
ZIPS = ("VocalSet11.zip", "VocalSet1-2.zip")

BASES = ("FULL", "data_by_singer")
SUFFIXES = (".wav", ".flac")
# of recordings that a corpus does not take, but `singtech predict` does
OTHER_SUFFIXES = tuple(
    ".mp3 .ogg .oga .opus .aif .aiff .aifc .au .snd .caf .wave .bwf .w64 .rf64 .m4a .m4b .aac .mp2 .mpga .wma .mka "
    ".amr .wv .ape .3gp .mp4 .mov .mkv .webm .weba .avi .m4v .mpg .mpeg .wmv .flv .spx .tta .dsf .ac3 .sph .nist .voc "
    ".sf .ircam .8svx .svx .iff .avr .htk .paf .pvf .sd2 .sds .wve .xi".split()
)
MAX_BYTES = 1 << 30  # of one recording: 100 minutes of CD sound


def fetch_vocalset(root: str | os.PathLike, default: str | os.PathLike | None = None) -> Path:
    """Return the zip or folder at `root`; download VocalSet's zip if nothing is there.

    Args:
        root: a zip, or a folder that holds one or its unpacked content.
        default: the folder that a download creates; `root` by default. Another must exist: its name may be misspelt.
    Raises:
        NotThere: nothing is there, and it is not the default.
        NoConnection: nothing is there and the server cannot be reached.
    """
    root = expand_home(root)
    path = find_source(root)
    if path is not None:
        return path
    if default is not None and root != expand_home(default) and not root.is_dir():
        raise NotThere(
            f"data.root={root}: found nothing; expected VocalSet's zip or its unpacked folder. To download it "
            "(2.1 GB), omit data.root, or create this folder first."
        )
    target = root if root.suffix == ".zip" else root / ZIPS[0]
    try:
        return download(ZENODO_URL, target, ZENODO_SIZE, ZENODO_MD5)
    except NoConnection as error:
        raise NoConnection(
            f"VocalSet is not at {root} and {error} Copy {ZIPS[0]} from {ZENODO_RECORD} to {target} yourself, "
            "or set data.root=<its path>, or use data=demo, which needs no download."
        ) from error


def own_recordings(root: str | os.PathLike | None) -> Path:
    """Return the folder or zip at `root`, which holds your own recordings; raise `NotThere` if nothing is there."""
    if not root:
        raise InvalidValue("data.root is not set: name the folder or zip that holds the recordings.")
    path = find_source(expand_home(root))
    if path is None:
        raise NotThere(f"data.root={root}: found nothing; expected a folder or a zip with recordings.")
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
    """Open the recordings in a folder or zip, see `Source`."""
    path = Path(path)
    return (FolderSource if path.is_dir() else ZipSource)(path, by_folders)


class Source(contextlib.AbstractContextManager):
    """Files below a base folder. Each has a stamp: a text that starts with its size and changes with its content.

    Args:
        by_folders: whether folders name singer and technique. If not, files can be anywhere, and the base is `path`.
    Raises:
        InvalidValue: no recording is in these folders.
    """

    def __init__(self, path: Path, stamps: dict[str, str], by_folders: bool) -> None:
        self.path = path
        stamps = {name: stamp for name, stamp in stamps.items() if not _is_hidden(name)}
        self.base = _find_base(stamps) if by_folders else ""
        self._stamps = {name[len(self.base) :]: stamps[name] for name in stamps if name.startswith(self.base)}
        content = f"{len(stamps)} files such as {min(stamps)!r}" if stamps else "no file"
        if by_folders and not any(is_recording(name) and name.count("/") >= 2 for name in self._stamps):
            raise InvalidValue(f"{path}: expected <singer>/…/<technique>/<name>.wav or .flac, found {content}.")

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
        if self.size(name) > MAX_BYTES:
            raise Damaged(f"it has {format_bytes(self.size(name))}, more than the limit of {format_bytes(MAX_BYTES)}")
        return self._read_file(self.base + name)

    def labels(self) -> Mapping[str, Sequence[str]] | None:
        """Return singer, technique and context of each file; None if the folders name them."""
        return None

    def close(self) -> None:
        """Close the source."""

    def _read_file(self, path: str) -> bytes:
        raise NotImplementedError

    def __exit__(self, *_) -> None:
        self.close()


class FolderSource(Source):
    """A folder. Links are followed; a broken link raises an OSError with its name."""

    def __init__(self, path: Path, by_folders: bool = True) -> None:
        stamps = {}
        for folder, _, names in os.walk(path, onerror=_raise, followlinks=True):
            for file in (Path(folder, name) for name in names):
                state = file.stat()
                stamps[file.relative_to(path).as_posix()] = f"{state.st_size} {state.st_mtime_ns}"
        super().__init__(path, stamps, by_folders)

    def _read_file(self, path: str) -> bytes:
        if not (self.path / path).is_file():
            raise Damaged("it is no file but a pipe or a device")
        return (self.path / path).read_bytes()


class ZipSource(Source):
    """A zip, read in place. The size of an unpacked file is limited, because the zip may be harmful.

    Raises:
        Damaged: it is not a zip, or incomplete.
    """

    def __init__(self, path: Path, by_folders: bool = True) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
            members = [member for member in self._zip.infolist() if not member.is_dir()]
        except (zipfile.BadZipFile, NotImplementedError, ValueError, IndexError) as error:
            raise Damaged(
                f"{path}: no zip, or it is damaged or cut short ({format_bytes(path.stat().st_size)}; VocalSet 1.1 "
                f"has {format_bytes(ZENODO_SIZE)}). Copy it again. If it is VocalSet, remove it, and the next command "
                "downloads it again."
            ) from error
        self._members = {member.filename.replace("\\", "/"): member for member in members}
        # size and checksum without time, so that a copy of the zip is the same source
        stamps = {name: f"{m.file_size} {m.CRC:08x}" for name, m in self._members.items()}
        try:
            super().__init__(path, stamps, by_folders)
        except InvalidValue:
            self.close()
            raise

    def _read_file(self, path: str) -> bytes:
        member, data = self._members[path], None
        if member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # zipfile limits only these
            with contextlib.suppress(Exception), self._zip.open(member) as stream:  # many kinds of errors
                data = stream.read(member.file_size + 1)  # limits the size, and compares the checksum
        if data is None or len(data) != member.file_size:
            raise Damaged("it is damaged in the zip, encrypted, or neither stored nor deflated; pack it again")
        return data

    def close(self) -> None:
        self._zip.close()


def is_recording(name: str) -> bool:
    """Whether a file's name is that of a WAV or FLAC recording."""
    return name.lower().endswith(SUFFIXES)


def _raise(error: OSError) -> None:
    raise error


def _is_hidden(name: str) -> bool:
    """Whether a path is hidden, or in a `__MACOSX` folder."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _find_base(names: Iterable[str]) -> str:
    """Find the part of the paths before `<singer>/`: "", "FULL/", "VocalSet 1.2/data_by_singer/" …"""
    recordings = [name.split("/") for name in names if is_recording(name)]
    top_folders = {parts[0] for parts in recordings if len(parts) > 1}
    second_folders = {parts[1] for parts in recordings if len(parts) > 2}
    outer = f"{top_folders.pop()}/" if len(top_folders) == 1 else ""
    for base in BASES:
        if base in top_folders or outer == f"{base}/":
            return f"{base}/"
        if outer and base in second_folders:
            return f"{outer}{base}/"
    # a corpus has at least two singers, so a single top folder with several subfolders is not a singer
    holds_singers = len(second_folders) > 1 and all(len(parts) >= 4 for parts in recordings if len(parts) > 2)
    return outer if holds_singers else ""
