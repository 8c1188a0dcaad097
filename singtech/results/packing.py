"""Pack all complete runs into one zip, without weights or sound; merge such a file into another results folder."""

import json
import logging
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from singtech.errors import Conflict, Damaged, NotThere
from singtech.io.atomic import atomic_folder, atomic_path, list_visible, set_aside, write_bytes
from singtech.io.lock import hold
from singtech.io.stored import parse_json, reading
from singtech.results.collate import CORPORA, RESULTS
from singtech.results.predictions import CONFUSION, PREDICTIONS, VALIDATION
from singtech.results.rows import COMPLETE, ROW, parse_row, read_digests, read_rows, short_digest
from singtech.results.schema import SCHEMA

log = logging.getLogger(__name__)

RUN_FILES = (ROW, "config.yaml", PREDICTIONS, VALIDATION, CONFUSION, "layers.csv")
VERSION_FILE = "singtech.json"  # holds the version of a packed file
_PATH = re.compile(rf"(runs/[^/\\:\0]+/({'|'.join(map(re.escape, RUN_FILES))})|{CORPORA}/[^/\\:\0]+\.csv)")


def pack(output_dir: Path, path: Path) -> tuple[int, int]:
    """Write rows, predictions, settings, layers and corpora into one zip; the same results give the same bytes.

    A one-line warning names each run that is left out because a file is not what its row says.

    Returns:
        The number of runs in it, and the number of those left out because they have changed or are not complete.
    Raises:
        NotThere: there is no complete run.
    """
    rows, count = read_rows(output_dir / "runs"), 0
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, VERSION_FILE, json.dumps({"schema": SCHEMA}).encode())
        for row in (each for each in rows if each["status"] == COMPLETE):
            folder = output_dir / "runs" / row["run"]
            files = {name: (folder / name).read_bytes() for name in RUN_FILES if (folder / name).is_file()}
            if fault := _find_fault(row, files):
                log.warning("%s is left out: %s.", folder, fault)
                continue
            count += 1
            for name, content in files.items():
                _add(archive, f"runs/{row['run']}/{name}", content)
        if not count:
            raise NotThere(f"{output_dir / 'runs'}: no complete run to pack. Make some with `singtech run`.")
        for corpus in list_visible(output_dir / CORPORA, ".csv"):
            _add(archive, corpus.relative_to(output_dir).as_posix(), corpus.read_bytes())
    return count, len(rows) - count


def merge(path: Path, output_dir: Path) -> tuple[int, int]:
    """Add the runs and corpora of a packed file to a results folder: all of them, or none if one contradicts it.

    Returns:
        The number of runs that were added, and of those that were there before.
    Raises:
        NotThere: there is no such file.
        Damaged, Newer: it is not a packed file, or is of a newer version.
        Conflict: the folder holds a run or corpus of the same name with other content.
    """
    if not path.is_file():
        raise NotThere(f"{path}: no such file. Make one with `singtech pack to=FILE`.")
    with reading(path, fault="is no packed file"), zipfile.ZipFile(path) as archive:
        names = _list_entries(archive)
    with zipfile.ZipFile(path) as archive, hold(output_dir / RESULTS, f"{path} is being merged"):
        runs = {name.split("/")[1] for name in names if name.startswith("runs/")}
        new = sorted(run for run in runs if not (output_dir / "runs" / run / ROW).exists())
        for name in names:
            target = output_dir / name
            is_expected = name.split("/")[1] not in new if name.startswith("runs/") else target.exists()
            if is_expected and not (target.is_file() and target.read_bytes() == archive.read(name)):
                raise Conflict(f"{target} is not what {path} holds under this name. Nothing was merged: keep one.")
        for run in new:
            if (output_dir / "runs" / run).exists():  # a copy that stopped before the row
                aside = set_aside(output_dir / "runs" / run)
                log.warning("%s has no %s: it is set aside as %s.", output_dir / "runs" / run, ROW, aside.name)
            with atomic_folder(output_dir / "runs" / run) as folder:
                for name in names:
                    if name.startswith(f"runs/{run}/"):
                        (folder / name.split("/")[2]).write_bytes(archive.read(name))
        for name in names:
            if name.startswith(CORPORA) and not (output_dir / name).exists():
                write_bytes(output_dir / name, archive.read(name))
    return len(new), len(runs) - len(new)


def _find_fault(row: Mapping, files: Mapping[str, bytes]) -> str:
    """Say which file of a run is not what its row has the digest of; "" if all are."""
    digests = read_digests(row).items()
    changed = [name for name, digest in digests if short_digest(files.get(name, b"")) != digest]
    return f"{changed[0]} has changed since the run ended, or is absent" if changed else ""


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name)  # with a fixed date, so that the same results give the same bytes
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


def _list_entries(archive: zipfile.ZipFile) -> list[str]:
    """List the entries of a packed file. Check that each is a whole results file, and each row complete."""
    names = [name for name in archive.namelist() if name != VERSION_FILE]
    unique = set(names)
    invalid = [name for name in names if not _PATH.fullmatch(name) or ".." in name.split("/")]
    if invalid or len(unique) < len(names):
        raise Damaged(f"it holds {invalid[0]!r:.80}" if invalid else "it holds a name twice")
    if archive.testzip():
        raise Damaged("its checksums are not those of its content")
    parse_json(archive.read(VERSION_FILE), SCHEMA, "schema")
    for run in sorted({name.split("/")[1] for name in names if name.startswith("runs/")}):
        row = parse_row(archive.read(f"runs/{run}/{ROW}"), Path("runs", run))
        if row is None or row["run"] != run or row["status"] != COMPLETE:
            raise Damaged(f"the row of {run} is not complete, or of another run")
        paths = {name: f"runs/{run}/{name}" for name in read_digests(row)}
        if fault := _find_fault(row, {name: archive.read(path) for name, path in paths.items() if path in unique}):
            raise Damaged(f"in {run}, {fault}")
    return names
