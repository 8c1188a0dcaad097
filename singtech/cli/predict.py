"""Name the techniques in recordings: singtech predict network=FOLDER_OR_RUN input=FILE_FOLDER_OR_GLOB …

    network=…           a model folder (singtech.cli.export, or downloaded), or a run of results.csv
    input=…             a WAV or FLAC file, a folder (all below it), a glob; or several: "input=[a.wav,'b/*.flac']"
    overlap=0.5         share of a window that it has in common with the next, up to 0.99
    to=FOLDER           where to write, by default <output_dir>/predictions
    picture=false       leaves out the pictures, which take most of the time
    device=cpu          or cuda
    code=FILE           your own file with the network's classes, where it has some: mine.py
    output_dir=FOLDER   where runs are, outputs by default

Of each recording it writes <name>.csv, the timeline (start, end, technique, probability), <name>.json, which also has
the probabilities of each window, and <name>.png; of all of this call summary.csv. There and in the printed table a
whole recording's technique and probability are those of the mean of its windows' logits, which is surer of itself than
the windows are; in a timeline probabilities are means over windows. What cannot be read is named and skipped. One of
the techniques is always named, also where nobody sings, and probabilities are not calibrated.
Stopped and given again, it goes on with the recordings that it has not done.
"""

import csv
import hashlib
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from singtech.components import ComponentError, outside_line
from singtech.io.atomic import write_text
from singtech.io.interrupts import quietly_interrupted

DEFAULTS = {
    **{"network": None, "input": None, "overlap": 0.5, "to": None, "picture": True, "device": "cpu", "code": None},
    "output_dir": "outputs",
}
SUFFIXES = (".wav", ".flac")
SUMMARY = ("recording", "seconds", "technique", "probability", "timeline", "note", "problem")
SHOWN = 40  # recordings in the printed table
MOST_PICTURED = 1800  # seconds: a longer recording's picture would show nothing


@quietly_interrupted
def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0, or 1 with one sentence, or if a recording could not be read."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        options = _options(arguments)
        paths = recordings(options["input"])
        print(f"{len(paths)} recording{'s' * (len(paths) > 1)}, loading the network …", flush=True)
        predictor = predictor_of(
            str(options["network"]), Path(options["output_dir"]), str(options["device"]), options["code"]
        )
        to = Path(options["to"] or Path(options["output_dir"]) / "predictions")
        lines = predict_all(predictor, paths, to, float(options["overlap"]), bool(options["picture"]))
    except Exception as error:
        place = outside_line(error)
        if not place and not isinstance(error, OSError | ValueError | ComponentError):
            raise
        own = f"{place}: {type(error).__name__}: " if place and not isinstance(error, ComponentError) else ""
        print(f"error: {own}{' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(_table(lines))
    for note, count in Counter(line["note"] for line in lines if line["note"]).items():
        print(f"\n{count} recording{'s' * (count > 1)}: {note}")
    print("\nOne of the techniques is always named, and probabilities are not calibrated: silence has one too.")
    print(f"\ntimelines and summary.csv in {to}")
    skipped = [line for line in lines if line["problem"]]
    for line in skipped[:SHOWN]:
        print(f"skipped {line['recording']}: {line['problem']}", file=sys.stderr)
    if skipped:
        print(f"error: {len(skipped)} of {len(lines)} recordings could not be read.", file=sys.stderr)
    return int(bool(skipped))


def recordings(asked: str | Sequence[str]) -> list[Path]:
    """The files that `input` names, each once, in order.

    Raises:
        FileNotFoundError: a name that stands for nothing.
    """
    found: dict[Path, None] = {}
    for name in [asked] if isinstance(asked, str) else asked:
        path = Path(str(name)).expanduser()
        if path.is_file():
            files = [path]
        elif path.is_dir():
            files = sorted(file for file in path.rglob("*") if _is_recording(file))
        else:
            base = Path(path.anchor or ".")
            files = sorted(file for file in base.glob(str(path.relative_to(path.anchor))) if file.is_file())
        if not files:
            raise FileNotFoundError(
                f"input={name}: no recording there; expected a file, or a folder or glob with some."
            )
        found |= dict.fromkeys(files)
    return list(found)


def predictor_of(network: str, output_dir: Path, device: str, code: str | None = None):
    """The predictor of a model folder, or of a run's stored weights.

    Args:
        code: the file with the person's own classes, where the network has some.

    Raises:
        ValueError, OSError: it is neither, or damaged; or there is no such device.
    """
    from singtech.cli.export import find_run, trained

    is_folder = Path(network).is_dir()
    if not is_folder:
        if "/" in network and not (output_dir / "runs" / network).is_dir():
            raise FileNotFoundError(f"network={network}: no such folder; expected a model folder or the name of a run.")
        row = find_run(output_dir, network, "network")
    import torch  # takes seconds

    from singtech.inference.predictor import Predictor, load

    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise ValueError(f"device={device}: expected cpu{', or cuda' if torch.cuda.is_available() else ''} here.")
    return load(network, device, code) if is_folder else Predictor(*trained(output_dir, row, code), device)


def predict_all(predictor, paths: Sequence[Path], to: Path, overlap: float, picture: bool) -> list[dict]:
    """Name all recordings, one at a time, and write what was heard below `to`; a line of the summary each.

    What an earlier call, stopped or not, has written there of the same recording by the same network is taken as it is.
    """
    from tqdm import tqdm

    from singtech.inference.predictor import window_starts

    window_starts(1, 1, overlap)  # a wrong overlap is told before the first recording
    lines: list[dict] = []
    names = _names(paths)
    try:
        with tqdm(paths, unit="recording", disable=len(paths) < 2, dynamic_ncols=True) as bar:
            for path in bar:
                line = dict.fromkeys(SUMMARY, "") | {"recording": str(path)}
                try:
                    told = _heard(predictor, path, overlap, to / names[path], picture)
                    timeline = ", ".join(f"{name} {share:.0%}" for name, share in list(told["shares"].items())[:3])
                    line |= {name: told[name] for name in ("seconds", "technique")} | {"timeline": timeline}
                    line |= {"probability": told["probabilities"][told["technique"]], "note": told["note"]}
                except ValueError as problem:
                    line["problem"] = " ".join(str(problem).split())
                lines.append(line)
    finally:
        write_text(to / "summary.csv", _csv(SUMMARY, [line.values() for line in lines]))
    return lines


def _heard(predictor, path: Path, overlap: float, stem: Path, picture: bool) -> dict:
    """Read, name and write one recording, the JSON last; what the JSON says.

    Raises:
        ValueError: it cannot be read, or another recording's timeline has its name.
        OSError: it cannot be written.
    """
    from singtech.corpus.audio import mixed, read_channels
    from singtech.inference.predictor import shares

    try:
        content = path.read_bytes()
    except OSError as problem:
        raise ValueError(problem.strerror or str(problem)) from None
    made_of = {"sha256": hashlib.sha256(content).hexdigest(), "network": predictor.fingerprint, "overlap": overlap}
    there = _written(stem)
    if _is_of_another(there, path):
        raise ValueError(f"{_with(stem, 'json')} is that of {there['recording']}; name another folder with to=FOLDER")
    if _is_done(there, made_of, stem, picture):
        return there
    channels, header = read_channels(content)
    waveform, sample_rate = mixed(channels), header.sample_rate
    timeline = predictor.predict(waveform, sample_rate, overlap)
    segments = timeline.segments()
    rows = [[round(s.start, 3), round(s.end, 3), s.technique, round(s.probability, 4)] for s in segments]
    write_text(_with(stem, "csv"), _csv(["start", "end", "technique", "probability"], rows))
    if picture and timeline.seconds <= MOST_PICTURED:
        from singtech.io.atomic import atomic_path
        from singtech.results.timeline_figure import draw_timeline

        figure = draw_timeline(
            path.name, waveform, sample_rate, timeline.techniques, *timeline.pieces(), note=_note(predictor)
        )
        with atomic_path(_with(stem, "png")) as temporary:
            figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
    told = {
        "recording": str(path),
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
        "made_of": made_of,
    }
    write_text(_with(stem, "json"), json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    return told


def _written(stem: Path) -> dict:
    """What was written of a recording, or of another by that name; empty if it is not there or not whole."""
    try:
        told = json.loads(_with(stem, "json").read_text(encoding="utf-8"))
        return told if {"made_of", "note", "recording", "seconds", "shares"} <= set(told) else {}
    except (OSError, ValueError, TypeError):
        return {}


def _is_of_another(there: dict, path: Path) -> bool:
    return bool(there) and Path(str(there["recording"])).absolute() != path.absolute()


def _is_done(there: dict, made_of: dict, stem: Path, picture: bool) -> bool:
    """Whether all that shall be written is there, made of the same."""
    if not there or there["made_of"] != made_of or not _with(stem, "csv").is_file():
        return False
    return not picture or there["seconds"] > MOST_PICTURED or _with(stem, "png").is_file()


def _on_length(predictor, timeline) -> str:
    window = predictor.description.samples / predictor.description.sample_rate
    return f"Shorter than a window of {window:g} s: the rest is silence." if timeline.seconds < window else ""


def _note(predictor) -> str:
    """What a picture must say of the network."""
    is_demo = predictor.description.origin.get("data") == "demo"
    return "The network learned from synthetic voices: this says nothing about singers." if is_demo else ""


def _names(paths: Sequence[Path]) -> dict[Path, Path]:
    """A name below the output folder for each recording, no two alike: its path below what all have in common."""
    full = {path: path.absolute() for path in paths}
    base = Path(os.path.commonpath([path.parent for path in full.values()]))
    names: dict[Path, Path] = {}
    taken = {"summary"}
    for path, place in full.items():
        name = place.relative_to(base).with_suffix("")
        while str(name).casefold() in taken:
            name = name.with_name(f"{name.name}_{place.suffix.lstrip('.')}")
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


def _options(arguments: Sequence[str]) -> dict:
    """The settings, in Hydra's grammar: lists in brackets, quotes where a name has odd characters."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    options = dict(DEFAULTS)
    for argument in arguments:
        if argument.startswith("input=") and Path(argument[len("input=") :]).exists():
            options["input"] = argument[len("input=") :]  # however odd its name
            continue
        try:
            override = OverridesParser.create().parse_override(argument)
            name, value = override.key_or_group, override.value()
            if override.is_sweep_override():
                raise ValueError(f'{argument}: several inputs stand in brackets, as in "input=[a.wav,b.wav]".')
        except HydraException:
            name, _, value = argument.partition("=")  # a file name with odd characters, taken as it is
        if name not in options or value in (None, ""):
            raise ValueError(f"{argument!r} is not understood: singtech.cli.predict takes {', '.join(options)}.")
        options[name] = value
    lacking = [name for name in ("network", "input") if options[name] is None]
    if lacking:
        raise ValueError(f"{lacking[0]}= is missing; `singtech predict --help` says what it takes.")
    for name, kinds, expected in (("overlap", int | float, "a number such as 0.5"), ("picture", bool, "true or false")):
        if not isinstance(options[name], kinds):
            raise ValueError(f"{name}={options[name]}: {name} is {expected}.")
    return options


if __name__ == "__main__":
    sys.exit(main())
