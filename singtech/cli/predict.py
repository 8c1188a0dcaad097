"""Name the techniques in recordings.

For each recording it writes <name>.csv, the timeline (start, end, technique, probability), <name>.json, which also has
the probabilities of each window, and <name>.png. summary.csv lists all recordings.

In the summary, the technique and probability of a recording come from the mean of its windows' logits, so they are more
certain than those of a window. In a timeline, probabilities are means over windows. Files that cannot be read are
listed and skipped. The network always names a technique, also in silence. Probabilities are not calibrated. After an
interruption, the same command continues with the remaining recordings.
"""

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from singtech.cli.options import command, option
from singtech.errors import InvalidValue, NotThere, SingtechError
from singtech.io.atomic import escape_text, write_text

SUFFIXES = (".wav", ".flac")
SUMMARY_COLUMNS = ("recording", "seconds", "technique", "probability", "timeline", "note", "problem")
SEGMENT_COLUMNS = ("start", "end", "technique", "probability")
LONGEST_PICTURE = 1800  # seconds: the picture of a longer recording is unreadable


@dataclass(kw_only=True)
class Options:
    """The options of `singtech predict`."""

    network: str = option("…", "a model folder (of singtech export, or downloaded), or a run of results.csv")
    input: str = option("…", """a WAV or FLAC file, a folder (all below it), a glob; or several: "[a.wav,'b/*']\"""")
    overlap: float = option("SHARE", "the share of a window that the next one repeats, up to 0.99", 0.5)
    to: str = option("FOLDER", "where to write; <output_dir>/predictions by default", "")
    picture: bool = option("false", "draw no pictures, which take most of the time", True)
    device: str = option("cpu", "or cuda", "cpu")
    code: str = option("FILE", "your own file with the network's classes, if it has some", "")
    output_dir: Path = option("FOLDER", "where runs are", Path("outputs"))


@command(Options)
def main(options: Options) -> int:
    """Predict and print a table; return 1 if a recording cannot be read."""
    from tabulate import tabulate

    paths = find_recordings(options.input)
    print(f"{len(paths)} recording{'s' * (len(paths) > 1)}, loading the network …", flush=True)
    predictor = load_predictor(options.network, options.output_dir, options.device, options.code)
    folder = Path(options.to or options.output_dir / "predictions")
    lines = predict_recordings(predictor, paths, folder, options.overlap, options.picture)
    columns = list(SUMMARY_COLUMNS[:5])
    print(tabulate(lines.loc[lines["problem"] == "", columns].values, columns, disable_numparse=True))
    print(*filter(None, lines["note"].unique()), sep="\n")
    print("\nThe network always names a technique, also in silence. Probabilities are not calibrated.")
    print(f"\ntimelines and summary.csv in {escape_text(folder)}")
    unreadable = lines[lines["problem"] != ""]
    if unreadable.empty:
        return 0
    print(*("skipped " + unreadable["recording"] + ": " + unreadable["problem"]), sep="\n", file=sys.stderr)
    print(f"error: {len(unreadable)} of {len(lines)} recordings could not be read.", file=sys.stderr)
    return 1


def find_recordings(names: str) -> list[Path]:
    """List the files that `input` names, each once, in order.

    Raises:
        InvalidValue: the list in brackets is wrong.
        NotThere: a name matches no file.
    """
    unique: dict[Path, None] = {}
    for name in _split_list(names):
        path = Path(name).expanduser()
        if path.is_file():
            files = [path]
        elif path.is_dir():
            files = sorted(file for file in path.rglob("*") if _is_recording(file))
        else:
            base = Path(path.anchor or ".")
            files = sorted(file for file in base.glob(str(path.relative_to(path.anchor))) if file.is_file())
        if not files:
            raise NotThere(
                f"input={name}: no recording there; expected a file, a folder or glob with some, or several of these "
                'in brackets, as in "input=[a.wav,b.wav]".'
            )
        unique |= dict.fromkeys(files)
    return list(unique)


def _split_list(names: str) -> list[str]:
    """Split a list in brackets; any other text, or the name of a file, is one item."""
    import yaml

    if not names.startswith("[") or Path(names).exists():
        return [names]
    try:
        return [str(item) for item in yaml.safe_load(names)]
    except yaml.YAMLError:
        raise InvalidValue(f"""input={names}: expected a list, as in "input=[a,'b c']".""") from None


def load_predictor(network: str, output_dir: Path, device: str, code: str = ""):
    """Load a predictor from a model folder or from the stored weights of a run.

    Args:
        code: the file with the user's own classes, if the network has some.

    Raises:
        SingtechError: `network` is neither, or is damaged; or the device is absent.
    """
    from singtech.cli.export import find_run, load_network

    row = None if Path(network).is_dir() else find_run(output_dir, network, "network")
    import torch  # takes seconds

    from singtech.inference.predictor import Predictor, load

    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    if device not in devices:
        raise InvalidValue(f"device={device}: expected {' or '.join(devices)}, which this machine has.")
    if row is None:
        return load(network, device, code or None)
    model, description = load_network(output_dir, row, code)
    return Predictor(model, description, device)


def predict_recordings(predictor, paths: Sequence[Path], folder: Path, overlap: float, picture: bool) -> pd.DataFrame:
    """Name the techniques of all recordings, write the timelines below `folder`, and return the summary.

    Stored results of the same network are reused.
    """
    from tqdm import tqdm

    from singtech.inference.predictor import find_window_starts

    find_window_starts(1, 1, overlap)  # finds a wrong overlap before the first recording
    lines: list[dict] = []
    names = _output_names(paths)
    try:
        for path in tqdm(paths, unit="recording", disable=len(paths) < 2, dynamic_ncols=True):
            line = dict.fromkeys(SUMMARY_COLUMNS, "") | {"recording": escape_text(path)}
            try:
                result = _predict_recording(predictor, path, overlap, folder / names[path], picture)
                timeline = ", ".join(f"{name} {share:.0%}" for name, share in list(result["shares"].items())[:3])
                line |= {name: result[name] for name in ("seconds", "technique", "note")} | {"timeline": timeline}
                line["probability"] = result["probabilities"][result["technique"]]
            except (SingtechError, ValueError) as problem:
                line["problem"] = " ".join(str(problem).split())
            lines.append(line)
    finally:
        summary = pd.DataFrame(lines, columns=list(SUMMARY_COLUMNS), dtype=object)
        write_text(folder / "summary.csv", summary.to_csv(index=False))
    return summary


def _predict_recording(predictor, path: Path, overlap: float, stem: Path, picture: bool) -> dict:
    """Predict one recording, write its files, the JSON last, and return the content of the JSON.

    Raises:
        SingtechError: it cannot be read, or the timeline of another recording has its name.
        OSError: a file cannot be written.
    """
    from singtech.corpus.audio import mix_to_mono, read_channels
    from singtech.inference.predictor import technique_shares

    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise InvalidValue(problem.strerror or str(problem)) from None
    origin = {"sha256": sha256, "network": predictor.fingerprint, "overlap": overlap}
    earlier = _read_result(stem)
    if earlier and Path(earlier["recording"]).absolute() != Path(escape_text(path)).absolute():
        raise InvalidValue(
            f"{escape_text(_add_suffix(stem, 'json'))} is of {earlier['recording']}; name another folder with to=FOLDER"
        )
    if earlier and earlier["made_of"] == origin:
        is_pictured = _add_suffix(stem, "png").is_file() or earlier["seconds"] > LONGEST_PICTURE
        if _add_suffix(stem, "csv").is_file() and (is_pictured or not picture):
            return earlier
    channels, header = read_channels(path.read_bytes())
    waveform, sample_rate = mix_to_mono(channels), header.sample_rate
    timeline = predictor.predict(waveform, sample_rate, overlap)
    segments = timeline.segments()
    note = _write_note(predictor, timeline.seconds)
    rows = [(round(s.start, 3), round(s.end, 3), s.technique, round(s.probability, 4)) for s in segments]
    write_text(_add_suffix(stem, "csv"), pd.DataFrame(rows, columns=list(SEGMENT_COLUMNS)).to_csv(index=False))
    if picture and timeline.seconds <= LONGEST_PICTURE:
        from singtech.results.figures import save
        from singtech.results.timeline_figure import draw_timeline

        edges, probabilities = timeline.pieces()
        title, techniques = escape_text(path.name), timeline.techniques
        figure = draw_timeline(title, waveform, sample_rate, techniques, edges, probabilities, note=note)
        save(figure, stem, kinds=("png",), dpi=110)
    result = {
        "recording": escape_text(path),
        "seconds": round(timeline.seconds, 3),
        "technique": timeline.technique,
        "note": note,
        "probabilities": _round(timeline.techniques, timeline.overall),
        "shares": {name: round(share, 4) for name, share in technique_shares(segments).items()},
        "segments": [dict(zip(SEGMENT_COLUMNS, row, strict=True)) for row in rows],
        "windows": [
            {"start": round(float(a), 3), "end": round(float(b), 3), "probabilities": _round(timeline.techniques, p)}
            for a, b, p in zip(timeline.starts, timeline.ends, timeline.probabilities, strict=True)
        ],
        "network": dict(predictor.description.origin),
        "made_of": origin,
    }
    write_text(_add_suffix(stem, "json"), json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return result


def _read_result(stem: Path) -> dict:
    """Read the stored JSON of a recording; empty if it is absent or damaged."""
    try:
        return json.loads(_add_suffix(stem, "json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
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


def _round(techniques: Sequence[str], probabilities) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(techniques, probabilities, strict=True)}


def _is_recording(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith("._") and path.is_file()
