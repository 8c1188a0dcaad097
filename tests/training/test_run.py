"""Runs: phases made once, resumed to the same bits, and what cRT holds fixed."""

import copy
import dataclasses
import functools
import hashlib
import json
import os
import re
import shutil
import signal
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_lightning.callbacks import Callback
from safetensors.torch import load_file
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

import singtech.training.fit as fit
import singtech.training.run as runs
import singtech.training.trainer as trainer
from singtech.corpus.datamodule import EpochSampler
from singtech.errors import InvalidValue, Newer
from singtech.imbalance.losses import Focal, WeightedCrossEntropy, class_weights
from singtech.imbalance.rewrites import LearnableScaling, TauNormalized
from singtech.imbalance.samplers import Balanced
from singtech.io import lock as locks
from singtech.io.lock import Busy, LeaseLost, get_lock_path, hold
from singtech.metrics import split_column
from singtech.models.network import Architecture
from singtech.models.oblong import OblongExtractor
from singtech.models.spectrogram import MultiResolutionSpectrogram
from singtech.results.predictions import VALIDATION, read_predictions
from singtech.results.rows import read_rows, write_row
from singtech.results.schema import COLUMNS, SCHEMA
from singtech.training.callbacks import EpochCheckpoint
from singtech.training.fit import Run, Setup, Task, train_phase
from singtech.training.forest import Forest
from singtech.training.phase_store import PhaseStore, read_checkpoint
from singtech.training.phases import FitHead, Pretrained, RewriteHead, TrainHead, TrainNetwork, with_running_statistics
from singtech.training.run import execute
from singtech.training.trainer import Machine
from tests.io.test_lock import left_by
from tests.training.conftest import TinyCorpus, single_threaded

FRONT_END = {"n_fft": 192, "win_lengths": (192, 96, 48), "hop_length": 50}  # 97 bins by 97 frames
MACHINE = Machine(accelerator="cpu", progress=False)
pytestmark = pytest.mark.usefixtures("one_thread")


def oblong(dc=(4,), **settings):
    """The oblong CNN behind a small front end."""
    return Architecture(
        functools.partial(MultiResolutionSpectrogram, **FRONT_END),
        functools.partial(OblongExtractor, dc=dc, **settings),
    )


def a_run(corpus, phases, network=None, seed=0, alpha=0.2, strategy="test", forest=None, **changes):
    setup = Setup(
        network=network or oblong(),
        seed=seed,
        training_clips=corpus.fingerprint("train"),
        **{"batch_size": 8, **changes},
    )
    names = {"data": "tiny", "fold": "", "model": "oblong", "dc": "last", "strategy": strategy}
    names |= {"alpha": alpha, "settings": "{}"}
    return Run(names, setup, tuple(phases), corpus.waveforms.shape[1], len(corpus.techniques), 8000, forest)


def run(corpus, folder, phases, machine=MACHINE, **options):
    return execute(a_run(corpus, phases, **options), corpus, folder, machine, say=lambda line: None)


@pytest.fixture(scope="module")
def one_epoch(corpus, tmp_path_factory):
    """A finished run of one epoch, and its folder: for copying."""
    folder = tmp_path_factory.mktemp("one_epoch")
    with single_threaded():
        return run(corpus, folder, [network()]), folder


@pytest.fixture
def first(one_epoch, tmp_path):
    """That run, as if it had been made in `tmp_path`."""
    return copied(*one_epoch, tmp_path)


@pytest.fixture(scope="module")
def two_phases(corpus, tmp_path_factory):
    """A finished run of a network and a head, and its folder: for copying."""
    folder = tmp_path_factory.mktemp("two_phases")
    with single_threaded():
        return run(corpus, folder, [network(), classifier()]), folder


@pytest.fixture
def retrained(two_phases, tmp_path):
    """That run, as if it had been made in `tmp_path`."""
    return copied(*two_phases, tmp_path)


def copied(result, folder, place):
    """A finished run as if it had been made in another place."""
    shutil.copytree(folder, place, dirs_exist_ok=True)
    return dataclasses.replace(result, folder=place / result.folder.relative_to(folder))


ADAM = functools.partial(torch.optim.Adam, lr=1e-3)


def loss(alpha=0.0, **settings):
    return functools.partial(WeightedCrossEntropy, alpha=alpha, **settings)


def network(epochs=1, alpha=0.0, **options):
    return TrainNetwork(epochs=epochs, **{"loss": loss(alpha), "optimizer": ADAM, **options})


def classifier(epochs=2, alpha=0.2, **options):
    return TrainHead(epochs=epochs, **{"init": "scratch", "loss": loss(alpha), "optimizer": ADAM, **options})


def weights(folder, result, phase=-1):
    return load_file(folder / "phases" / result.row["phases"].split()[phase] / "weights.safetensors")


def same(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("batch_norm", ["recalibrated", "running"])
def test_joint_training_in_two_phases_is_one_long_training_bit_for_bit(corpus, tmp_path, batch_norm):
    change = with_running_statistics if batch_norm == "running" else tuple
    long = run(corpus, tmp_path, change([network(2, 0.2)]))
    halves = run(corpus, tmp_path, change([network(1, 0.2), network(1, 0.2)]))
    assert same(weights(tmp_path, long), weights(tmp_path, halves))
    assert not same(weights(tmp_path, halves, 0), weights(tmp_path, halves, 1))
    assert (long.folder / "predictions.csv").read_bytes() == (halves.folder / "predictions.csv").read_bytes()


def test_both_statistics_of_batch_norm_come_from_one_training(corpus, tmp_path, monkeypatch):
    recalibrated = run(corpus, tmp_path, [network(2), classifier()])
    running = run(corpus, tmp_path, with_running_statistics([network(2), classifier()]))
    assert running.trained == (False, True, True)
    assert recalibrated.row["phases"].split()[0] == running.row["phases"].split()[0]
    ours, theirs = weights(tmp_path, recalibrated, 0), weights(tmp_path, running, 1)
    differing = {name.rsplit(".", 1)[1] for name in ours if not torch.equal(ours[name], theirs[name])}
    assert differing == {"running_mean", "running_var"}
    files = [result.folder / "predictions.csv" for result in (recalibrated, running)]
    assert files[0].read_bytes() != files[1].read_bytes()
    monkeypatch.setattr(fit, "recalibrate", lambda *_: None)
    elsewhere = tmp_path / "never recalibrated"
    assert same(theirs, weights(elsewhere, run(corpus, elsewhere, [network(2)])))


def test_running_statistics_of_a_phase_that_lacks_them_are_not_made_up(corpus, tmp_path):
    run(corpus, tmp_path, [network()])
    (folder,) = (tmp_path / "phases").iterdir()
    (folder / "running.safetensors").unlink()
    record = json.loads((folder / "phase.json").read_text())
    del record["files"]["running.safetensors"], record["sha256"]
    record["sha256"] = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    (folder / "phase.json").write_text(json.dumps(record))
    with pytest.raises(InvalidValue, match="stored no running statistics; give another output_dir to"):
        run(corpus, tmp_path, with_running_statistics([network()]))
    assert run(corpus, tmp_path, [network(), classifier()]).trained == (False, True)


@pytest.mark.parametrize(
    ("phase", "has_gap"),
    [
        (classifier(), True),
        (classifier(extractor="dropout"), True),
        (classifier(extractor="train"), False),
        (classifier(sampler=Balanced), False),
        (classifier(loss=Focal), False),
        (classifier(learns=LearnableScaling), False),
        (FitHead(loss=loss(0.2)), True),
    ],
)
def test_a_row_tells_how_far_the_re_trained_head_is_from_the_minimum(corpus, first, tmp_path, phase, has_gap):
    result = run(corpus, tmp_path, [network(), phase])
    assert ("head_gap" in result.row) == has_gap
    assert "head_gap" not in first.row
    if isinstance(phase, FitHead):
        assert result.row["head_gap"] == pytest.approx(0, abs=1e-9)
        rewritten = run(corpus, tmp_path, [network(), phase, RewriteHead(rewrite=TauNormalized)])
        assert "head_gap" not in rewritten.row


def test_the_distance_from_the_minimum_is_that_of_scikit_learns_solution(corpus, retrained, tmp_path):
    key, head_key = retrained.row["phases"].split()
    read = [np.load(path) for path in (tmp_path / "phases" / key / "features").glob("*.npy")]
    (features,) = [each.astype(float) for each in read if len(each) == len(corpus.rows("train"))]
    targets = corpus.targets("train")
    head = load_file(tmp_path / "phases" / head_key / "weights.safetensors")
    clip_weights = class_weights(torch.from_numpy(corpus.counts("train")), 0.2).double().numpy()[targets]
    model = LogisticRegression(C=1 / (2 * 1e-3), solver="newton-cg", tol=1e-10, max_iter=10_000)
    model.fit(features, targets, sample_weight=clip_weights / clip_weights.sum())

    def penalised(weight, bias):
        chances = softmax(features @ weight.T + bias, axis=1)
        losses = -np.log(chances[np.arange(len(targets)), targets])
        return np.average(losses, weights=clip_weights) + 1e-3 * np.square(weight).sum()

    ours = penalised(head["classifier.weight"].double().numpy(), head["classifier.bias"].double().numpy())
    assert retrained.row["head_gap"] == pytest.approx(ours - penalised(model.coef_, model.intercept_), rel=1e-4)
    assert retrained.row["head_gap"] > 0.1


class Killed(Exception):
    pass


class KillAt(Callback):
    """Stops training as a power cut would, in the middle of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.current_epoch == self.epoch and batch_idx == 1:
            raise Killed


class KillingMachine(Machine):
    """Pulls the plug in the last epoch of the phase that trains one part."""

    def make_trainer(self, callbacks=None, **options):
        if callbacks and self.kills in callbacks[0].title:
            callbacks = [*callbacks, KillAt(2)]
        return super().make_trainer(callbacks, **options)


@pytest.fixture(scope="module")
def undisturbed(corpus, tmp_path_factory):
    """Two phases of three epochs that nothing interrupted, and their folder."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with single_threaded():
        return run(corpus, folder, [network(3), classifier(3)]), folder


@pytest.mark.parametrize("kill_in", ["network", "head", "recalibration"])
def test_an_interrupted_phase_resumes_to_the_same_bits(corpus, undisturbed, tmp_path, monkeypatch, kill_in):
    phases = [network(3), classifier(3)]
    expected, elsewhere = undisturbed
    with monkeypatch.context() as patch:
        patch.setattr(KillingMachine, "kills", kill_in, raising=False)
        if kill_in == "recalibration":
            patch.setattr(fit, "recalibrate", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            run(corpus, tmp_path / "b", phases, machine=KillingMachine(accelerator="cpu", progress=False))
    assert [row["status"] for row in read_rows(tmp_path / "b" / "runs")] == ["failed"]
    assert not list((tmp_path / "b").glob("runs/*/predictions.csv"))
    assert len(list((tmp_path / "b").glob("phases/.*.work/last.ckpt"))) == 1
    resumed = run(corpus, tmp_path / "b", phases)
    for phase in (0, 1):
        assert same(weights(elsewhere, expected, phase), weights(tmp_path / "b", resumed, phase))
        pd.testing.assert_frame_equal(curve(elsewhere, expected, phase), curve(tmp_path / "b", resumed, phase))
    files = [result.folder / "predictions.csv" for result in (expected, resumed)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not list((tmp_path / "b").glob("phases/.*.work"))


def curve(folder, result, phase=0):
    log = pd.read_csv(folder / "phases" / result.row["phases"].split()[phase] / "log.csv")
    return log.drop(columns="seconds")


def test_while_the_classifier_is_retrained_the_extractor_does_not_move(two_phases):
    result, folder = two_phases
    before, after = weights(folder, result, 0), weights(folder, result, 1)
    extractor = [name for name in before if name.startswith("extractor.")]
    assert any("running_mean" in name for name in extractor)
    assert all(torch.equal(before[name], after[name]) for name in extractor)
    assert not torch.equal(before["classifier.weight"], after["classifier.weight"])


def test_in_train_mode_the_fixed_extractors_statistics_move_but_its_weights_do_not(corpus, tmp_path):
    result = run(corpus, tmp_path, with_running_statistics([network(), classifier(extractor="train")]))
    before, after = weights(tmp_path, result, 1), weights(tmp_path, result, 3)
    moved = {name.rsplit(".", 1)[1] for name in before if not torch.equal(before[name], after[name])}
    assert {"running_mean", "running_var"} <= moved
    parameters = [
        name for name in before if name.startswith("extractor.") and "running" not in name and "num_" not in name
    ]
    assert all(torch.equal(before[name], after[name]) for name in parameters)


def test_what_train_mode_did_to_the_statistics_is_forgotten_where_they_are_recalibrated(corpus, tmp_path):
    result = run(corpus, tmp_path, [network(), classifier(extractor="train")])
    before, after = weights(tmp_path, result, 0), weights(tmp_path, result, 1)
    statistics = [name for name in before if "running" in name]
    assert statistics
    assert all(torch.allclose(before[name], after[name]) for name in statistics)


def test_the_best_epoch_is_kept_with_its_weights_and_optimiser_state(corpus, tmp_path):
    last = run(corpus, tmp_path, [network(4)], selection="last")
    best = run(corpus, tmp_path, [network(4)], selection="best")
    judged = curve(tmp_path, best)["validation_f1"].tolist()
    assert curve(tmp_path, last)["validation_f1"].tolist() == judged
    stored = json.loads((tmp_path / "phases" / best.row["phases"] / "phase.json").read_text())
    epoch = 1 + max(range(4), key=lambda k: (judged[k], -k))  # the first of equal ones
    assert stored["epoch"] == epoch
    until_then = run(corpus, tmp_path, [network(epoch)])
    assert same(weights(tmp_path, best), weights(tmp_path, until_then))
    states = [
        torch.load(tmp_path / "phases" / result.row["phases"] / "optimizer.pt", weights_only=True)["state"]
        for result in (best, until_then)
    ]
    assert all(torch.equal(states[0][k]["exp_avg"], states[1][k]["exp_avg"]) for k in states[0])


def test_a_look_at_the_validation_singers_changes_nothing_in_training(corpus, tmp_path):
    without = TinyCorpus(validation=0)
    seen, unseen = run(corpus, tmp_path, [network(2)]), run(without, tmp_path / "b", [network(2)])
    ours, theirs = curve(tmp_path, seen), curve(tmp_path / "b", unseen)
    assert "validation_f1" in ours
    assert "validation_f1" not in theirs
    assert ours[theirs.columns].equals(theirs)


def test_selecting_the_best_epoch_needs_validation_singers(tmp_path):
    with pytest.raises(ValueError, match=r"selection=best: there is no validation clip"):
        run(TinyCorpus(validation=0), tmp_path, [network()], selection="best")


@pytest.mark.parametrize("phase", [network(2, average=0.9), network(2, last_epochs=2)])
def test_one_epoch_is_not_selected_where_weights_are_averaged(corpus, tmp_path, phase):
    with pytest.raises(ValueError, match=r"selection=best keeps the weights of one epoch"):
        run(corpus, tmp_path, [phase], selection="best")


def test_a_forest_classifies_the_stored_features_and_a_second_run_repeats_its_bytes(corpus, tmp_path):
    forest = Forest(trees=20)
    first = run(corpus, tmp_path, [network()], forest=forest)
    features = next((tmp_path / "phases" / first.row["phases"] / "features").glob("*.npy"))
    assert features.exists()
    bytes_then = (first.folder / "predictions.csv").read_bytes()
    shutil.rmtree(first.folder)
    second = run(corpus, tmp_path, [network()], forest=forest)
    assert second.trained == (False,)
    assert (second.folder / "predictions.csv").read_bytes() == bytes_then
    plain = run(corpus, tmp_path, [network()])
    assert plain.folder != second.folder
    logits = pd.read_csv(second.folder / "predictions.csv").filter(like="logit_").to_numpy()
    assert np.allclose((np.exp(logits) - 1e-6).sum(axis=1), 1.0, atol=1e-5)


def test_a_run_writes_its_layers(one_epoch):
    result, _ = one_epoch
    layers = pd.read_csv(result.folder / "layers.csv")
    assert layers["layer"].tolist()[:2] == ["Conv(4×1), MP(4×4)", "Conv(16×1), MP(4×4)"]
    assert layers["channels"].tolist()[:4] == [32, 64, 128, 128]
    assert layers["deformable"].tolist()[:4] == [False, False, False, True]
    assert layers["parameters"].sum() == result.row["parameters"]


def test_cached_features_give_the_same_classifier_as_uncached(corpus, tmp_path, monkeypatch):
    phases = [network(), classifier(6)]
    cached = run(corpus, tmp_path / "a", phases)
    monkeypatch.setattr(TrainHead, "is_on_features", False)
    uncached = run(corpus, tmp_path / "b", phases)
    ours, theirs = weights(tmp_path / "a", cached), weights(tmp_path / "b", uncached)
    for name in ("classifier.weight", "classifier.bias"):
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-5)
    logits = [pd.read_csv(result.folder / "predictions.csv").filter(like="logit_") for result in (cached, uncached)]
    assert (logits[0].to_numpy().argmax(1) == logits[1].to_numpy().argmax(1)).all()


def test_clips_resident_on_the_device_make_the_same_run(corpus, tmp_path, monkeypatch):
    phases = [network(), classifier(1, extractor="train")]
    stored = run(corpus, tmp_path / "stored", phases)
    monkeypatch.setattr(Machine, "load_clips", lambda machine, device, corpus: torch.from_numpy(corpus.waveforms))
    resident = run(corpus, tmp_path / "resident", phases)
    for each in (stored, resident):
        del each.row["seconds"], each.row["finished"], each.row["digest"]
    assert resident.row == stored.row


def test_clips_are_kept_in_a_gpus_memory_where_they_leave_room(monkeypatch):
    small, large = (
        SimpleNamespace(folder=clips, state="a", waveforms=np.zeros((clips, 10), np.int16)) for clips in (4, 8)
    )
    free = {"bytes": 1000}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free["bytes"], 800))
    device = torch.device("cuda")
    monkeypatch.setattr(trainer, "_RESIDENT", kept := {})
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, place: tensor)
    machine = Machine()
    assert machine.load_clips(device, small).shape == (4, 10)
    assert machine.load_clips(device, small) is machine.load_clips(device, small)
    assert machine.load_clips(device, large).shape == (8, 10)
    assert len(kept) == 1  # one corpus at a time
    free["bytes"] = 100
    assert machine.load_clips(device, small) is None
    assert Machine(resident=False).load_clips(device, small) is None
    assert Machine(devices=2).load_clips(device, small) is None
    assert machine.load_clips(torch.device("cpu"), small) is None


def test_a_machine_names_what_shall_compute_deformable_convolutions(corpus, tmp_path):
    losses = []
    for backend in ("torchvision", "gather", "numba"):
        machine = Machine("cpu", progress=False, deformable=backend)
        result = run(corpus, tmp_path / backend, [network()], machine, max_batches=1)
        losses += pd.read_csv(tmp_path / backend / "phases" / result.row["phases"] / "log.csv")["loss"].tolist()
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-4)
    with pytest.raises(ValueError, match="deformable=triton: not on cpu here, where there is numba or gather"):
        run(corpus, tmp_path, [network()], Machine("cpu", progress=False, deformable="triton"))
    assert not (tmp_path / "runs").exists()


def test_a_run_asked_for_twice_trains_nothing_and_gives_the_same_row(corpus, retrained, tmp_path):
    first = retrained
    second = run(corpus, tmp_path, [network(), classifier()])
    assert first.trained == (True, True)
    assert second.trained == (False, False)
    assert second.row == first.row


def test_a_copy_or_archive_beside_a_run_trains_nothing(corpus, first, tmp_path):
    shutil.copytree(first.folder, f"{first.folder}.bak")
    Path(f"{first.folder}.zip").touch()
    shutil.rmtree(tmp_path / "phases")
    assert run(corpus, tmp_path, [network()]).trained == (False,)


def test_a_run_that_was_scored_before_a_metric_was_added_gets_it_and_is_not_made_again(corpus, retrained, tmp_path):
    first = retrained
    later = ("auc", "calibration_error")
    older = {name: value for name, value in first.row.items() if not name.startswith(later) and name != "digest"}
    assert len(older) < len(first.row) - 3
    write_row(first.folder, older)
    shutil.rmtree(tmp_path / "phases")
    before = (first.folder / "row.json").read_bytes()
    second = run(corpus, tmp_path, [network(), classifier()])
    assert second.trained == (False, False)
    assert not (tmp_path / "phases").exists()
    assert (first.folder / "row.json").read_bytes() == before
    assert [second.row[name] for name in later] == [first.row[name] for name in later]


def test_a_complete_run_is_read_without_a_lock_and_a_newer_phase_stops_a_run(corpus, first, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "hold", None)
    assert run(corpus, tmp_path, [network()]).row == first.row
    monkeypatch.undo()
    shutil.rmtree(first.folder)
    record = tmp_path / "phases" / first.row["phases"] / "phase.json"
    record.write_text('{"format": 2}')
    with pytest.raises(Newer, match="phase.json has format 2"):
        run(corpus, tmp_path, [network()])
    assert record.read_text() == '{"format": 2}'


def test_the_same_seed_gives_the_same_row_and_another_seed_another(corpus, two_phases, tmp_path):
    copied(*two_phases, tmp_path / "a")
    again, other = (run(corpus, tmp_path / "bc"[s], [network(), classifier()], seed=s).row for s in (0, 1))
    rows = [two_phases[0].row, again, other]
    circumstances = {"seconds", "finished", "files", "digest"}
    assert {k: v for k, v in rows[0].items() if k not in circumstances} == {
        k: v for k, v in rows[1].items() if k not in circumstances
    }
    assert rows[2]["run"] != rows[0]["run"]
    predictions = [
        (tmp_path / name / "runs" / row["run"] / "predictions.csv") for name, row in zip("abc", rows, strict=True)
    ]
    assert predictions[0].read_bytes() == predictions[1].read_bytes()
    assert predictions[0].read_bytes() != predictions[2].read_bytes()


def test_runs_share_the_phases_that_they_have_in_common(corpus, retrained, tmp_path):
    first = retrained
    second = run(corpus, tmp_path, [network(), classifier(alpha=1)])
    same_as_first = run(corpus, tmp_path, [network(), classifier(alpha=0.2)], strategy="another")
    assert second.trained == (False, True)
    assert same_as_first.trained == (False, False)
    assert same_as_first.row["run"] != first.row["run"]
    assert same_as_first.row["f1"] == first.row["f1"]


def test_a_row_holds_what_scikit_learn_makes_of_the_predictions(two_phases):
    result, _ = two_phases
    predictions = pd.read_csv(result.folder / "predictions.csv")
    assert list(predictions)[:5] == ["recording", "singer", "technique", "context", "start"]
    assert len(predictions) == 12
    named = predictions.filter(like="logit_").rename(columns=lambda name: name.removeprefix("logit_")).idxmax(axis=1)
    assert result.row["accuracy"] == pytest.approx(accuracy_score(predictions["technique"], named))
    macro = f1_score(predictions["technique"], named, average="macro", zero_division=0)
    assert result.row["f1"] == pytest.approx(macro)
    table = pd.read_csv(result.folder / "confusion.csv", index_col="technique")
    assert table.to_numpy().sum() == 12
    assert np.diag(table).sum() == (predictions["technique"] == named).sum()
    assert json.loads((result.folder / "row.json").read_text()) == result.row
    assert result.row["epochs"] == 3


def test_the_sum_of_seconds_is_the_time_spent_and_shared_time_stands_apart(corpus, tmp_path):
    rows = [run(corpus, tmp_path, [network(), classifier(alpha=alpha)]).row for alpha in (0.2, 0.5)]
    records = [json.loads(path.read_text())["seconds"] for path in (tmp_path / "phases").glob("*/phase.json")]
    assert len(records) == 3
    assert sum(row["seconds"] for row in rows) == pytest.approx(sum(records), abs=0.003)
    network_key = rows[0]["phases"].split()[0]
    shared = json.loads((tmp_path / "phases" / network_key / "phase.json").read_text())["seconds"]
    assert [row["seconds_shared"] for row in rows] == [0, pytest.approx(shared, abs=0.002)]


@pytest.mark.parametrize("is_recorded", [True, False])
def test_the_sum_of_seconds_has_the_phases_of_a_run_that_was_killed(corpus, tmp_path, monkeypatch, is_recorded):
    def killed_in_the_second_phase(task):
        if task.number:
            raise Killed
        return train_phase(task)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "train_phase", killed_in_the_second_phase)
        if not is_recorded:
            patch.setattr(runs, "_record_end", lambda *_: None)
        with pytest.raises(Killed):
            run(corpus, tmp_path, [network(), classifier(alpha=0.2)])
    run(corpus, tmp_path, [network(), classifier(alpha=0.5)])
    rows = read_rows(tmp_path / "runs")
    assert sorted(row["status"] for row in rows) == ["complete", "failed" if is_recorded else "interrupted"]
    records = [json.loads(path.read_text())["seconds"] for path in (tmp_path / "phases").glob("*/phase.json")]
    assert len(records) == 2
    assert sum(row["seconds"] for row in rows) == pytest.approx(sum(records), abs=0.003)


def test_every_column_of_a_row_is_in_the_dictionary(two_phases):
    row = two_phases[0].row
    names = {column.name for column in COLUMNS}
    of_techniques = {name for name in row if split_column(name)}  # the tiny corpus has techniques of its own
    assert set(row) - of_techniques <= names


def test_a_run_whose_predictions_are_empty_makes_them_again(corpus, retrained, tmp_path, caplog):
    first = retrained
    whole = (first.folder / "predictions.csv").read_bytes()
    (first.folder / "predictions.csv").write_text("")
    again = run(corpus, tmp_path, [network(), classifier()])
    assert again.trained == (False, False)
    assert (first.folder / "predictions.csv").read_bytes() == whole
    assert again.row["f1"] == first.row["f1"]
    assert again.row["seconds"] == first.row["seconds"]
    assert "predictions.csv is damaged" in caplog.text


def test_a_changed_score_is_mended_when_the_run_is_asked_for_again(corpus, retrained, tmp_path):
    first = retrained
    path = first.folder / "row.json"
    path.write_text(path.read_text().replace('"accuracy": ', '"accuracy": 0.123456'))
    assert run(corpus, tmp_path, [network(), classifier()]).row["accuracy"] == first.row["accuracy"]
    assert json.loads(path.read_text())["accuracy"] == first.row["accuracy"]


def test_a_run_of_a_newer_version_is_refused_and_left_as_it_is(corpus, retrained, tmp_path):
    path = retrained.folder / "row.json"
    newer = path.read_text().replace(f'"schema": {SCHEMA}', f'"schema": {SCHEMA + 1}')
    path.write_text(newer)
    with pytest.raises(Newer, match=r"row\.json has schema"):
        run(corpus, tmp_path, [network(), classifier()])
    assert path.read_text() == newer


def test_a_joint_phase_that_starts_from_a_network_phase_keeps_its_optimiser(corpus, tmp_path, monkeypatch):
    kept = run(corpus, tmp_path / "a", [network(1), network(1)])
    monkeypatch.setattr(fit, "_previous_optimizer_state", lambda *_: None)
    lost = run(corpus, tmp_path / "b", [network(1), network(1)])
    assert not same(weights(tmp_path / "a", kept), weights(tmp_path / "b", lost))


class Scaled(torch.nn.Module):
    """Cross-entropy of logits times a learned scale, with a buffer of its settings."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0))
        self.register_buffer("factor", torch.tensor(factor))

    def forward(self, logits, targets):
        return self.factor * torch.nn.functional.cross_entropy(self.scale * logits, targets)


SGD = functools.partial(torch.optim.SGD, lr=1e-3)


@pytest.mark.parametrize(
    ("first", "second", "is_taken_up"),
    [
        ({}, {"learning_rate": 1e-5}, True),
        ({}, {"loss": loss(1.0)}, True),
        ({}, {"optimizer": functools.partial(ADAM, weight_decay=0.1)}, False),
        ({"optimizer": SGD}, {"optimizer": functools.partial(SGD, momentum=0.9)}, False),
        ({}, {"optimizer": SGD}, False),
        ({"loss": Scaled}, {}, False),
        ({}, {"loss": Scaled}, False),
        ({"loss": Scaled}, {"loss": functools.partial(Scaled, factor=3.0)}, True),
    ],
)
def test_an_optimizer_is_taken_up_where_only_its_rate_differs(
    corpus, tmp_path, monkeypatch, first, second, is_taken_up
):
    taken_up, states = fit._previous_optimizer_state, []
    monkeypatch.setattr(fit, "_previous_optimizer_state", lambda *given: states.append(taken_up(*given)) or states[-1])
    heads = [classifier(1, init="warm", **settings) for settings in (first, second)]
    phases = [network(), *heads]
    result = run(corpus, tmp_path, phases, max_batches=1)
    assert result.row["status"] == "complete"
    assert (states[-1] is not None) == is_taken_up
    assert states[:-1] == [None] * (len(phases) - 2)  # a head after a network begins anew


def test_a_phase_takes_up_its_losss_parameters_and_no_buffers(corpus, tmp_path, monkeypatch):
    built, build_loss = [], fit.build_loss
    monkeypatch.setattr(fit, "build_loss", lambda *given: built.append(build_loss(*given)) or built[-1])
    seen, module = [], fit.TechniqueModule

    def noted(network, phase, criterion, *arguments, **options):
        if criterion in built:
            seen.append({name: float(value) for name, value in criterion.state_dict().items()})
        return module(network, phase, criterion, *arguments, **options)

    monkeypatch.setattr(fit, "TechniqueModule", noted)
    run(corpus, tmp_path, [network(1, loss=Scaled), network(1, loss=functools.partial(Scaled, factor=3.0))])
    assert seen == [{"scale": 2, "factor": 1}, {"scale": pytest.approx(2, abs=0.1), "factor": 3}]
    assert seen[1]["scale"] != 2


def test_another_weight_decay_in_a_second_phase_makes_other_weights(corpus, tmp_path):
    phases = [network(1), network(1, optimizer=functools.partial(ADAM, weight_decay=0.5))]
    plain, decayed = run(corpus, tmp_path, [network(1), network(1)]), run(corpus, tmp_path, phases)
    assert not same(weights(tmp_path, plain), weights(tmp_path, decayed))


def test_a_diverging_run_stops_at_once_naming_the_epoch_and_the_batchs_clips(corpus, tmp_path):
    poisoned = copy.copy(corpus)  # one clip whose loss is not finite, whatever the weights
    poisoned.waveforms = corpus.waveforms.astype(np.float32) / 32768
    poisoned.waveforms[corpus.rows("train")[20]] = np.nan
    order = EpochSampler(30, seed=0, first_epoch=0)
    place = list(order).index(20)
    with pytest.raises(
        FloatingPointError, match=f"the loss is nan in epoch 1, batch {place // 8 + 1} of 8 clips"
    ) as seen:
        run(poisoned, tmp_path, [network()])
    assert "train/trill_4.wav at 0 s" in str(seen.value)  # the 21st training clip: 16 are straight
    assert str(seen.value).count(" at 0 s") == 8
    assert "training has diverged; try a smaller optimizer.lr than 0.001." in str(seen.value)
    assert not list(tmp_path.glob("phases/[0-9a-f]*"))
    assert not list(tmp_path.glob("phases/.*.work/last.ckpt"))
    (row,) = read_rows(tmp_path / "runs")
    assert row["status"] == "failed"
    assert row["reason"] == str(seen.value)
    assert "Traceback" in (tmp_path / "runs" / row["run"] / "failure.txt").read_text()


def test_a_failed_run_is_tried_again_and_then_complete(corpus, one_epoch, tmp_path, monkeypatch):
    undisturbed, _ = one_epoch
    with monkeypatch.context() as patch:
        patch.setattr(
            runs, "train_phase", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory"))
        )
        with pytest.raises(torch.OutOfMemoryError):
            run(corpus, tmp_path / "b", [network()])
    assert read_rows(tmp_path / "b" / "runs")[0]["status"] == "failed"
    again = run(corpus, tmp_path / "b", [network()])
    (row,) = read_rows(tmp_path / "b" / "runs")
    assert row["status"] == "complete"
    assert "reason" not in row
    assert not (again.folder / "failure.txt").exists()
    circumstances = {"seconds", "finished", "files", "digest"}
    assert {k: v for k, v in row.items() if k not in circumstances} == {
        k: v for k, v in undisturbed.row.items() if k not in circumstances
    }


@pytest.mark.parametrize(
    ("name", "damage"),
    [("weights.safetensors", "changed"), ("optimizer.pt", "gone"), ("phase.json", "cut")],
)
def test_a_damaged_phase_is_set_aside_and_made_again_with_the_same_bits(corpus, first, tmp_path, caplog, name, damage):
    phase = tmp_path / "phases" / first.row["phases"]
    whole = (phase / name).read_bytes()
    half = len(whole) // 2
    damaged = {"changed": whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :], "cut": whole[:half]}
    (phase / name).unlink() if damage == "gone" else (phase / name).write_bytes(damaged[damage])
    shutil.rmtree(first.folder)
    again = run(corpus, tmp_path, [network()])
    assert again.trained == (True,)
    assert "set aside" in caplog.text
    assert list(tmp_path.glob(f"phases/.{phase.name}.damaged-1"))
    if name == "weights.safetensors":
        assert (phase / name).read_bytes() == whole
    assert {k: v for k, v in again.row.items() if k.startswith("f1")} == {
        k: v for k, v in first.row.items() if k.startswith("f1")
    }


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"epoch\r\n1\r\n"), Path.unlink])
def test_a_learning_curve_that_a_spreadsheet_saved_or_nobody_has_costs_no_training(corpus, first, tmp_path, change):
    change(tmp_path / "phases" / first.row["phases"] / "log.csv")
    shutil.rmtree(first.folder)
    assert run(corpus, tmp_path, [network()]).trained == (False,)


def test_damaged_features_are_computed_again(corpus, first, tmp_path, caplog):
    kept = (tmp_path / "phases" / first.row["phases"] / "features").glob(f"{corpus.fingerprint('test')[:8]}*.npy")
    (features,) = kept
    whole = features.read_bytes()
    features.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    predictions = (first.folder / "predictions.csv").read_bytes()
    shutil.rmtree(first.folder)
    again = run(corpus, tmp_path, [network()])
    assert again.trained == (False,)
    assert "computed again" in caplog.text
    (aside,) = features.parent.glob(f".{features.name}.damaged-1")
    assert aside.read_bytes() == whole[:-1] + bytes([whole[-1] ^ 1])
    assert features.read_bytes() == whole
    assert (again.folder / "predictions.csv").read_bytes() == predictions


def test_a_damaged_row_is_set_aside_and_made_again(corpus, first, tmp_path, caplog):
    (first.folder / "row.json").write_text("{")
    again = run(corpus, tmp_path, [network()])
    assert "set aside" in caplog.text
    (aside,) = (tmp_path / "runs").glob(".*.damaged-1")
    assert (aside / "row.json").read_text() == "{"
    assert again.row["f1"] == first.row["f1"]


def test_a_run_that_was_killed_is_recognised_by_its_stale_status(corpus, first, tmp_path):
    write_row(first.folder, first.row | {"status": "running"})
    (row,) = read_rows(tmp_path / "runs")
    assert row["status"] == "interrupted"
    with hold(first.folder, "run is being made"):
        (row,) = read_rows(tmp_path / "runs")
    assert row["status"] == "running"
    said = []
    execute(a_run(corpus, [network()]), corpus, tmp_path, MACHINE, say=said.append)
    assert said[0] == "it was interrupted before; it goes on from what is stored."
    assert read_rows(tmp_path / "runs")[0]["status"] == "complete"


def test_a_sigterm_whose_hearer_goes_on_does_not_end_training(corpus, tmp_path, monkeypatch):
    """As on Slurm, where it announces that the job may end."""
    heard = []

    def announce(self, *_):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("singtech.training.callbacks.Progress.on_train_batch_end", announce)
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("announced"))
    try:
        result = run(corpus, tmp_path, [network()])
    except KeyboardInterrupt:
        pytest.fail("training ended as if by ctrl-C")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == ["announced"] * 4  # an epoch's batches
    assert result.row["status"] == "complete"


def test_a_row_says_running_while_somebody_works_on_it(corpus, tmp_path, monkeypatch):
    seen = []

    def look(*_):
        seen.extend(row["status"] for row in read_rows(tmp_path / "runs"))
        raise ValueError("seen enough")

    monkeypatch.setattr(runs, "train_phase", look)
    with pytest.raises(ValueError, match="seen enough"):
        run(corpus, tmp_path, [network()])
    assert seen == ["running"]


def test_what_a_run_writes_and_every_checkpoint_takes_its_place_in_one_step(corpus, tmp_path, monkeypatch):
    placed, replace = [], os.replace

    def noted(source, place):
        placed.append(Path(place))
        replace(source, place)

    monkeypatch.setattr(os, "replace", noted)
    result = run(corpus, tmp_path, [network(2)])
    assert set(result.folder.iterdir()) <= set(placed)
    assert set((tmp_path / "phases" / result.row["phases"] / "features").iterdir()) <= set(placed)
    assert [path.name for path in placed].count("last.ckpt") == 2  # one an epoch


def test_half_a_row_that_a_killed_process_left_is_cleared_away(corpus, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(runs, "train_phase", lambda *_: (_ for _ in ()).throw(ValueError("no")))
        with pytest.raises(ValueError, match="no"):
            run(corpus, tmp_path, [network()])
    (folder,) = (tmp_path / "runs").iterdir()
    (folder / ".row.json.x1y2z3.tmp").write_text("{")
    (folder / ".predictions.csv.x1y2z3.tmp").write_text("recording,")
    run(corpus, tmp_path, [network()])
    assert not list(folder.glob(".*"))


def test_training_that_another_took_over_ends_after_the_epoch_and_leaves_its_checkpoint_alone(corpus, tmp_path):
    epochs = []

    def require_lease():
        epochs.append(len(epochs) + 1)
        if len(epochs) == 2:
            raise LeaseLost("it was taken over", tmp_path)

    work = tmp_path / "work"
    with pytest.raises(LeaseLost):
        train_phase(Task(a_run(corpus, [network(4)]), 0, (), corpus, work, MACHINE, require_lease=require_lease))
    assert epochs == [1, 2]
    assert len(read_checkpoint(work / "last.ckpt")["curve"]) == 1


def test_who_lost_a_run_to_another_writes_no_scores(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "LEASE_SECONDS", 1.0)
    folder = tmp_path / "runs" / a_run(corpus, [network()]).name(corpus.fingerprint("test"))

    def sleep(*_):
        get_lock_path(folder).unlink()
        left_by("elsewhere", folder, 1.0)
        time.sleep(1.5)  # two heartbeats

    monkeypatch.setattr(runs, "predict", sleep)
    with pytest.raises(Busy, match="another process took over"):
        run(corpus, tmp_path, [network()])
    assert not (folder / "predictions.csv").exists()


def test_who_may_not_wait_leaves_a_run_to_whoever_makes_it(corpus, tmp_path):
    asked = a_run(corpus, [network()])
    folder = tmp_path / "runs" / asked.name(corpus.fingerprint("test"))
    with (
        hold(folder, "run is being made"),
        pytest.raises(Busy, match=rf"run {folder.name} is being made by process"),
    ):
        in_another_thread(lambda: execute(asked, corpus, tmp_path, MACHINE, say=lambda line: None, wait=False))
    assert not (tmp_path / "phases").exists()


def test_who_may_not_wait_leaves_a_phase_to_whoever_trains_it(corpus, tmp_path):
    asked = a_run(corpus, [network()])
    with (
        hold(tmp_path / "phases" / asked.keys[0], "it is being trained"),
        pytest.raises(Busy, match=rf"phase 1/1 network \({asked.keys[0]}\) is being trained by process"),
    ):
        in_another_thread(lambda: execute(asked, corpus, tmp_path, MACHINE, say=lambda line: None, wait=False))
    assert read_rows(tmp_path / "runs") == []
    assert list((tmp_path / "runs").glob("[!.]*")) == []


def take_over(place):
    """What another machine does that saw no sign of life: its mark stands where ours stood."""
    mark = ["filelock/2", "pid=1", "host=elsewhere", "mode=lease", "token=00", f"duration={locks.LEASE_SECONDS!r}"]
    locks.get_lock_path(place).write_text("\n".join(mark) + "\n")


@pytest.mark.parametrize("end", [None, KeyboardInterrupt, ValueError])
def test_who_slept_while_its_run_was_taken_over_and_finished_leaves_that_alone(
    corpus, one_epoch, tmp_path, monkeypatch, end
):
    finished, _ = one_epoch
    asked = tmp_path / "outputs" / "runs" / finished.folder.name
    train = fit.train_phase

    def sleep_and_wake(*arguments):
        outcome = train(*arguments)
        locks.get_lock_path(asked).unlink()
        take_over(asked)
        shutil.rmtree(asked)
        shutil.copytree(finished.folder, asked)
        if end:
            raise end("woken")
        return outcome

    monkeypatch.setattr(runs, "train_phase", sleep_and_wake)
    with pytest.raises(end or Busy):
        run(corpus, tmp_path / "outputs", [network()])
    assert read_rows(tmp_path / "outputs" / "runs") == [finished.row]
    assert (asked / "predictions.csv").exists()


def test_who_slept_while_its_phase_was_taken_over_publishes_nothing(corpus, tmp_path, monkeypatch):
    place = tmp_path / "phases" / a_run(corpus, [network(2)]).keys[0]
    save = EpochCheckpoint.on_train_epoch_end
    saved = []

    def sleep_after_the_first(callback, *arguments):
        save(callback, *arguments)
        saved.append(1)
        locks.get_lock_path(place).unlink()
        take_over(place)

    monkeypatch.setattr(EpochCheckpoint, "on_train_epoch_end", sleep_after_the_first)
    with pytest.raises(Busy, match="another process took over"):
        run(corpus, tmp_path, [network(2)])
    assert saved == [1]
    assert not place.exists()


def test_a_complete_row_without_its_predictions_is_made_again(corpus, first, tmp_path):
    bytes_then = (first.folder / "predictions.csv").read_bytes()
    (first.folder / "predictions.csv").unlink()
    run(corpus, tmp_path, [network()])
    assert (first.folder / "predictions.csv").read_bytes() == bytes_then


def test_a_reason_that_no_file_can_hold_is_spelled_out(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "train_phase", lambda *_: (_ for _ in ()).throw(ValueError("a\udcff.wav is odd")))
    with pytest.raises(ValueError, match="is odd"):
        run(corpus, tmp_path, [network()])
    assert read_rows(tmp_path / "runs")[0]["reason"] == "a\\udcff.wav is odd"


def in_another_thread(work):
    """A lock's holder is a thread; what this one holds another has to wait for."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("batch_size", 1, "batch_size=1: expected two clips or more for each of trainer.devices"),
        ("selection", "first", "selection=first: expected last or best"),
        ("precision", "8-bit", "precision=8-bit: expected 32-true or bf16-mixed or 16-mixed"),
        ("max_batches", 0, "schedule.max_batches=0: expected a whole number from 1 up, or null"),
        ("devices", 0, "trainer.devices=0: expected how many devices"),
        ("devices", 5, "batch_size=8: expected two clips or more for each of trainer.devices"),
    ],
)
def test_settings_that_cannot_be_are_named(corpus, setting, value, message):
    with pytest.raises(ValueError, match=message):
        a_run(corpus, [network()], **{setting: value})


def test_validation_singers_are_scored_too(corpus, tmp_path):
    result = run(corpus, tmp_path, [network()])
    told = read_predictions(result.folder / VALIDATION)
    assert len(told.clips) == len(corpus.rows("validation"))
    named = told.logits.argmax(axis=1)
    assert result.row["validation_f1"] == pytest.approx(f1_score(told.targets, named, average="macro", zero_division=0))
    assert "validation_f1" not in run(TinyCorpus(validation=0), tmp_path / "without", [network()]).row


@pytest.mark.parametrize("validation", [0, 2, 3])
def test_other_validation_singers_are_scored_again_and_nothing_is_trained(corpus, first, tmp_path, validation):
    other = TinyCorpus(validation=0)
    added = TinyCorpus(validation=validation, seed=7)
    rows = added.rows("validation")
    other.clips = pd.concat([other.clips, added.clips.iloc[rows]], ignore_index=True)
    other.waveforms = np.concatenate([corpus.waveforms[corpus.clips["split"] != "validation"], added.waveforms[rows]])
    if validation == 2:
        other.state = "f" * 64  # the recordings' names are the same, and not what they hold
    predictions, judged = ((first.folder / name).read_bytes() for name in ("predictions.csv", VALIDATION))
    again = run(other, tmp_path, [network()])
    assert (again.folder, again.trained) == (first.folder, (False,))
    assert (again.folder / VALIDATION).exists() == bool(validation)
    assert ("validation_f1" in again.row) == bool(validation)
    assert read_rows(tmp_path / "runs") == [again.row]
    assert (again.folder / "predictions.csv").read_bytes() == predictions
    if validation:
        fresh = run(other, tmp_path / "fresh", [network()])
        assert again.row["validation_f1"] == fresh.row["validation_f1"]
        assert (again.folder / VALIDATION).read_bytes() == (fresh.folder / VALIDATION).read_bytes() != judged


def test_a_row_and_a_line_name_the_version_and_commit_of_each_phase(corpus, tmp_path):
    version = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["version"]

    def made(alpha, commit):
        said = []
        asked = a_run(corpus, [network(), classifier(1, alpha=alpha)])
        row = execute(asked, corpus, tmp_path, MACHINE, provenance={"commit": commit}, say=said.append).row
        return row["made_by"], row["commit"], [line for line in said if "made by" in line]

    assert made(0.2, "aaaa") == (f"{version}@aaaa {version}@aaaa", "aaaa", [])
    made_by, commit, (line,) = made(0.5, "bbbb")
    assert (made_by, commit) == (f"{version}@aaaa {version}@bbbb", "bbbb")
    assert line.startswith("phase 1/2 network: 1 epochs of the network taken from the store")
    assert line.endswith(f"s, made by {version}@aaaa)")
    records = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("phases/*/phase.json"))]
    assert sorted((record["version"], record["commit"]) for record in records) == [
        (version, "aaaa"),
        (version, "aaaa"),
        (version, "bbbb"),
    ]


class Encoder(OblongExtractor):
    """A network that was trained elsewhere: every weight of its convolutions is 0.01, whatever the seed."""

    pretrained = True

    def __init__(self, shape):
        super().__init__(shape, dc=())
        for layer in self.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.constant_(layer.weight, 0.01)
                torch.nn.init.zeros_(layer.bias)


@pytest.fixture
def passes(monkeypatch):
    """Batches of clips that went through an extractor for their features."""
    batches = []
    inputs = fit._inputs
    monkeypatch.setattr(fit, "_inputs", lambda *given: (batches.append(1) or values for values in inputs(*given)))
    return batches


def test_a_head_is_trained_on_the_features_of_a_pretrained_network_computed_once(corpus, tmp_path, passes):
    encoder = Architecture(functools.partial(MultiResolutionSpectrogram, **FRONT_END), Encoder)
    head = classifier(3, init="warm")
    first = run(corpus, tmp_path, [Pretrained(), head], network=encoder)
    assert first.trained == (True, True)
    assert first.row["epochs"] == 3
    assert len(passes) == 4 + 1 + 2  # 30 training, 6 validation and 12 test clips, by eight
    second = run(corpus, tmp_path, [Pretrained(), classifier(3, alpha=1.0, init="warm")], network=encoder)
    assert second.trained == (False, True)
    assert len(passes) == 7
    before, after = weights(tmp_path, first, 0), weights(tmp_path, first, 1)
    extractor = [name for name in before if name.startswith("extractor.")]
    assert all(torch.equal(before[name], after[name]) for name in extractor)
    assert all(bool((after[name] == np.float32(0.01)).all()) for name in extractor if name.endswith("conv.weight"))
    assert any(name.endswith("conv.weight") for name in extractor)
    assert not torch.equal(before["classifier.weight"], after["classifier.weight"])
    assert not same(after, weights(tmp_path, second, 1))


def test_a_pretrained_networks_head_is_drawn_from_the_seed_and_the_rest_is_not(corpus):
    networks = [a_run(corpus, [], Architecture(oblong().front_end, Encoder), seed=seed).build() for seed in (0, 1)]
    convolutions = [network.extractor.convolutions.state_dict() for network in networks]
    assert same(*convolutions)
    heads = [network.classifier.weight for network in networks]
    assert not torch.equal(*heads)
    assert torch.equal(heads[0], a_run(corpus, []).build().classifier.weight)  # as any network's of the seed


def stored_features(folder, result, corpus, split="test"):
    """(N, D) of a split's clips, from the first phase of a run."""
    place = folder / "phases" / result.row["phases"].split()[0] / "features"
    (path,) = place.glob(f"{corpus.fingerprint(split)[:16]}-*.npy")
    return np.load(path)


def logits_of(result):
    return pd.read_csv(result.folder / "predictions.csv").filter(like="logit_").to_numpy()


def test_tau_normalisation_divides_each_techniques_weights_by_their_norm(corpus, tmp_path):
    tau = 0.5
    rewrite = RewriteHead(rewrite=functools.partial(TauNormalized, tau=tau))
    result = run(corpus, tmp_path, [network(), rewrite])
    assert result.row["epochs"] == 1
    before, after = weights(tmp_path, result, 0), weights(tmp_path, result, 1)
    head = before.pop("classifier.weight").numpy().astype(float)
    expected = head / np.sqrt((head**2).sum(axis=1, keepdims=True)) ** tau
    rewritten = after.pop("classifier.weight").numpy()
    np.testing.assert_allclose(rewritten, expected, rtol=1e-5)
    assert before.pop("classifier.bias").abs().max() > 0
    assert after.pop("classifier.bias").tolist() == [0, 0, 0]
    assert same(before, after)
    features = stored_features(tmp_path, result, corpus).astype(float)
    np.testing.assert_allclose(logits_of(result), features @ expected.T, rtol=1e-4, atol=1e-5)


def test_learnable_scaling_changes_one_factor_a_technique(corpus, tmp_path):
    result = run(corpus, tmp_path, [network(), classifier(5, alpha=1.0, init="warm", learns=LearnableScaling)])
    assert result.row["epochs"] == 6
    before, after = weights(tmp_path, result, 0), weights(tmp_path, result, 1)
    plain, scaled = before.pop("classifier.weight").numpy(), after.pop("classifier.weight").numpy()
    factors = (plain * scaled).sum(axis=1) / (plain**2).sum(axis=1)
    np.testing.assert_allclose(scaled, factors[:, None] * plain, rtol=1e-4, atol=1e-7)
    assert len(set(factors.round(5))) == 3
    assert np.abs(factors - 1).max() > 1e-3
    assert before.pop("classifier.bias").abs().max() > 0
    assert after.pop("classifier.bias").tolist() == [0, 0, 0]
    assert same(before, after)
    features = stored_features(tmp_path, result, corpus)
    np.testing.assert_allclose(logits_of(result), features @ scaled.T, rtol=1e-4, atol=1e-5)


def test_strategies_without_two_trainings_run_to_a_row(call, own):
    done = call("run", "-m", "strategy=head,tau_norm,lws", *own)
    assert done.status == 0, done.err
    assert len(re.findall(r"^F1 \d", done.out, re.MULTILINE)) == 3
    assert "phase 1/2 network: the network as it was built stored" in done.out
    assert "rewrite of the head stored" in done.out


@pytest.mark.parametrize(("selection", "extractor"), [("last", "train"), ("best", "eval")])
def test_a_fixed_extractor_is_in_no_checkpoint_unless_its_statistics_move(corpus, tmp_path, selection, extractor):
    asked = a_run(corpus, [network(), classifier(1, extractor=extractor)], selection=selection)
    run(corpus, tmp_path, asked.phases[:1], selection=selection)
    stored = (PhaseStore(tmp_path / "phases").find(asked.keys[0]),)
    train_phase(Task(asked, 1, stored, corpus, tmp_path / "work", MACHINE))
    checkpoint = read_checkpoint(tmp_path / "work" / "last.ckpt")
    held = [checkpoint["state_dict"], *(state["weights"] for state in checkpoint["callbacks"].values())]
    assert len(held) == (2 if selection == "best" else 1)
    for state in held:
        assert "network.classifier.weight" in state
        assert any(name.startswith(("network.extractor.", "network.front_end.")) for name in state) == (
            extractor == "train"
        )


class Listening(OblongExtractor):
    """The oblong CNN with a hook on each block's dropout that does nothing."""

    heard = 0

    def __init__(self, shape, dc=()):
        super().__init__(shape, dc=dc)
        for block in self.convolutions:
            block.dropout.register_forward_hook(self.hear)

    @classmethod
    def hear(cls, module, inputs, output):
        cls.heard += 1


def test_a_hook_that_does_nothing_on_a_blocks_dropout_changes_no_weight(corpus, one_epoch, tmp_path):
    plain, folder = one_epoch
    listening = dataclasses.replace(oblong(), extractor=functools.partial(Listening, dc=(4,)))
    heard = run(corpus, tmp_path, [network()], network=listening)
    assert Listening.heard > 0
    ours, theirs = weights(tmp_path, heard), weights(folder, plain)
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=0)
    assert (plain.folder / "predictions.csv").read_bytes() == (heard.folder / "predictions.csv").read_bytes()


class Dropping(torch.nn.Linear):
    """A head that drops most of its features in training."""

    def forward(self, features):
        return super().forward(torch.nn.functional.dropout(features, 0.9, self.training))


def test_a_head_drops_nothing_when_it_is_scored(corpus, tmp_path):
    result = run(corpus, tmp_path, [network()], network=dataclasses.replace(oblong(), head=Dropping))
    head = weights(tmp_path, result)
    features = stored_features(tmp_path, result, corpus)
    expected = features @ head["classifier.weight"].numpy().T + head["classifier.bias"].numpy()
    np.testing.assert_allclose(logits_of(result), expected, rtol=1e-4, atol=1e-5)
