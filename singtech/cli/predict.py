"""Name the techniques in recordings.

Of each recording it writes <name>.csv, the timeline (start, end, technique, probability), <name>.json, which also has
the probabilities of each window, and <name>.png; of all of them summary.csv.

There and in the printed table a whole recording's technique and probability are those of the mean of its windows'
logits, which is surer than the windows are; in a timeline probabilities are means over windows. Files that cannot be
read are named and skipped. One of the techniques is always named, also where nobody sings, and probabilities are not
calibrated. The same command, given again after a stop, goes on with the recordings that are left.
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
from singtech.io.atomic import encodable, write_text

SUFFIXES = (".wav", ".flac")
SUMMARY = ("recording", "seconds", "technique", "probability", "timeline", "note", "problem")
SEGMENT = ("start", "end", "technique", "probability")
MOST_PICTURED = 1800  # seconds: a longer recording's picture would show nothing


@dataclass(kw_only=True)
class Options:
    """What `singtech predict` takes."""

    network: str = option("…", "a model folder (of singtech export, or downloaded), or a run of results.csv")
    input: str = option("…", """a WAV or FLAC file, a folder (all below it), a glob; or several: "[a.wav,'b/*']\"""")
    overlap: float = option("SHARE", "how much of a window the next one has too, up to 0.99", 0.5)
    to: str = option("FOLDER", "where to write; <output_dir>/predictions if you name none", "")
    picture: bool = option("false", "leave out the pictures, which take most of the time", True)
    device: str = option("cpu", "or cuda", "cpu")
    code: str = option("FILE", "your own file with the network's classes, where it has some", "")
    output_dir: Path = option("FOLDER", "where runs are", Path("outputs"))


@command(Options)
def main(options: Options) -> int:
    """Predict and print a table; 1 if a recording could not be read."""
    from tabulate import tabulate

    paths = recordings(options.input)
    print(f"{len(paths)} recording{'s' * (len(paths) > 1)}, loading the network …", flush=True)
    predictor = predictor_of(options.network, options.output_dir, options.device, options.code)
    folder = Path(options.to or options.output_dir / "predictions")
    lines = predict_all(predictor, paths, folder, options.overlap, options.picture)
    columns = list(SUMMARY[:5])
    print(tabulate(lines.loc[lines["problem"] == "", columns].values, columns, disable_numparse=True))
    print(*filter(None, lines["note"].unique()), sep="\n")
    print("\nOne of the techniques is always named, and probabilities are not calibrated: silence has one too.")
    print(f"\ntimelines and summary.csv in {encodable(folder)}")
    skipped = lines[lines["problem"] != ""]
    if skipped.empty:
        return 0
    print(*("skipped " + skipped["recording"] + ": " + skipped["problem"]), sep="\n", file=sys.stderr)
    print(f"error: {len(skipped)} of {len(lines)} recordings could not be read.", file=sys.stderr)
    return 1


def recordings(names: str) -> list[Path]:
    """The files that `input` names, each once, in order.

    Raises:
        InvalidValue: it is no list in brackets.
        NotThere: a name stands for no file.
    """
    unique: dict[Path, None] = {}
    for name in _items(names):
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


def _items(names: str) -> list[str]:
    """The items of a list in brackets; any other text, or what a file is called, is one item."""
    import yaml

    if not names.startswith("[") or Path(names).exists():
        return [names]
    try:
        return [str(item) for item in yaml.safe_load(names)]
    except yaml.YAMLError:
        raise InvalidValue(f"""input={names}: expected a list, as in "input=[a,'b c']".""") from None


def predictor_of(network: str, output_dir: Path, device: str, code: str = ""):
    """The predictor of a model folder, or of a run's stored weights.

    Args:
        code: the file with the user's own classes, where the network has some.

    Raises:
        SingtechError: it is neither, or damaged; or there is no such device.
    """
    from singtech.cli.export import find_run, trained

    row = None if Path(network).is_dir() else find_run(output_dir, network, "network")
    import torch  # takes seconds

    from singtech.inference.predictor import Predictor, load

    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    if device not in devices:
        raise InvalidValue(f"device={device}: expected {' or '.join(devices)}, which this machine has.")
    if row is None:
        return load(network, device, code or None)
    built, description = trained(output_dir, row, code)
    return Predictor(built, description, device)


def predict_all(predictor, paths: Sequence[Path], folder: Path, overlap: float, picture: bool) -> pd.DataFrame:
    """Name the techniques of all recordings, write the timelines below `folder`, and return the summary.

    A recording that an earlier call finished with the same network is taken from there.
    """
    from tqdm import tqdm

    from singtech.inference.predictor import window_starts

    window_starts(1, 1, overlap)  # a wrong overlap shows before the first recording
    lines: list[dict] = []
    names = _names(paths)
    try:
        for path in tqdm(paths, unit="recording", disable=len(paths) < 2, dynamic_ncols=True):
            line = dict.fromkeys(SUMMARY, "") | {"recording": encodable(path)}
            try:
                result = _predict_one(predictor, path, overlap, folder / names[path], picture)
                timeline = ", ".join(f"{name} {share:.0%}" for name, share in list(result["shares"].items())[:3])
                line |= {name: result[name] for name in ("seconds", "technique", "note")} | {"timeline": timeline}
                line["probability"] = result["probabilities"][result["technique"]]
            except (SingtechError, ValueError) as problem:
                line["problem"] = " ".join(str(problem).split())
            lines.append(line)
    finally:
        summary = pd.DataFrame(lines, columns=list(SUMMARY), dtype=object)
        write_text(folder / "summary.csv", summary.to_csv(index=False))
    return summary


def _predict_one(predictor, path: Path, overlap: float, stem: Path, picture: bool) -> dict:
    """Predict one recording, write its files, the JSON last, and return what the JSON holds.

    Raises:
        SingtechError: it cannot be read, or another recording's timeline has its name.
        OSError: a file cannot be written.
    """
    from singtech.corpus.audio import mixed, read_channels
    from singtech.inference.predictor import shares

    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise InvalidValue(problem.strerror or str(problem)) from None
    origin = {"sha256": sha256, "network": predictor.fingerprint, "overlap": overlap}
    earlier = _read_result(stem)
    if earlier and Path(earlier["recording"]).absolute() != Path(encodable(path)).absolute():
        raise InvalidValue(
            f"{encodable(_with(stem, 'json'))} is that of {earlier['recording']}; name another folder with to=FOLDER"
        )
    if earlier and earlier["made_of"] == origin:
        is_pictured = _with(stem, "png").is_file() or earlier["seconds"] > MOST_PICTURED
        if _with(stem, "csv").is_file() and (is_pictured or not picture):
            return earlier
    channels, header = read_channels(path.read_bytes())
    waveform, sample_rate = mixed(channels), header.sample_rate
    timeline = predictor.predict(waveform, sample_rate, overlap)
    segments = timeline.segments()
    note = _note(predictor, timeline.seconds)
    rows = [(round(s.start, 3), round(s.end, 3), s.technique, round(s.probability, 4)) for s in segments]
    write_text(_with(stem, "csv"), pd.DataFrame(rows, columns=list(SEGMENT)).to_csv(index=False))
    if picture and timeline.seconds <= MOST_PICTURED:
        from singtech.results.figures import save
        from singtech.results.timeline_figure import draw_timeline

        edges, shown = timeline.pieces()
        title, techniques = encodable(path.name), timeline.techniques
        figure = draw_timeline(title, waveform, sample_rate, techniques, edges, shown, note=note)
        save(figure, stem, kinds=("png",), dpi=110)
    result = {
        "recording": encodable(path),
        "seconds": round(timeline.seconds, 3),
        "technique": timeline.technique,
        "note": note,
        "probabilities": _rounded(timeline.techniques, timeline.overall),
        "shares": {name: round(share, 4) for name, share in shares(segments).items()},
        "segments": [dict(zip(SEGMENT, row, strict=True)) for row in rows],
        "windows": [
            {"start": round(float(a), 3), "end": round(float(b), 3), "probabilities": _rounded(timeline.techniques, p)}
            for a, b, p in zip(timeline.starts, timeline.ends, timeline.probabilities, strict=True)
        ],
        "network": dict(predictor.description.origin),
        "made_of": origin,
    }
    write_text(_with(stem, "json"), json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return result


def _read_result(stem: Path) -> dict:
    """The JSON of a recording's earlier prediction; empty if it is absent or damaged."""
    try:
        return json.loads(_with(stem, "json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _note(predictor, seconds: float) -> str:
    """Warn about a recording shorter than a window, and about networks that learned from synthetic voices."""
    window = predictor.description.samples / predictor.description.sample_rate
    notes = [f"Shorter than a window of {window:g} s: the rest is silence."] if seconds < window else []
    if predictor.description.origin.get("data") == "demo":
        notes.append("The network learned from synthetic voices: this says nothing about singers.")
    return " ".join(notes)


def _names(paths: Sequence[Path]) -> dict[Path, Path]:
    """A name below the output folder for each recording: its path below their common folder.

    It is without the suffix, unless two recordings differ in that alone or it is the summary's.
    """
    full = [path.absolute() for path in paths]
    base = Path(os.path.commonpath([path.parent for path in full]))
    whole = {path: absolute.relative_to(base) for path, absolute in zip(paths, full, strict=True)}
    stems = {path: str(name.with_suffix("")).casefold() for path, name in whole.items()}
    uses = Counter([*stems.values(), "summary"])
    return {path: name.with_suffix("") if uses[stems[path]] == 1 else name for path, name in whole.items()}


def _with(stem: Path, suffix: str) -> Path:
    return stem.with_name(f"{stem.name}.{suffix}")


def _rounded(techniques: Sequence[str], probabilities) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(techniques, probabilities, strict=True)}


def _is_recording(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith("._") and path.is_file()
