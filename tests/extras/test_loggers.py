"""Sweeps that log to MLflow and to Weights & Biases offline, killed and resumed, and what their stores then hold."""

import io
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import own_settings, write_corpus

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),  # SQLAlchemy 2.1 on MLflow 3
]
ROOT = Path(__file__).parent.parent.parent
SWEEP = ("-m", "strategy=crt_wc", "alpha=0.2,0.5")  # two runs of three phases
KEPT = ("runs/*/predictions.csv", "phases/*/weights.safetensors", "phases/*/optimizer.pt")
EPOCHS = 60


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = write_corpus(tmp_path_factory.mktemp("corpus") / "corpus")
    for rare in root.glob("*/scales/trill/*_1.wav"):  # with equal counts, all alphas would be one
        rare.unlink()
    return root


@pytest.fixture(scope="module")
def undisturbed(corpus, tmp_path_factory):
    """What a sweep without a logger keeps."""
    output_dir = tmp_path_factory.mktemp("none") / "outputs"
    begin(corpus, output_dir, "none").check_returncode()
    return kept(output_dir)


def words(corpus, output_dir, logger):
    settings = [*own_settings(corpus, output_dir), f"logger={logger}", f"schedule.classifier={EPOCHS}"]
    return [sys.executable, "-m", "singtech.run", *SWEEP, *settings]


def begin(corpus, output_dir, logger, *settings):
    command = [*words(corpus, output_dir, logger), *settings]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def kept(output_dir):
    return {path.relative_to(output_dir): path.read_bytes() for glob in KEPT for path in output_dir.glob(glob)}


def assert_same_after_resuming(output_dir, undisturbed):
    """The same bytes, but of the optimiser's state the same values: torch packs what it has read otherwise."""
    resumed = kept(output_dir)
    assert resumed.keys() == undisturbed.keys()
    for path, data in undisturbed.items():
        if path.name == "optimizer.pt":
            ours, theirs = (torch.load(io.BytesIO(each), weights_only=True) for each in (resumed[path], data))
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        else:
            assert resumed[path] == data, path


def kill_in_a_classifiers_phase(corpus, output_dir, logger):
    """Kill a sweep, SIGKILL, once two epochs of the 60 are kept, of which one is logged; gives the process's id."""
    with subprocess.Popen(
        words(corpus, output_dir, logger), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        until, kept = time.monotonic() + 200, set()
        while len(kept) < 2:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < until
            time.sleep(0.01)
            if list(output_dir.glob("phases/[!.]*")):  # the features' phase
                kept |= {path.stat().st_mtime_ns for path in output_dir.glob("phases/.*.work/last.ckpt")}
        process.kill()
    return process.pid


def mlflow_runs(output_dir):
    client = pytest.importorskip("mlflow").MlflowClient(f"sqlite:///{output_dir}/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("singtech")
    return client, client.search_runs([experiment.experiment_id])


def wandb_run(path):
    """Records of a .wandb file: LevelDB's log format around wandb's own messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, position, message, records = path.read_bytes(), 7, b"", []  # after ":W&B" and a version
    while position < len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        message += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or its last part
            records.append(Record.FromString(message))
            message = b""
    return records


def wandb_runs(output_dir):
    return [wandb_run(path) for path in sorted(output_dir.glob("wandb/offline-run-*/*.wandb"))]


def configured(records):
    (run,) = (record.run for record in records if record.HasField("run"))
    return {item.key: item.value_json.strip('"') for item in run.config.update}, run


def helpers():
    """Ids of the processes of wandb's helper."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if Path(os.fsdecode(words[0])).name.startswith("wandb-core"):
            found.add(process.name)
    return found


def test_mlflow_has_a_run_a_phase_to_filter_by_and_changes_nothing(corpus, undisturbed, tmp_path):
    pytest.importorskip("mlflow")
    done = begin(corpus, tmp_path, "mlflow")
    assert done.returncode == 0, done.stderr
    assert "mlflow" not in done.stderr.lower().replace(str(tmp_path), "")
    assert kept(tmp_path) == undisturbed
    client, runs = mlflow_runs(tmp_path)
    assert {run.data.tags["key"] for run in runs} == {path.name for path in tmp_path.glob("phases/[!.]*")}
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
    chosen = client.search_runs([runs[0].info.experiment_id], "tags.alpha = '0.5' and params.strategy = 'crt_wc'")
    assert [run.data.params["phase"] for run in chosen] == ["phase 2/2 classifier alpha 0.5"]
    assert len(client.get_metric_history(chosen[0].info.run_id, "f1")) == EPOCHS
    assert [path.name for path in tmp_path.glob("mlflow/*")] == ["mlflow.db"]


def test_an_mlflow_run_goes_on_with_its_phase(corpus, undisturbed, tmp_path):
    pytest.importorskip("mlflow")
    kill_in_a_classifiers_phase(corpus, tmp_path, "mlflow")
    client, runs = mlflow_runs(tmp_path)
    assert sorted(run.info.status for run in runs) == ["FINISHED", "RUNNING"]
    done = begin(corpus, tmp_path, "mlflow")
    assert done.returncode == 0, done.stderr
    assert_same_after_resuming(tmp_path, undisturbed)
    client, runs = mlflow_runs(tmp_path)
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
    for run in runs:
        steps = {metric.step for metric in client.get_metric_history(run.info.run_id, "loss")}
        epochs = EPOCHS if "classifier" in run.data.tags["phase"] else 1
        assert epochs - 1 <= len(steps) <= epochs  # Lightning logs an epoch once it is kept, which may be too late


def test_processes_share_one_mlflow_file(corpus, undisturbed, tmp_path):
    pytest.importorskip("mlflow")
    command = words(corpus, tmp_path, "mlflow")
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(200) for process in processes] == [0, 0]
    assert kept(tmp_path) == undisturbed
    assert [run.info.status for run in mlflow_runs(tmp_path)[1]] == ["FINISHED"] * 3


def test_wandb_has_an_offline_run_a_phase_and_changes_nothing(corpus, undisturbed, tmp_path):
    pytest.importorskip("wandb")
    before = helpers()
    done = begin(corpus, tmp_path, "wandb")
    assert done.returncode == 0, done.stderr
    assert "wandb:" not in done.stderr
    assert kept(tmp_path) == undisturbed
    assert helpers() <= before
    runs = wandb_runs(tmp_path)
    assert {configured(records)[1].run_group for records in runs} == {p.name for p in tmp_path.glob("phases/[!.]*")}
    assert len(runs) == 3
    for records in runs:
        about, run = configured(records)
        assert {"data=choir", "dc=late", "strategy=crt_wc", "seed=0", f"alpha={about['alpha']}"} == set(run.tags)
        assert about["phase"] in run.display_name
        logged = sum(record.HasField("history") for record in records)
        assert logged == (EPOCHS if "classifier" in about["phase"] else 1)
        assert [record.exit.exit_code for record in records if record.HasField("exit")] == [0]


def test_a_resumed_phase_is_a_further_wandb_run_of_its_group(corpus, undisturbed, tmp_path):
    pytest.importorskip("wandb")
    before = helpers()
    kill_in_a_classifiers_phase(corpus, tmp_path, "wandb")
    until = time.monotonic() + 20
    while not helpers() <= before:
        assert time.monotonic() < until, "wandb's helper outlives the sweep"
        time.sleep(0.2)
    done = begin(corpus, tmp_path, "wandb")
    assert done.returncode == 0, done.stderr
    assert_same_after_resuming(tmp_path, undisturbed)
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 4


@pytest.mark.parametrize("logger", ["mlflow", "wandb"])
def test_a_phase_that_fails_ends_its_run(corpus, tmp_path, logger):
    pytest.importorskip(logger)
    before = helpers()
    assert begin(corpus, tmp_path, logger, "optimizer.lr=1e30").returncode == 1
    if logger == "mlflow":
        runs = mlflow_runs(tmp_path)[1]
        assert {run.info.status for run in runs} == {"FAILED"}
    else:
        ends = [
            record.exit.exit_code for records in wandb_runs(tmp_path) for record in records if record.HasField("exit")
        ]
        assert set(ends) == {1}
        assert helpers() <= before


@pytest.mark.parametrize("logger", ["mlflow", "wandb"])
def test_two_devices_log_once(corpus, tmp_path, logger):
    pytest.importorskip(logger)
    done = begin(corpus, tmp_path, logger, "alpha=0.2", "trainer.devices=2", "schedule.classifier=2")
    assert done.returncode == 0, done.stderr
    if logger == "mlflow":
        assert [run.info.status for run in mlflow_runs(tmp_path)[1]] == ["FINISHED"] * 2
    else:
        assert [sum(record.HasField("history") for record in records) for records in wandb_runs(tmp_path)] == [1, 2]
