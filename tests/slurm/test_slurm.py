"""`hydra/launcher=slurm` on a real Slurm: jobs are pre-empted, killed and run out of time, and lose nothing by it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import SMALL
from tests.slurm.cluster import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]  # starts a Slurm, as root: make test-slurm

ROOT = Path(__file__).parent.parent.parent
SLURM = ("hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1")


@pytest.fixture
def sweep(cluster, own_corpus, tmp_path):
    """Begin a sweep as from a shell; gives the process, whose output goes to a file beside the results."""
    for rare in own_corpus.glob("*/scales/trill/*_1.wav"):  # with equal counts, all alphas would be one
        rare.unlink()
    begun = []

    def begin(*settings, place="outputs"):
        own = ["data=folder", "data.name=choir", f"data.root={own_corpus}", "data.split.test=[dot]", *SMALL]
        words = [sys.executable, "-m", "singtech.run", "-m", f"output_dir={tmp_path / place}", *own, *settings]
        with (tmp_path / f"{place}.out").open("wb") as out:
            begun.append(subprocess.Popen(words, cwd=ROOT, env=cluster.environment, stdout=out, stderr=out))
        return begun[-1]

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def logs(tmp_path):
    """Read the log of the sweep's run with that number where conf/hydra/launcher/slurm.yaml promises it; "" before."""
    return lambda number="": "".join(path.read_text() for path in folder_of(tmp_path).glob(f"*_{number}*0_log.out"))


def folder_of(tmp_path):
    """The folder of the only sweep's logs, once it is there."""
    return next((tmp_path / "outputs" / "slurm").glob("*/*"), tmp_path / "nothing yet")


def predictions(folder):
    """The predictions of every run below a folder of results, byte for byte."""
    return {path.parent.name: path.read_bytes() for path in folder.glob("runs/*/predictions.csv")}


def process_of(number):
    """The process that computes the sweep's run with that number: not srun, which waits for it; None if none does."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        is_job = b"submitit.core._submit" in command and b"python" in Path(command[0].decode()).name.encode()
        if is_job and f"SLURM_ARRAY_TASK_ID={number}".encode() in environment:
            return int(process.name), dict(entry.partition(b"=")[::2] for entry in environment)
    return None


def test_preempted_and_killed_jobs_go_on_and_a_sweep_ends_as_if_undisturbed(cluster, sweep, logs, tmp_path):
    settings = ("dc=late", "strategy=crt_wc", "seed=0,1", "alpha=0,0.2", "schedule.features=160")
    settings += ("schedule.classifier=300",)
    assert sweep(*settings, place="undisturbed").wait(300) == 0, (tmp_path / "undisturbed.out").read_text()
    rows = pd.read_csv(tmp_path / "undisturbed" / "results.csv").set_index(["seed", "alpha"])
    features, classifier = rows.loc[(0, 0.2), "phases"].split()

    def is_begun(key):
        return (tmp_path / "outputs" / "phases" / f".{key}.work" / "last.ckpt").exists()

    command = sweep(*settings, *SLURM)
    until(lambda: is_begun(features), 120, "an epoch of the features is stored")
    until(lambda: process_of(0) and process_of(1), 60, "the first run of each seed is being made")
    gpus = [process_of(number)[1][b"CUDA_VISIBLE_DEVICES"] for number in (0, 1)]
    assert sorted(gpus) == [b"0", b"1"]
    assert [cluster.job(tmp_path, number)["TresPerNode"] for number in (0, 1)] == ["gres:gpu:1"] * 2
    assert "afterany" in cluster.job(tmp_path, array=1)["Dependency"]  # the others hold no GPU meanwhile
    cluster.ask("sbatch", "--partition=high", "--gpus-per-node=2", "--output=/dev/null", "--wrap=true")
    until(
        lambda: [cluster.job(tmp_path, number).get("Restarts") for number in (0, 1)] == ["1", "1"],
        120,
        "both are pre-empted",
    )

    until(lambda: is_begun(classifier), 300, "an epoch of a dependent run's classifier is stored")
    os.kill(process_of(0)[0], signal.SIGKILL)
    until(lambda: cluster.job(tmp_path, array=1).get("Restarts") == "1", 60, "the killed job is queued again")
    assert command.wait(400) == 0, (tmp_path / "outputs.out").read_text()

    rows = pd.read_csv(tmp_path / "outputs" / "results.csv")
    assert set(zip(rows["seed"], rows["alpha"], strict=True)) == {(0, 0.0), (0, 0.2), (1, 0.0), (1, 0.2)}
    assert set(rows["status"]) == {"complete"}
    assert predictions(tmp_path / "outputs") == predictions(tmp_path / "undisturbed")
    assert len(set(predictions(tmp_path / "outputs").values())) == 4
    assert logs().count("epochs of the network trained (") == 2, "once for each seed"
    assert logs().count("epochs of the head trained (") == 4


@pytest.mark.timeout(1800)
def test_a_job_out_of_time_is_queued_again_and_needs_no_command_that_waits(cluster, sweep, logs, tmp_path):
    """Slurm looks every 30 s, so that it sends the signal 45 to 75 s after a job's start.

    The imports end before, and training (0.04 s an epoch or more) after it: a second attempt may run out of time too.
    """
    settings = ("strategy=joint", "alpha=0.2", "schedule.features=2000", "schedule.classifier=2")
    limits = ("hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=45")
    command = sweep(*settings, *SLURM, *limits)
    until(lambda: int(cluster.job(tmp_path).get("Restarts", 0)), 240, "the job is queued again")
    command.kill()
    results = tmp_path / "outputs" / "results.csv"
    until(lambda: results.exists() and pd.read_csv(results)["status"].tolist() == ["complete"], 900, "the row")
    log = logs()
    assert "Caught signal SIGUSR2" in log
    assert "this job is timed-out" in log
    assert sweep(*settings, place="undisturbed").wait(600) == 0
    assert predictions(tmp_path / "outputs") == predictions(tmp_path / "undisturbed")


def test_a_failing_run_says_why_in_its_log_and_in_one_sentence_to_who_waits(sweep, logs, tmp_path):
    command = sweep("optimizer.lr=1e30,1e-4", "schedule.features=3", "trainer.accelerator=cpu", *SLURM)
    assert command.wait(200) == 1
    said = (tmp_path / "outputs.out").read_text()
    assert "1 run of this sweep failed:" in said
    assert "the loss is nan" in said
    assert said.splitlines()[-1].startswith("  singtech run ")
    assert " optimizer.lr=1e+30 " in said.splitlines()[-1]
    assert "Traceback" not in said
    assert "Traceback" in logs(0)
    assert "the loss is nan" in logs(0)
    assert sorted(pd.read_csv(tmp_path / "outputs" / "results.csv")["status"]) == ["complete", "failed"]


def test_a_wrong_value_is_refused_before_any_job_is_submitted(sweep, tmp_path):
    command = sweep("front_end.hop_length=4000,50", "schedule=smoke", "trainer.accelerator=cpu", *SLURM)
    assert command.wait(200) == 1
    assert "too few for model.pooling=table1" in (tmp_path / "outputs.out").read_text()
    assert not (tmp_path / "outputs").exists()


def test_a_cancelled_job_stays_cancelled(cluster, sweep, logs, tmp_path):
    sweep("alpha=0.2", "schedule.features=1000", *SLURM)
    until(lambda: "phase 1/2" in logs(), 120, "the features are being trained")
    job = cluster.job(tmp_path)
    cluster.ask("scancel", job["JobId"])
    until(lambda: cluster.job(tmp_path)["JobState"] == "CANCELLED", 60, "the job is cancelled")
    assert cluster.job(tmp_path)["Restarts"] == "0"
    assert cluster.job(tmp_path)["JobId"] == job["JobId"]
