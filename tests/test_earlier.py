"""What the version before components stored stays readable, reported and used; nothing goes on from it."""

import hashlib
import json
import re
import shutil

import pandas as pd
import pytest
import yaml

from tests.conftest import call_command, own_settings, write_corpus

KEYS = ("00000000000000aa", "00000000000000bb")
RUN = "choir-oblong-dc_late-crt_wc-alpha_0.2-seed_0-0123abcd"
VARIANT = "batch_size=4 front_end.hop_length=50 front_end.n_fft=192 front_end.win_lengths=[192,96,48] " + (
    "schedule.classifier=1 schedule.features=1 schedule.max_batches=2"
)
FRONT_END = {"n_fft": 192, "win_lengths": [192, 96, 48], "hop_length": 50, "scale": "log", "level": "peak"}
EXTRACTOR = {
    **{"dc": [3, 4], "features": 30, "hidden": 50, "dropout": 0.3, "hidden_dropout": 0.4, "aggregation": "average"},
    **{"padding": "same", "modulated": True, "directions": "both", "pool_deformable": True},
}
OPTIMIZER = {"name": "Adam", "lr": 1e-4}
SETUP = {
    "model": {"target": "singtech.models.network.oblong_network", "front_end": FRONT_END, **EXTRACTOR},
    **{"optimizer": OPTIMIZER, "seed": 0, "training_clips": "ab" * 32, "validation_clips": "", "batch_size": 4},
    **{"keep_last": True, "max_batches": 2, "loss_reduction": "weights", "batch_norm": "recalibrated"},
    **{"selection": "last", "precision": "32-true", "devices": 1},
}
PHASE = {"extractor": "eval", "sampler": "natural", "learning_rate": None}
PHASES = (
    {"trains": "network", "epochs": 1, "alpha": 0.0, "start": "on", **PHASE, "name": "features"},
    {"trains": "classifier", "epochs": 1, "alpha": 0.2, "start": "anew", **PHASE, "name": "classifier"},
)
CONFIGURATION = {
    **{"seed": 0, "alpha": 0.2, "batch_size": 4, "keep_last": True, "precision": "32-true"},
    **{"batch_norm": "recalibrated", "loss_reduction": "weights", "selection": "last", "optimizer": OPTIMIZER},
    "schedule": {"features": 1, "classifier": 1, "max_batches": 2},
    "retraining": {"start": "anew", "extractor": "eval", "sampler": "natural", "learning_rate": None},
    "front_end": FRONT_END,
    "data": {
        **{"name": "choir", "techniques": None, "split": {"test": ["dot"], "validation": []}, "fold": None, "folds": 5},
        **{"clip_seconds": 0.6, "sample_rate": 8000, "remainder": "drop", "trim_silence": None},
    },
    "dc": {"name": "late", "layers": [3, 4]},
    "strategy": {"name": "crt_wc", "phases": list(PHASES)},
    "model": {
        **{"name": "oblong", "fixed": {}, "forest": None},
        "build": {"_target_": "singtech.models.network.oblong_network", "front_end": FRONT_END, **EXTRACTOR},
    },
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A results folder as the version before wrote it, by hand but for weights, predictions and clips."""
    place = tmp_path_factory.mktemp("earlier")
    write_corpus(place / "corpus")
    outputs = place / "outputs"
    assert call_command("run", "condition=late_crt_wc", *own_settings(place / "corpus", outputs)) == 0
    (new,) = (outputs / "runs").glob("choir-*")
    row = json.loads((new / "row.json").read_text())
    for key, source, phase in zip(KEYS, row["phases"].split(), PHASES, strict=True):
        folder = (outputs / "phases" / source).rename(outputs / "phases" / key)
        shutil.rmtree(folder / "features", ignore_errors=True)
        write_record(folder, key, phase)
    later = ("condition", "protocol", "recipe", "seconds_shared", "files", "schema", "digest")
    for name in ("settings", "validation_f1", "made_by", *later):
        row.pop(name, None)
    row |= {"run": RUN, "variant": VARIANT, "phases": " ".join(KEYS), "commit": "6c9f55d7da4d"}
    (new / "row.json").write_text(json.dumps(row, indent=1))
    (new / "config.yaml").write_text(yaml.safe_dump(CONFIGURATION, sort_keys=False))
    new.rename(outputs / "runs" / RUN)
    for name in ("results.csv", "confusions.csv", "layers.csv"):
        (outputs / name).unlink(missing_ok=True)
    shutil.rmtree(outputs / "hydra", ignore_errors=True)
    return place


def write_record(folder, key, phase):
    """`phase.json` as it was: all settings, no version, its own SHA-256 last."""
    files = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("weights.safetensors", "optimizer.pt", "log.csv")
    }
    before = [KEYS[0]] if key != KEYS[0] else []
    record = {"key": key, "phase": phase, "setup": SETUP, "before": before, "epoch": 1 + len(before)}
    record |= {"seconds": 1.5, "device": "cpu (x86_64)", "torch": "2.14.1+cu130", "files": files}
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    (folder / "phase.json").write_text(json.dumps(record | {"sha256": digest}, indent=2) + "\n")


@pytest.fixture
def outputs(place, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(place / "outputs", tmp_path / "outputs")


def test_the_store_lists_its_phases_as_used_and_whole(call, outputs):
    listed = call("store", f"output_dir={outputs}")
    assert listed.status == 0, listed.err
    text = " ".join(listed.out.split())
    for key, says in zip(KEYS, ("network, 1 epochs, alpha 0,", "classifier, 1 epochs, alpha 0.2,"), strict=True):
        assert re.search(rf"{key} \S+ MB \S+ 1 {says} by an earlier version", text)
    assert "not used by any row" not in listed.out
    assert "every one whole" in call("store", "check=true", f"output_dir={outputs}").out
    assert "Every entry is used by a row" in call("store", "remove=unused", "sure=true", f"output_dir={outputs}").out
    shown = call("store", f"show={RUN}", f"output_dir={outputs}").out
    assert f"variant: {VARIANT}" in " ".join(shown.replace("\n#", " ").split())


def test_tables_report_it_and_say_that_it_is_of_an_earlier_version(call, outputs, table3_alone):
    rendered = call("tables", f"output_dir={outputs}")
    assert rendered.status == 0, rendered.err
    table = (outputs / "tables" / "choir" / "table3.md").read_text()
    ours = [line for line in table.splitlines() if line.startswith("| Late, cRT-WC ")]
    f1 = json.loads((outputs / "runs" / RUN / "row.json").read_text())["f1"]
    assert [cell.strip(" *") for cell in ours[0].split("|")[3:5]] == ["1", f"{f1:.3f}"]
    (said,) = [line for line in table.splitlines() if "stored by an earlier version" in line]
    assert VARIANT in said
    (row,) = pd.read_csv(outputs / "results.csv", keep_default_na=False).to_dict("records")
    assert (row["run"], row["status"]) == (RUN, "complete")


def test_a_run_of_the_same_condition_is_trained_anew_beside_it(call, place, outputs):
    before = {path: path.read_bytes() for path in (outputs / "phases").rglob("*") if path.is_file()}
    done = call("run", "condition=late_crt_wc", *own_settings(place / "corpus", outputs))
    assert done.status == 0, done.err
    assert done.out.count(" trained (") == 2
    assert all(path.read_bytes() == data for path, data in before.items())
    rows = pd.read_csv(outputs / "results.csv", keep_default_na=False)
    assert sorted(rows["variant"]) == ["", VARIANT]
    assert sorted(bool(text) for text in rows["settings"]) == [False, True]
    assert rows["f1"].nunique() == 1  # at one thread the same weights
    compared = call("store", f"compare={RUN},{rows['run'][rows['run'] != RUN].item()}", f"output_dir={outputs}")
    assert compared.status == 0, compared.err
