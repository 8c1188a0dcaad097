"""Name the techniques in recordings.

Of each recording it writes <name>.csv, the timeline (start, end, technique, probability), <name>.json, which also has
the probabilities of each window, and <name>.png; of all of them summary.csv.

There and in the printed table a whole recording's technique and probability are those of the mean of its windows'
logits, which is surer than the windows are; in a timeline probabilities are means over windows. Files that cannot be
read are named and skipped. One of the techniques is always named, also where nobody sings, and probabilities are not
calibrated. The same command, given again after a stop, goes on with the recordings that are left.
"""

import csv
import hashlib
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from singtech.cli.options import command, option
from singtech.errors import InvalidValue, NotThere, SingtechError
from singtech.io.atomic import encodable, write_text

SUFFIXES = (".wav", ".flac")
SUMMARY = ("recording", "seconds", "technique", "probability", "timeline", "note", "problem")
SHOWN = 40  # recordings in the printed table
MOST_PICTURED = 1800  # seconds: a longer recording's picture would show nothing


@dataclass(kw_only=True)
class Options:
    """What `singtech predict` takes."""

    network: str = option("…", "a model folder (of singtech export, or downloaded), or a run of results.csv")
    input: list[str] = option(
        "…", """a WAV or FLAC file, a folder (all below it), a glob; or several: "[a.wav,'b/*']\""""
    )
    overlap: float = option("SHARE", "how much of a window the next one has too, up to 0.99", 0.5)
    to: str = option("FOLDER", "where to write; <output_dir>/predictions if you name none", "")
    picture: bool = option("false", "leave out the pictures, which take most of the time", True)
    device: str = option("cpu", "or cuda", "cpu", ("cpu", "cuda"))
    code: str = option("FILE", "your own file with the network's classes, where it has some", "")
    output_dir: Path = option("FOLDER", "where runs are", Path("outputs"))


@command(Options)
def main(options: Options) -> int:
    """Predict and print a table; 1 if a recording could not be read."""
    paths = recordings(options.input)
    print(f"{len(paths)} recording{'s' * (len(paths) > 1)}, loading the network …", flush=True)
    predictor = predictor_of(options.network, options.output_dir, options.device, options.code)
    folder = Path(options.to or options.output_dir / "predictions")
    lines = predict_all(predictor, paths, folder, options.overlap, options.picture)
    print(_table(lines))
    for note, count in Counter(line["note"] for line in lines if line["note"]).items():
        print(f"\n{count} recording{'s' * (count > 1)}: {note}")
    print("\nOne of the techniques is always named, and probabilities are not calibrated: silence has one too.")
    print(f"\ntimelines and summary.csv in {encodable(folder)}")
    skipped = [line for line in lines if line["problem"]]
    for line in skipped[:SHOWN]:
        print(f"skipped {line['recording']}: {line['problem']}", file=sys.stderr)
    if skipped:
        print(f"error: {len(skipped)} of {len(lines)} recordings could not be read.", file=sys.stderr)
    return int(bool(skipped))


def recordings(names: Sequence[str]) -> list[Path]:
    """The files that `input` names, each once, in order.

    Raises:
        NotThere: a name stands for no file.
    """
    unique: dict[Path, None] = {}
    for name in names:
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


def predictor_of(network: str, output_dir: Path, device: str, code: str = ""):
    """The predictor of a model folder, or of a run's stored weights.

    Args:
        code: the file with the user's own classes, where the network has some.

    Raises:
        SingtechError: it is neither, or damaged; or there is no such device.
    """
    from singtech.cli.export import find_run, trained

    is_folder = Path(network).is_dir()
    if not is_folder:
        if "/" in network and not (output_dir / "runs" / network).is_dir():
            raise NotThere(f"network={network}: no such folder; expected a model folder or the name of a run.")
        row = find_run(output_dir, network, "network")
    import torch  # takes seconds

    from singtech.inference.predictor import Predictor, load

    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidValue(f"device={device}: expected cpu, for there is no GPU here.")
    if is_folder:
        return load(network, device, code or None)
    built, description = trained(output_dir, row, code)
    return Predictor(built, description, device)


def predict_all(predictor, paths: Sequence[Path], folder: Path, overlap: float, picture: bool) -> list[dict]:
    """Name the techniques of all recordings, write the timelines below `folder`, and return a summary line each.

    A recording that an earlier call finished with the same network is taken from there.
    """
    from tqdm import tqdm

    from singtech.inference.predictor import window_starts

    window_starts(1, 1, overlap)  # a wrong overlap shows before the first recording
    lines: list[dict] = []
    names = _names(paths)
    try:
        with tqdm(paths, unit="recording", disable=len(paths) < 2, dynamic_ncols=True) as bar:
            for path in bar:
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
        write_text(folder / "summary.csv", _csv(SUMMARY, [line.values() for line in lines]))
    return lines


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
    if earlier and Path(str(earlier["recording"])).absolute() != Path(encodable(path)).absolute():
        raise InvalidValue(
            f"{encodable(_with(stem, 'json'))} is that of {earlier['recording']}; name another folder with to=FOLDER"
        )
    if _is_done(earlier, origin, stem, picture):
        return earlier
    channels, header = read_channels(path.read_bytes())
    waveform, sample_rate = mixed(channels), header.sample_rate
    timeline = predictor.predict(waveform, sample_rate, overlap)
    segments = timeline.segments()
    rows = [[round(s.start, 3), round(s.end, 3), s.technique, round(s.probability, 4)] for s in segments]
    write_text(_with(stem, "csv"), _csv(["start", "end", "technique", "probability"], rows))
    if picture and timeline.seconds <= MOST_PICTURED:
        from singtech.results.figures import save
        from singtech.results.timeline_figure import draw_timeline

        edges, probabilities = timeline.pieces()
        figure = draw_timeline(
            encodable(path.name),
            waveform,
            sample_rate,
            timeline.techniques,
            edges,
            probabilities,
            note=_note(predictor),
        )
        save(figure, stem, kinds=("png",), dpi=110)
    result = {
        "recording": encodable(path),
        "seconds": round(timeline.seconds, 3),
        "technique": timeline.technique,
        "note": " ".join(note for note in (_on_length(predictor, timeline), _note(predictor)) if note),
        "probabilities": _rounded(timeline.techniques, timeline.overall),
        "shares": {name: round(share, 4) for name, share in shares(segments).items()},
        "segments": [dict(zip(("start", "end", "technique", "probability"), row, strict=True)) for row in rows],
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
        result = json.loads(_with(stem, "json").read_text(encoding="utf-8"))
        return result if {"made_of", "note", "recording", "seconds", "shares"} <= set(result) else {}
    except (OSError, ValueError, TypeError):
        return {}


def _is_done(earlier: dict, origin: dict, stem: Path, picture: bool) -> bool:
    """Whether an earlier prediction has the same origin and all its files."""
    if not earlier or earlier["made_of"] != origin or not _with(stem, "csv").is_file():
        return False
    return not picture or earlier["seconds"] > MOST_PICTURED or _with(stem, "png").is_file()


def _on_length(predictor, timeline) -> str:
    window = predictor.description.samples / predictor.description.sample_rate
    return f"Shorter than a window of {window:g} s: the rest is silence." if timeline.seconds < window else ""


def _note(predictor) -> str:
    """A warning about networks that learned from synthetic voices."""
    is_demo = predictor.description.origin.get("data") == "demo"
    return "The network learned from synthetic voices: this says nothing about singers." if is_demo else ""


def _names(paths: Sequence[Path]) -> dict[Path, Path]:
    """A name below the output folder for each recording: its path below their common folder, made unique."""
    full = {path: path.absolute() for path in paths}
    base = Path(os.path.commonpath([path.parent for path in full.values()]))
    names: dict[Path, Path] = {}
    taken = {"summary"}
    for path, absolute in full.items():
        name = absolute.relative_to(base).with_suffix("")
        while str(name).casefold() in taken:
            name = name.with_name(f"{name.name}_{absolute.suffix.lstrip('.')}")
        taken.add(str(name).casefold())
        names[path] = name
    return names


def _with(stem: Path, suffix: str) -> Path:
    return stem.with_name(f"{stem.name}.{suffix}")


def _rounded(techniques: Sequence[str], probabilities) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(techniques, probabilities, strict=True)}


def _is_recording(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith("._") and path.is_file()


def _csv(header: Sequence[str], lines) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([header, *lines])
    return file.getvalue()


def _table(lines: Sequence[dict]) -> str:
    from tabulate import tabulate

    named = [line for line in lines if not line["problem"]]
    header = SUMMARY[:5]
    table = tabulate([[line[name] for name in header] for line in named[:SHOWN]], header, disable_numparse=True)
    return table + (f"\n… and {len(named) - SHOWN} more" if len(named) > SHOWN else "")


if __name__ == "__main__":
    sys.exit(main())
