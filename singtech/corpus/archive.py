"""Where recordings lie: VocalSet 1.1 or 1.2, or a person's own, as a zip or a folder; VocalSet is fetched if missing.

Nothing is unpacked: a zip is read where it stands. Below its base a source is laid out as
`<singer>/<context …>/<technique>/<name>.wav` (or .flac); the base is VocalSet 1.1's `FULL/`, VocalSet 1.2's
`data_by_singer/` (its other two folders hold the same audio again), or the source itself, any of them possibly inside
one wrapping folder.
"""

import hashlib
import io
import os
import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable
from copy import copy
from itertools import pairwise
from pathlib import Path

from singtech.corpus.download import download, in_bytes

# Zenodo record 1442513: VocalSet 1.1, Creative Commons Attribution 4.0.
ZENODO_RECORD = "https://zenodo.org/records/1442513"
ZENODO_URL = f"{ZENODO_RECORD}/files/VocalSet11.zip?download=1"
ZENODO_SIZE = 2_077_243_579
ZENODO_MD5 = "0c09396242f946e7111ad7d8fc649b81"
ZIPS = ("VocalSet11.zip", "VocalSet1-2.zip")

BASES = ("FULL", "data_by_singer")
SUFFIXES = (".wav", ".flac")
LARGEST_BYTES = 1 << 30  # of one recording's file; 100 minutes of CD sound, and no zip bomb
CHUNK_BYTES = 1 << 20

# A zip's bounds. One recording's ratio is none of them: a take of silence is honest, and deflates a thousandfold.
# Singing hardly halves, so what all recordings of a zip inflate to is bounded: by the ratio, once it is gigabytes.
LARGEST_RATIO = 100
UNSUSPICIOUS_BYTES = 1 << 32
LARGEST_DIRECTORY_BYTES = 1 << 26  # half a million names; one that is larger takes a minute and gigabytes to read
READ_COMPRESSIONS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # of the others zipfile inflates a chunk to no bound


def fetch_vocalset(
    root: str | os.PathLike, url: str = ZENODO_URL, size: int = ZENODO_SIZE, md5: str = ZENODO_MD5, **options
) -> Path:
    """What to read VocalSet from: the zip or folder that is at `root` already, or else the zip, downloaded to there.

    Args:
        root: a zip, or a folder that holds one or its unpacked content.
        url, size, md5: of the zip that is downloaded.
        options: see `download`.
    Raises:
        ConnectionError: nothing is there and the server cannot be reached.
    """
    root = Path(root).expanduser()
    found = found_at(root)
    if found is not None:
        return found
    target = root if root.suffix == ".zip" else root / ZIPS[0]
    try:
        return download(url, target, size, md5, **options)
    except ConnectionError as error:
        raise ConnectionError(
            f"VocalSet is not at {root} and {error} Bring {ZIPS[0]} from {ZENODO_RECORD} to {target} yourself, "
            "or say data.root=<where it is>, or take data=demo, which needs no download."
        ) from error


def own_recordings(root: str | os.PathLike | None) -> Path:
    """The folder or zip at `root`, which holds a person's own recordings.

    Raises:
        ValueError: no `root` is given.
        FileNotFoundError: nothing is there.
    """
    if not root:
        raise ValueError("data.root is not set: name the folder or zip that holds the recordings.")
    found = found_at(Path(root).expanduser())
    if found is None:
        raise FileNotFoundError(f"data.root={root}: nothing is there; expected a folder or a zip with recordings.")
    return found


def found_at(root: Path) -> Path | None:
    """The zip or folder to read at `root`, or None where nothing is."""
    if root.is_file():
        return root
    if root.is_dir():
        inside = [item.name for item in root.iterdir() if not item.name.startswith(".") and item.suffix != ".part"]
        zips = [name for name in inside if name.lower().endswith(".zip")]
        for name in ZIPS:
            if name in zips:
                return root / name
        if inside:
            return root / zips[0] if len(zips) == len(inside) == 1 else root
    beside = Path(f"{root}.zip")
    return beside if beside.is_file() else None


def open_source(path: str | os.PathLike, by_folders: bool = True) -> "Source":
    """The recordings in a folder or zip.

    Args:
        by_folders: see `Source`.
    Raises:
        FileNotFoundError: nothing is at `path`.
        ValueError: a zip that is damaged or unsafe, or no recording is in the layout that singtech reads.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: nothing is there; expected a folder or a zip with recordings.")
    return (FolderSource if path.is_dir() else ZipSource)(path, by_folders)


class Source:
    """Files below a base, each with a stamp that changes when its content does.

    Args:
        by_folders: whether the folders say who sings what. If not, files may lie anywhere, and the base is `path`.
    """

    def __init__(self, path: Path, stamps: dict[str, str], by_folders: bool) -> None:
        self.path = path
        kept = {name: stamp for name, stamp in stamps.items() if not _is_clutter(name)}
        self.base = _base(kept) if by_folders else ""
        self._stamps = {name[len(self.base) :]: kept[name] for name in kept if name.startswith(self.base)}
        if by_folders and not any(is_recording(name) and name.count("/") >= 2 for name in self._stamps):
            raise ValueError(f"{path}: expected <singer>/…/<technique>/<name>.wav or .flac, found {_sample(kept)}.")

    def names(self) -> list[str]:
        """Sorted paths of all files below the base, with forward slashes; hidden files and `__MACOSX` left out."""
        return sorted(self._stamps)

    def signature(self) -> str:
        """A hash of all names and stamps: cheap, for no file is read."""
        return hashlib.sha256(repr(sorted(self._stamps.items())).encode()).hexdigest()

    def size(self, name: str) -> int:
        """Bytes that a file says it has; 0 where it says nothing."""
        raise NotImplementedError

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            ValueError, OSError: they cannot be had; the sentence says why and leaves the name to the caller.
        """
        raise NotImplementedError

    def labels(self) -> None:
        """None: the folders say who sings what."""

    def close(self) -> None:
        """Let go of what is open."""

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_) -> None:
        self.close()


class FolderSource(Source):
    """A folder; links are followed, each folder is entered once."""

    def __init__(self, path: Path, by_folders: bool = True) -> None:
        stamps, entered = {}, set()
        for folder, subfolders, files in os.walk(path, followlinks=True, onerror=_raise):
            state = Path(folder).stat()
            if (state.st_dev, state.st_ino) in entered:
                subfolders.clear()
                continue
            entered.add((state.st_dev, state.st_ino))
            subfolders[:] = sorted(name for name in subfolders if not _is_clutter(name))
            for file in files:
                place = Path(folder, file)
                stamps[place.relative_to(path).as_posix()] = _stamp(place)
        super().__init__(path, stamps, by_folders)

    def size(self, name: str) -> int:
        """Bytes of a file (see `Source.size`)."""
        size, *_ = self._stamps[name].split()
        return int(size) if size.isdigit() else 0

    def read(self, name: str) -> bytes:
        """A file's bytes (see `Source.read`)."""
        place = self.path / self.base / name
        try:
            state = place.stat()
            if not stat.S_ISREG(state.st_mode):
                raise ValueError("it is no file")
            _require_readable_size(state.st_size)
            return place.read_bytes()
        except OSError as error:
            raise OSError(f"it cannot be read ({error.strerror})") from error


class ZipSource(Source):
    """A zip, read in place.

    Raises:
        ValueError: no whole zip, or one that no honest program makes: with members that point out of it, that are no
            files, that are there twice or lie over one another, or that inflate beyond all measure.
    """

    def __init__(self, path: Path, by_folders: bool = True) -> None:
        self._file = _BoundedFile(path)
        try:
            try:
                self._zip = zipfile.ZipFile(self._file)
                members = [member for member in self._zip.infolist() if not member.is_dir()]
            except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, IndexError) as error:
                size = path.stat().st_size
                whole = f", VocalSet 1.1 has {ZENODO_SIZE:,}" if path.name == ZIPS[0] and size != ZENODO_SIZE else ""
                raise ValueError(
                    f"{path}: no zip, or one that is damaged or cut short ({size:,} bytes{whole}); "
                    "bring it anew, or, if it is VocalSet, remove it to have it downloaded."
                ) from error
            _require_honest(path, self._zip)
            self._members = {_posix(member): member for member in members}
            # size and checksum, not times: the same zip elsewhere is the same source
            stamps = {name: f"{m.file_size} {m.CRC:08x}" for name, m in self._members.items()}
            super().__init__(path, stamps, by_folders)
        except BaseException:
            self.close()
            raise

    def size(self, name: str) -> int:
        """Bytes of a member (see `Source.size`)."""
        return self._members[self.base + name].file_size

    def read(self, name: str) -> bytes:
        """A member's bytes, their checksum verified (see `Source.read`)."""
        member = self._members[self.base + name]
        _require_readable_size(member.file_size)
        if member.flag_bits & 0x1:
            raise ValueError("it is encrypted")
        if member.compress_type not in READ_COMPRESSIONS:
            kind = zipfile.compressor_names.get(member.compress_type, f"kind {member.compress_type}")
            raise ValueError(f"it is compressed by {kind} in the zip; only stored and deflated ones are read")
        try:
            data = _inflated(self._zip, member)
        except Exception as error:  # zlib and zipfile raise kinds of their own for damaged data
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"it is damaged in the zip ({reason})") from error
        if len(data) != member.file_size or zlib.crc32(data) != member.CRC:
            raise ValueError("it is damaged in the zip (not the bytes that the zip's directory says)")
        return data

    def close(self) -> None:
        """Close the zip."""
        self._file.close()


class _BoundedFile(io.BufferedReader):
    """A file that is read in small pieces: zipfile asks for a zip's whole directory at once, however large."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.path = path

    def read(self, size: int | None = -1) -> bytes:
        """As any file's.

        Raises:
            ValueError: more is asked for at once than a zip's directory can honestly have.
        """
        if size is not None and size > LARGEST_DIRECTORY_BYTES:
            raise ValueError(f"{self.path}: its directory has {in_bytes(size)}; such a zip is not read.")
        return super().read(size)

    def __del__(self) -> None:
        self.close()  # as zipfile closes what it opened, without a ResourceWarning


def _inflated(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A member's bytes, at most one more than it declares.

    zipfile itself would cut what is longer to its declared size, after inflating up to two gigabytes of it.
    """
    lengthened = copy(member)
    lengthened.file_size += 1
    del lengthened.CRC  # not of the bytes asked for; the caller compares it
    data = io.BytesIO()
    with archive.open(lengthened) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            data.write(chunk)
    return data.getvalue()


def is_recording(name: str) -> bool:
    """Whether a file's name is that of a WAV or FLAC recording."""
    return name.lower().endswith(SUFFIXES)


def _posix(member: zipfile.ZipInfo) -> str:
    return member.filename.replace("\\", "/")


def _require_honest(path: Path, archive: zipfile.ZipFile) -> None:
    """That a zip's directory is one that packing a folder gives. (We do not unpack; others might.)

    Raises:
        ValueError: it is not.
    """
    members = archive.infolist()
    for member in members:
        fault = _fault(member)
        if fault:
            raise ValueError(f"{path}: its member {member.orig_filename!r} {fault}; such a zip is not read.")
    names = Counter(map(_posix, members))
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ValueError(f"{path}: its member {twice[0]!r} is there {names[twice[0]]} times; such a zip is not read.")
    placed = sorted(members, key=lambda member: member.header_offset)
    for member, following in pairwise(placed):
        # 30 bytes of the local header's fields, then the name, of which each letter takes a byte or more
        if member.header_offset + 30 + len(member.orig_filename) + member.compress_size > following.header_offset:
            both = f"{member.filename!r} and {following.filename!r}"
            raise ValueError(f"{path}: its members {both} lie over one another; such a zip is not read.")
    inflated = sum(member.file_size for member in members if is_recording(_posix(member)))
    size = path.stat().st_size
    if inflated > max(UNSUSPICIOUS_BYTES, LARGEST_RATIO * size):
        raise ValueError(
            f"{path}: its recordings would have {in_bytes(inflated)}, more than {LARGEST_RATIO} times the zip's "
            f"{in_bytes(size)}; such a zip is not read."
        )


def _fault(member: zipfile.ZipInfo) -> str:
    """What no honest member has; empty where nothing is wrong."""
    name = _posix(member)
    kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the zip was not made on a Unix
    if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in (part.strip() for part in name.split("/")):
        return "leads out of the folder"
    if any(ord(letter) < 32 for letter in member.orig_filename):
        return "has a control character in its name"
    if stat.S_ISLNK(kind):
        return "is a link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a device, pipe or socket"
    return ""


def _require_readable_size(size: int) -> None:
    if size > LARGEST_BYTES:
        raise ValueError(f"it has {in_bytes(size)}, more than the {in_bytes(LARGEST_BYTES)} that are read at once")


def _stamp(place: Path) -> str:
    """Size and time of change of a file; of a broken link, that it is one."""
    try:
        state = place.stat()
    except OSError as error:
        return f"{error.strerror}"
    return f"{state.st_size} {state.st_mtime_ns}"


def _raise(error: OSError) -> None:
    raise error


def _is_clutter(name: str) -> bool:
    """What macOS and other systems leave behind: `__MACOSX/`, `.DS_Store`, `._*`, anything hidden."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _base(names: Iterable[str]) -> str:
    """What stands before `<singer>/` in the paths: "", "FULL/", "VocalSet 1.2/data_by_singer/" …"""
    recordings = [name.split("/") for name in names if is_recording(name)]
    tops = {parts[0] for parts in recordings if len(parts) > 1}
    for base in BASES:
        if base in tops:
            return f"{base}/"
    if len(tops) == 1:
        (wrapping,) = tops
        inner = {parts[1] for parts in recordings if len(parts) > 2}
        for base in BASES:
            if base in inner:
                return f"{wrapping}/{base}/"
        # a corpus has at least two singers, so a single folder around several is no singer
        if len(inner) > 1 and all(len(parts) >= 4 for parts in recordings if len(parts) > 2):
            return f"{wrapping}/"
    return ""


def _sample(names: Iterable[str]) -> str:
    """What is there instead, in a few words."""
    names = sorted(names)
    if not names:
        return "no file"
    kinds = Counter(Path(name).suffix.lower() or "no suffix" for name in names)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))
    return f"{len(names):,} files ({listed}) such as {names[0]!r}"
