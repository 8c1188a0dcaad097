"""Write the network of a run as a folder that stands alone: singtech export run=RUN [to=FOLDER] …

The folder holds model.safetensors, config.json and README.md, the model card, as the Hugging Face Hub lays them out.
    run=RUN             a row of results.csv (a part of its name is enough, if it is one run's alone)
    to=FOLDER           where to; by default <output_dir>/models/<run>
    onnx=true           also model.onnx, for programs without PyTorch, compared with it (pip install "singtech[onnx]")
    push=USER/NAME      and upload it there with the library huggingface_hub (pip install "singtech[hub]")
    code=FILE           your own file with the network's classes, where it has some: mine.py
    output_dir=FOLDER   where the results are, outputs by default
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from singtech.components import ComponentError, outside_line
from singtech.extras import check_installed
from singtech.io.interrupts import quietly_interrupted

OPTIONS = {"run": "", "to": "", "onnx": "false", "push": "", "code": "", "output_dir": "outputs"}
MANY = 6  # runs that are named where several are meant


@quietly_interrupted
def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0, or 1 with one sentence."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        options = _options(arguments)
        output_dir = Path(options["output_dir"])
        if options["push"]:
            check_installed("push", "hub", "huggingface_hub")
        row = find_run(output_dir, options["run"])
        print(f"exporting {row['run']} …", flush=True)
        folder = Path(options["to"] or output_dir / "models" / row["run"])
        export(output_dir, row, folder, options["onnx"] == "true", options["code"] or None)
        print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
        if options["push"]:
            print(_pushed(folder, options["push"]))
    except Exception as error:
        place = outside_line(error)
        if not place and not isinstance(error, OSError | ValueError | ComponentError):
            raise
        own = f"{place}: {type(error).__name__}: " if place and not isinstance(error, ComponentError) else ""
        print(f"error: {own}{' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def find_run(output_dir: Path, part: str, setting: str = "run") -> dict:
    """The row of the one complete run whose name holds `part`; `setting` is what the error calls it.

    Raises:
        ValueError: there is none, or several.
    """
    from singtech.results.collate import RESULTS, collate

    results = collate(output_dir)
    complete = results[results["status"] == "complete"]
    if not len(complete):
        raise ValueError(
            f"{setting}={part}: no run is called so, for {(output_dir / RESULTS).absolute()} has no complete run; make "
            "some with `make demo`."
        )
    found = [row for row in complete.to_dict("records") if part in row["run"]]
    exact = [row for row in found if row["run"] == part]
    if len(exact or found) != 1:
        names = [row["run"] for row in found or complete.to_dict("records")]
        more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
        listed = f"{', '.join(names[:MANY])}{more}"
        why = "several runs are called so" if found else "no run is called so"
        raise ValueError(f"{setting}={part}: {why}; there are {listed}.")
    return (exact or found)[0]


def trained(output_dir: Path, row: Mapping, code: str | None = None):
    """The network of a complete run, in eval mode, and its description.

    Args:
        code: the file with the person's own classes, where the network has some.
    Raises:
        ValueError: it has a random forest for a classifier or a class of the person's own without `code`, or its files
            are damaged.
        FileNotFoundError: its weights are not here.
    """
    import yaml

    from singtech.components import load_file
    from singtech.inference.saved import Description, described_parts
    from singtech.results.predictions import PREDICTIONS, read_predictions
    from singtech.training.phase_store import Damaged, StoredPhase
    from singtech.training.run import CONFIGURATION

    folder = output_dir / "runs" / row["run"]
    phase = StoredPhase(output_dir / "phases" / row["phases"].split()[-1])
    if not phase.folder.is_dir():
        raise FileNotFoundError(f"{phase.folder} is not there: the weights are where the run was made. {_again(row)}")
    try:
        settings = yaml.safe_load((folder / CONFIGURATION).read_text(encoding="utf-8"))
        data, forest = settings["data"], settings.get("forest") or settings["model"].get("forest")
        parts = described_parts(settings)
        samples, rate = round(data["clip_seconds"] * data["sample_rate"]), int(data["sample_rate"])
    except (yaml.YAMLError, TypeError, KeyError, AttributeError, UnicodeDecodeError) as problem:
        why = " ".join(str(problem).split())[:120]
        raise ValueError(f"{folder / CONFIGURATION} is damaged ({why}). {_again(row)}") from None
    if forest:
        raise ValueError(
            f"{row['run']}: a random forest names its techniques, which is not stored and cannot be exported."
        )
    techniques = read_predictions(folder / PREDICTIONS).techniques
    origin = {name: value for name, value in row.items() if value == value and not name.startswith(("f1_", "recall_"))}
    module = load_file(Path(code)) if code else None
    try:
        description = Description(parts, techniques, rate, samples, origin, module)
    except ValueError as problem:
        raise ValueError(f"{row['run']}: {problem}.") from None
    network = description.build()
    try:
        phase.check()
    except Damaged as problem:
        raise ValueError(f"{problem}. {_again(row)}") from None
    phase.load_into(network)
    return network, description


def export(output_dir: Path, row: Mapping, folder: Path, onnx: bool = False, code: str | None = None) -> None:
    """Write the model folder of a run, whole or not at all, with an ONNX file beside the weights or without.

    Raises:
        FileExistsError: the folder is there already.
        ValueError, FileNotFoundError: as `trained` and `singtech.inference.onnx.write_onnx`.
    """
    from singtech.inference.model_card import model_card
    from singtech.inference.saved import write_model
    from singtech.io.atomic import atomic_folder, write_text
    from singtech.results.collate import read_collated

    if folder.exists():
        raise FileExistsError(f"{folder} is already there; name another with to=FOLDER, or move it away.")
    if onnx:
        from singtech.inference.onnx import ONNX, write_onnx

        check_installed("onnx=true", "onnx", "onnx", "onnxruntime", "onnxscript")
    network, description = trained(output_dir, row, code)
    seconds = description.samples / description.sample_rate
    rate = description.sample_rate
    with atomic_folder(folder) as work:
        write_model(work, network, description)
        differs = write_onnx(work / ONNX, network, description) if onnx else None
        card = model_card(row, description.techniques, rate, seconds, read_collated(output_dir), differs)
        write_text(work / "README.md", card)


def _pushed(folder: Path, name: str) -> str:
    """Upload a model folder to the Hugging Face Hub; where it is then.

    Raises:
        ValueError: there is no such name, permission or network; the folder stays.
    """
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        api.create_repo(name, exist_ok=True)
        return f"uploaded to {api.upload_folder(repo_id=name, folder_path=folder)}"
    except Exception as problem:  # those of its HTTP library too, which is another in every major version
        why = " ".join(str(problem).split())[:300]
        raise ValueError(f"push={name}: {why}. Once that is mended: hf upload {name} {folder}") from None


def _again(row: Mapping) -> str:
    return f"Make it again: {row.get('command') or 'run it again'}"


def _options(arguments: Sequence[str]) -> dict[str, str]:
    options = dict(OPTIONS)
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name not in options or not value:
            raise ValueError(f"{argument!r} is not understood: `singtech export` takes {', '.join(options)}.")
        options[name] = value
    if options["onnx"] not in ("true", "false"):
        raise ValueError(f"onnx={options['onnx']}: expected true or false.")
    return options


if __name__ == "__main__":
    sys.exit(main())
