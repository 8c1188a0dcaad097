"""Write the network of a run as a folder that can be used alone.

The folder has the layout of the Hugging Face Hub: model.safetensors, config.json, and README.md, the model card, with a
picture of the confusions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from singtech.cli.options import command, option
from singtech.errors import Conflict, InvalidValue
from singtech.extras import check_installed
from singtech.loading import load_network
from singtech.results.collate import find_run


@dataclass(kw_only=True)
class Options:
    """The options of `singtech export`."""

    run: str = option("RUN", "a run, by its name or a part of it that no other run has")
    to: str = option("FOLDER", "where to write; <output_dir>/models/<run> by default", "")
    onnx: bool = option(
        "true", 'also write model.onnx, for programs without PyTorch (pip install "singtech[onnx]")', False
    )
    push: str = option("USER/NAME", 'upload it to the Hugging Face Hub (pip install "singtech[hub]")', "")
    code: str = option("FILE", "your own file with the network's classes, if it has some", "")
    output_dir: Path = option("FOLDER", "where the results are", Path("outputs"))


@command(Options)
def main(options: Options) -> None:
    """Export a run, and print the files in the folder."""
    if options.push:
        check_installed("push", "hub", "huggingface_hub")
    row = find_run(options.output_dir, options.run)
    print(f"exporting {row['run']} …", flush=True)
    folder = Path(options.to or options.output_dir / "models" / row["run"])
    export(options.output_dir, row, folder, options.onnx, options.code)
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    if options.push:
        print(_upload(folder, options.push))


def export(output_dir: Path, row: Mapping, folder: Path, onnx: bool = False, code: str = "") -> None:
    """Write the model folder of a run, whole or not at all, with or without an ONNX file.

    Raises:
        Conflict: the folder exists.
        SingtechError: see `load_network` and `singtech.inference.onnx.write_onnx`.
    """
    from singtech.inference.model_card import PICTURE, draw_confusion, has_confusion, model_card
    from singtech.inference.saved import write_model
    from singtech.io.atomic import atomic_folder, write_text
    from singtech.results.collate import read_collated
    from singtech.results.figures import save
    from singtech.training.run import read_configuration

    if folder.exists():
        raise Conflict(f"{folder} already exists; name another with to=FOLDER, or move it away.")
    if onnx:
        from singtech.inference.onnx import ONNX, write_onnx

        check_installed("onnx=true", "onnx", "onnx", "onnxruntime", "onnxscript")
    network, description = load_network(output_dir, row, code)
    rate, seconds = description.sample_rate, description.samples / description.sample_rate
    with atomic_folder(folder) as temporary:
        write_model(temporary, network, description)
        difference = write_onnx(temporary / ONNX, network, description) if onnx else None
        configuration = read_configuration(output_dir / "runs" / row["run"])
        by = "singer" if row["fold"] else configuration["data"]["split"].get("by", "singer")  # folds are of singers
        details = {"code": Path(code).name if code else "", "split_by": by}
        collated = read_collated(output_dir)
        card = model_card(row, description.techniques, rate, seconds, collated, difference, **details)
        if has_confusion(row, collated):
            save(draw_confusion(row, collated), temporary / Path(PICTURE).stem, ("png",), dpi=110)
        write_text(temporary / "README.md", card)


def _upload(folder: Path, name: str) -> str:
    """Upload a model folder to the Hugging Face Hub and return a sentence with its address.

    Raises:
        InvalidValue: the name, the permission or the network is missing. The folder stays.
    """
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        api.create_repo(name, exist_ok=True)
        return f"uploaded to {api.upload_folder(repo_id=name, folder_path=folder)}"
    except Exception as problem:  # its HTTP library, and so its errors, changes between major versions
        reason = " ".join(str(problem).split())[:300]
        raise InvalidValue(f"push={name}: {reason}. Once that is fixed: hf upload {name} {folder}") from None
