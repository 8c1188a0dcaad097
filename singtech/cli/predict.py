"""Name the techniques in recordings.

For each recording it writes <name>.csv, the timeline (start, end, technique, probability), the same as <name>.TextGrid
for Praat and <name>.txt for Audacity and Sonic Visualiser, <name>.json, which also has the probabilities of each
window, and <name>.png. summary.csv lists all recordings.

The technique of a recording is the one that its timeline names for most of the time; its probability is the mean over
this time. Where the sound is below the gate, the timeline says silence, which is no technique of a recording. Elsewhere
the network always names a technique, also in noise or speech. Probabilities are not calibrated.

It reads WAV, FLAC, MP3, Ogg, Opus, AIFF and whatever else libsndfile reads, and with ffmpeg on the PATH also M4A and
others. Files that cannot be read are listed and skipped. After an interruption, the same command continues with the
remaining recordings.
"""

import contextlib
import errno
import functools
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from singtech.cli.options import command, option
from singtech.errors import InvalidValue, NotThere, SingtechError, require
from singtech.io.atomic import escape_text, expand_home, hash_file, write_text
from singtech.io.stored import hash_values, reading
from singtech.io.terminal import format_table, progress_bar
from singtech.loading import load_network
from singtech.results.collate import find_run

SUMMARY_COLUMNS = ("recording", "seconds", "technique", "probability", "timeline", "note", "problem")
SEGMENT_COLUMNS = ("start", "end", "technique", "probability")
TIMELINES = ("csv", "txt", "TextGrid")
PICTURES = ("png", "pdf", "svg")
MOST_PICTURES = 50  # recordings of which pictures are drawn by default
LONGEST_PICTURE = 1800  # seconds: the picture of a longer recording is unreadable
_ELSEWHERE = "name another folder with to=FOLDER"


@dataclass(kw_only=True)
class Options:
    """The options of `singtech predict`."""

    network: str = option("…", "a model folder (of singtech export, or downloaded), or a run of results.csv")
    input: str = option("…", """a recording, a folder (all below it), a glob; or several: "[a.wav,'b/*']\"""")
    overlap: float = option("SHARE", "the share of a window that the next one repeats, up to 0.99", 0.5)
    gate: float | None = option("DBFS", "level (RMS) below which sound counts as silence, or null: never", -70.0)
    to: str = option("FOLDER", "where to write; <output_dir>/predictions by default", "")
    pictures: str = option(
        "KINDS",
        f"png, pdf or svg, or several: [png,pdf]; true (png) or false. Pictures take most of the time, so that by "
        f"default there are none of more than {MOST_PICTURES} recordings",
        "",
    )
    device: str = option("cpu", "or cuda", "cpu")
    code: str = option("FILE", "your own file with the network's classes, if it has some", "")
    output_dir: Path = option("FOLDER", "where runs are", Path("outputs"))


@command(Options)
def main(options: Options) -> int:
    """Predict and print a table; return 1 if a recording has no timeline."""
    paths = find_recordings(options.input)
    pictures = choose_pictures(options.pictures, len(paths))
    print(f"{len(paths):,} recording{'s' * (len(paths) > 1)}, loading the network …", flush=True)
    if not (pictures or options.pictures):
        print(f"more than {MOST_PICTURES} recordings: no pictures; pictures=true draws them.", flush=True)
    predictor = load_predictor(options.network, options.output_dir, options.device, options.code)
    folder = Path(options.to or options.output_dir / "predictions")
    lines = predict_recordings(predictor, paths, folder, options.overlap, options.gate, pictures)
    columns = list(SUMMARY_COLUMNS[:5])
    shown = lines.loc[lines["problem"] == "", columns]
    common = os.path.commonpath([path.absolute().parent for path in paths])
    shown = shown.assign(recording=[os.path.relpath(name, common) for name in shown["recording"]])
    print(format_table(columns, shown.to_numpy(), ends_in_words=True))
    print(*filter(None, lines["note"].unique()), sep="\n")
    print("\nWherever there is sound, the network names a technique. Probabilities are not calibrated.")
    print(f"\ntimelines and summary.csv in {escape_text(folder)}")
    unreadable = lines[lines["problem"] != ""]
    if unreadable.empty:
        return 0
    print(*("skipped " + unreadable["recording"] + ": " + unreadable["problem"]), sep="\n", file=sys.stderr)
    print(f"error: {len(unreadable)} of {len(lines)} recordings have no timeline.", file=sys.stderr)
    return 1


def choose_pictures(kinds: str, recordings: int) -> tuple[str, ...]:
    """Return the kinds of pictures that `pictures` names; by default PNG of a few recordings, and none of many.

    Raises:
        InvalidValue: it names another kind.
    """
    names = tuple(name.strip() for name in kinds.strip("[]").split(","))
    if set(names) <= set(PICTURES):
        return names
    expected = "png, pdf, svg, several as in [png,pdf], true or false"
    require(kinds in ("", "true", "false"), "pictures", kinds, expected)
    return ("png",) if kinds == "true" or (not kinds and recordings <= MOST_PICTURES) else ()


def find_recordings(names: str) -> list[Path]:
    """List the files that `input` names, each once, in order.

    Raises:
        InvalidValue: the list in brackets is wrong.
        NotThere: a name matches no file.
    """
    unique: dict[Path, None] = {}
    for name in _split_list(names):
        path = expand_home(name)
        if path.is_dir():
            files = _list_folder(path)
        elif os.path.lexists(path):  # links without a target are listed and skipped
            files = [path]
        else:
            base = Path(path.anchor or ".")
            try:
                files = sorted(file for file in base.glob(str(path.relative_to(base))) if not file.is_dir())
            except ValueError:
                raise InvalidValue(f"input={name}: expected ** between slashes alone, as in b/**/*.wav.") from None
        if not files:
            raise NotThere(
                f"input={name}: no recording there; expected a file, a folder or glob with some, or several of these "
                'in brackets, as in "input=[a.wav,b.wav]".'
            )
        unique |= dict.fromkeys(files)
    return list(unique)


def _list_folder(path: Path) -> list[Path]:
    """List all recordings below a folder, and the folders that cannot be read; each linked folder counts once."""
    from singtech.inference.recordings import is_recording

    unreadable: list[OSError] = []
    files, targets = [], set()
    for folder, folders, names in os.walk(path, onerror=unreadable.append, followlinks=True):
        folders.sort()
        if (target := Path(folder).resolve()) in targets:
            folders.clear()
        else:
            files += [Path(folder, name) for name in names]
        targets.add(target)
    return sorted([*filter(is_recording, files), *(Path(problem.filename) for problem in unreadable)])


def _split_list(names: str) -> list[str]:
    """Split a list in brackets; any other text, or the name of a file, is one item."""
    import yaml

    if not names.startswith("[") or os.path.lexists(names):
        return [names]
    with contextlib.suppress(yaml.YAMLError):
        if items := yaml.safe_load(names):
            return [str(item) for item in items]
    raise InvalidValue(f"""input={names}: expected a list, as in "input=[a,'b c']".""")


def load_predictor(network: str, output_dir: Path, device: str, code: str = ""):
    """Load a predictor from a model folder or from the stored weights of a run.

    Args:
        code: the file with the user's own classes, if the network has some.
    Raises:
        SingtechError: `network` is neither, or is damaged; or the device is absent.
    """
    row = None if Path(network).is_dir() else find_run(output_dir, network, "network")
    from singtech.inference.predictor import Predictor, load  # imports torch, which takes seconds

    if row is None:
        return load(network, device, code or None)
    model, description = load_network(output_dir, row, code)
    return Predictor(model, description, device)


def predict_recordings(
    predictor, paths: Sequence[Path], folder: Path, overlap: float, gate: float | None, pictures: Sequence[str]
) -> pd.DataFrame:
    """Name the techniques of all recordings, write the timelines below `folder`, and return the summary.

    Stored results of the same network are reused.
    """
    from singtech.inference.predictor import check_options

    check_options(overlap, gate)
    lines: list[dict] = []
    names, settings = _output_names(paths), {"overlap": overlap, "gate": gate}
    sizes = [path.stat().st_size if os.access(path, os.R_OK) else 0 for path in paths]
    bar = progress_bar("recordings", "bytes", total=sum(sizes), unit_scale=True)
    try:
        for number, (path, size) in enumerate(zip(paths, sizes, strict=True), 1):
            bar.set_description_str(f"recording {number:,} of {len(paths):,}", refresh=False)
            done = bar.n
            line = dict.fromkeys(SUMMARY_COLUMNS, "") | {"recording": escape_text(path)}
            try:
                advance = functools.partial(lambda whole, share: bar.update(share * whole), size)
                result = _predict_recording(predictor, path, settings, folder / names[path], pictures, advance)
                timeline = ", ".join(f"{name} {share:.0%}" for name, share in list(result["shares"].items())[:3])
                line |= {name: result[name] for name in ("seconds", "technique", "note")} | {"timeline": timeline}
                line["probability"] = "" if result["probability"] is None else result["probability"]
            except SingtechError as problem:
                line["problem"] = " ".join(str(problem).split())
            except OSError as problem:
                if problem.errno != errno.ENAMETOOLONG:
                    raise
                line["problem"] = "its name is too long for those of its timelines"
            lines.append(line)
            bar.update(done + size - bar.n)
    finally:
        bar.close()
        summary = pd.DataFrame(lines, columns=list(SUMMARY_COLUMNS), dtype=object)
        write_text(folder / "summary.csv", summary.to_csv(index=False))
    return summary


def _predict_recording(
    predictor, path: Path, settings: dict, stem: Path, pictures: Sequence[str], advance: Callable[[float], object]
) -> dict:
    """Predict one recording, write its files, the JSON last, and return the content of the JSON.

    Args:
        settings: overlap and gate.
        advance: is called with the share of the work that is done.
    Raises:
        SingtechError: it cannot be read, or the timeline of another recording has its name.
        OSError: a file cannot be written.
    """
    from singtech.inference.labels import format_labels, format_text_grid
    from singtech.inference.predictor import technique_shares
    from singtech.inference.recordings import open_recording

    earlier = _read_result(stem, (*TIMELINES, *pictures))
    if earlier and Path(earlier["recording"]).absolute() != Path(escape_text(path)).absolute():
        raise InvalidValue(f"{escape_text(_add_suffix(stem, 'json'))} is of {earlier['recording']}; {_ELSEWHERE}")
    try:
        if earlier and earlier["made_of"] == _describe_origin(predictor, path, settings):
            kinds = (*TIMELINES, *(pictures if earlier["seconds"] <= LONGEST_PICTURE else ()))
            if {kind: earlier["files"].get(kind) for kind in kinds} == _hash_files(stem, kinds):
                return earlier
        with open_recording(path) as (sample_rate, samples, blocks):  # a wrong header is found before all is read
            origin = _describe_origin(predictor, path, settings)
            blocks = _watch(blocks, samples, advance)
            timeline = predictor.predict(blocks, sample_rate, settings["overlap"], settings["gate"])
    except OSError as problem:
        raise InvalidValue(problem.strerror or str(problem)) from None
    segments = timeline.segments()
    shares = technique_shares(segments)
    note = _write_note(predictor, timeline.seconds)
    rows = [(round(s.start, 3), round(s.end, 3), s.technique, _round(s.probability)) for s in segments]
    if not earlier:  # so that the files of an interrupted command are known as ours
        write_text(_add_suffix(stem, "json"), json.dumps({"recording": escape_text(path), "made_of": None}))
    write_text(_add_suffix(stem, "csv"), pd.DataFrame(rows, columns=list(SEGMENT_COLUMNS)).to_csv(index=False))
    write_text(_add_suffix(stem, "txt"), format_labels(segments))
    write_text(_add_suffix(stem, "TextGrid"), format_text_grid(segments))
    if pictures and timeline.seconds <= LONGEST_PICTURE:
        from singtech.results.figures import save
        from singtech.results.timeline_figure import draw_timeline

        name, share = timeline.technique.replace("_", " "), shares[timeline.technique]
        title = f"{escape_text(path.name)}: {name} for {share:.0%} of {timeline.seconds:.1f} s"
        edges, values = timeline.pieces()
        with open_recording(path) as (rate, _, blocks):
            figure = draw_timeline(title, blocks, rate, timeline.techniques, edges, values, timeline.silent, note)
        save(figure, stem, kinds=pictures)
    windows = timeline.starts.tolist(), timeline.ends.tolist(), timeline.probabilities
    result = {
        "recording": escape_text(path),
        "seconds": round(timeline.seconds, 3),
        "technique": timeline.technique,
        "probability": _round(timeline.probability),
        "note": note,
        "shares": {name: round(share, 4) for name, share in shares.items()},
        "mean_probabilities": _name_values(timeline.techniques, timeline.overall),
        "segments": [dict(zip(SEGMENT_COLUMNS, row, strict=True)) for row in rows],
        "windows": [
            {"start": round(start, 3), "end": round(end, 3), "probabilities": _name_values(timeline.techniques, values)}
            for start, end, values in zip(*windows, strict=True)
        ],
        "network": dict(predictor.description.origin),
        "made_of": origin,
        "files": _hash_files(stem, (*TIMELINES, *pictures)),
    }
    result["digest"] = hash_values(result)
    write_text(_add_suffix(stem, "json"), json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return result


def _describe_origin(predictor, path: Path, settings: dict) -> dict:
    """Return all that decides what is written about a recording."""
    return {"sha256": hash_file(path), "network": predictor.fingerprint, **settings}


def _hash_files(stem: Path, suffixes: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of each of a recording's other files that exists."""
    paths = {suffix: _add_suffix(stem, suffix) for suffix in suffixes}
    return {suffix: hash_file(path) for suffix, path in paths.items() if path.is_file()}


def _watch(blocks: Iterator[np.ndarray], samples: int, advance: Callable[[float], object]) -> Iterator[np.ndarray]:
    """Yield blocks, and tell the share of each."""
    for block in blocks:
        yield block
        advance(len(block) / samples)


def _read_result(stem: Path, suffixes: Sequence[str]) -> dict:
    """Read the stored JSON of a recording; empty if it is absent, and with made_of null if it is not whole.

    Args:
        suffixes: of the other files that will be written.
    Raises:
        Damaged, InvalidValue: a file to be written exists, and predict did not write it.
    """
    path, fault = _add_suffix(stem, "json"), "exists, and predict did not write it"
    if path.exists():
        with reading(Path(escape_text(path)), _ELSEWHERE, fault):
            result = json.loads(path.read_bytes())
            if not isinstance(result["recording"], str):
                raise ValueError("its recording is no text")
            is_whole = result["made_of"] and result.get("digest") == hash_values(result)  # earlier ones have none
            return result if is_whole else result | {"made_of": None}
    for other in (_add_suffix(stem, suffix) for suffix in suffixes):
        if other.exists():
            raise InvalidValue(f"{escape_text(other)} {fault}; {_ELSEWHERE}.")
    return {}


def _write_note(predictor, seconds: float) -> str:
    """Warn about a recording shorter than a window, and about a network trained on synthetic voices."""
    window = predictor.description.samples / predictor.description.sample_rate
    notes = [f"Shorter than a window of {window:g} s: padded with silence."] if seconds < window else []
    if predictor.description.origin.get("data") == "demo":
        notes.append("The network learned from synthetic voices: this is no evidence about singers.")
    return " ".join(notes)


def _output_names(paths: Sequence[Path]) -> dict[Path, Path]:
    """Name the output of each recording: its path below the common folder of all.

    The name has no suffix, unless two recordings differ only in the suffix or it equals the summary's.
    """
    absolute_paths = [path.absolute() for path in paths]
    base = Path(os.path.commonpath([path.parent for path in absolute_paths]))
    relative = {path: absolute.relative_to(base) for path, absolute in zip(paths, absolute_paths, strict=True)}
    stems = {path: str(name.with_suffix("")).casefold() for path, name in relative.items()}
    counts = Counter([*stems.values(), "summary"])
    return {path: name.with_suffix("") if counts[stems[path]] == 1 else name for path, name in relative.items()}


def _add_suffix(stem: Path, suffix: str) -> Path:
    return stem.with_name(f"{stem.name}.{suffix}")


def _name_values(techniques: Sequence[str], values) -> dict[str, float | None]:
    return {name: _round(value) for name, value in zip(techniques, values, strict=True)}


def _round(value: float) -> float | None:
    """Round a probability; None in silence, where there is none."""
    return None if math.isnan(value) else round(float(value), 4)
