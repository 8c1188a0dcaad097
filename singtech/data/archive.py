"""Where recordings lie: VocalSet 1.1 or 1.2, or a person's own, as a zip or a folder; VocalSet is fetched if missing.

Nothing is unpacked: a zip is read where it stands. Below its base a source is laid out as
`<singer>/<context …>/<technique>/<name>.wav` (or .flac); the base is VocalSet 1.1's `FULL/`, VocalSet 1.2's
`data_by_singer/` (its other two folders hold the same audio again), or the source itself, any of them possibly inside
one wrapping folder.
"""

import hashlib
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from singtech.data.download import download, in_bytes

# Zenodo record 1442513: VocalSet 1.1, Creative Commons Attribution 4.0.
ZENODO_RECORD = "https://zenodo.org/records/1442513"
ZENODO_URL = f"{ZENODO_RECORD}/files/VocalSet11.zip?download=1"
ZENODO_SIZE = 2_077_243_579
ZENODO_MD5 = "0c09396242f946e7111ad7d8fc649b81"
ZIPS = ("VocalSet11.zip", "VocalSet1-2.zip")

BASES = ("FULL", "data_by_singer")
SUFFIXES = (".wav", ".flac")
LARGEST_BYTES = 1 << 30  # of one recording's file; 100 minutes of CD sound, and no zip bomb


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
    """What to read a person's own recordings from: the folder or zip at `root`.

    Raises:
        ValueError: no `root` is given.
        FileNotFoundError: nothing is there.
    """
    if not root:
        raise ValueError("data.root is not set: give the folder that holds <singer>/…/<technique>/<recording>.wav.")
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


def open_source(path: str | os.PathLike) -> "Source":
    """The recordings in a folder or zip.

    Raises:
        FileNotFoundError: nothing is at `path`.
        ValueError: a zip that is damaged or unsafe, or no recording is in the layout that singtech reads.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: nothing is there; expected a folder or a zip with recordings.")
    return FolderSource(path) if path.is_dir() else ZipSource(path)


class Source:
    """Files below a base, each with a stamp that changes when its content does."""

    def __init__(self, path: Path, stamps: dict[str, str]) -> None:
        self.path = path
        kept = {name: stamp for name, stamp in stamps.items() if not _is_clutter(name)}
        self.base = _base(kept)
        self._stamps = {name[len(self.base) :]: kept[name] for name in kept if name.startswith(self.base)}
        if not any(is_recording(name) and name.count("/") >= 2 for name in self._stamps):
            raise ValueError(f"{path}: expected <singer>/…/<technique>/<name>.wav or .flac, found {_sample(kept)}.")

    def names(self) -> list[str]:
        """Sorted paths of all files below the base, with forward slashes; hidden files and `__MACOSX` left out."""
        return sorted(self._stamps)

    def signature(self) -> str:
        """A hash of all names and stamps: cheap, for no file is read."""
        return hashlib.sha256(repr(sorted(self._stamps.items())).encode()).hexdigest()

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            ValueError, OSError: they cannot be had; the sentence says why and leaves the name to the caller.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what is open."""

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_) -> None:
        self.close()


class FolderSource(Source):
    """A folder; links are followed, each folder is entered once."""

    def __init__(self, path: Path) -> None:
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
        super().__init__(path, stamps)

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
        ValueError: no whole zip, or one with members that point out of it.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
            size = path.stat().st_size
            whole = f", VocalSet 1.1 has {ZENODO_SIZE:,}" if path.name == ZIPS[0] and size != ZENODO_SIZE else ""
            raise ValueError(
                f"{path}: no zip, or one that is damaged or cut short ({size:,} bytes{whole}); "
                "bring it anew, or, if it is VocalSet, remove it to have it downloaded."
            ) from error
        try:
            members = [member for member in self._zip.infolist() if not member.is_dir()]
            for member in members:
                _require_inside(path, member)
            self._members = {_posix(member): member for member in members}
            # size and checksum, not times: the same zip elsewhere is the same source
            super().__init__(path, {name: f"{m.file_size} {m.CRC:08x}" for name, m in self._members.items()})
        except ValueError:
            self.close()
            raise

    def read(self, name: str) -> bytes:
        """A member's bytes, their checksum verified (see `Source.read`)."""
        member = self._members[self.base + name]
        _require_readable_size(member.file_size)
        if member.flag_bits & 0x1:
            raise ValueError("it is encrypted")
        try:
            return self._zip.read(member)
        except Exception as error:  # zlib, lzma, bz2 and zipfile each raise kinds of their own for damaged data
            raise ValueError(f"it is damaged in the zip ({error or type(error).__name__})") from error

    def close(self) -> None:
        """Close the zip."""
        self._zip.close()


def is_recording(name: str) -> bool:
    """Whether a file's name is that of a WAV or FLAC recording."""
    return name.lower().endswith(SUFFIXES)


def _posix(member: zipfile.ZipInfo) -> str:
    return member.filename.replace("\\", "/")


def _require_inside(path: Path, member: zipfile.ZipInfo) -> None:
    """That a member would be unpacked inside the folder it is unpacked to. (We do not unpack; others might.)"""
    parts = _posix(member).split("/")
    if parts[0] == "" or parts[0].endswith(":") or ".." in parts:
        raise ValueError(f"{path}: its member {member.filename!r} leads out of the folder; such a zip is not read.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError(f"{path}: its member {member.filename!r} is a link; such a zip is not read.")


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
