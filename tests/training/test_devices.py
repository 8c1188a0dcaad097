"""Several devices that share every batch: two processes on the CPU, which talk by gloo."""

import copy
import sys
import traceback

import numpy as np
import pandas as pd
import pytest
import torch
from torch.multiprocessing import ProcessRaisedException

from singtech import components
from singtech.components import ComponentError
from singtech.corpus.datamodule import EpochSampler, SharedBatches
from singtech.errors import Diverged
from singtech.imbalance.rewrites import LearnableScaling
from singtech.training.fit import Task, train_phase
from singtech.training.module import TechniqueModule
from singtech.training.phase_store import PhaseStore
from singtech.training.trainer import Machine, raise_from_processes
from tests.training.test_run import a_run, classifier, loss, network, run, weights

ALONE, TOGETHER = (Machine(accelerator="cpu", progress=False, devices=devices) for devices in (1, 2))


def test_devices_share_every_batch_and_together_see_what_one_would():
    whole = list(SharedBatches(EpochSampler(30, seed=3), 8, drop_last=False))
    shares = [list(SharedBatches(EpochSampler(30, seed=3), 8, False, rank, devices=2)) for rank in (0, 1)]
    assert [len(batch) for batch in whole] == [8, 8, 8, 6]
    for batch, first, second in zip(whole, *shares, strict=True):
        assert len(first) == len(second)
        assert sorted(first + second) == sorted(batch)


def test_each_device_draws_a_dropout_of_its_own_in_every_epoch(corpus, monkeypatch):
    def drawn(rank, epoch=0):
        module = TechniqueModule(a_run(corpus, []).build(), network(), loss(), 3, seed=0, first_epoch=epoch)
        monkeypatch.setattr(TechniqueModule, "global_rank", rank)
        module.on_train_epoch_start()
        return torch.rand(4).tolist()

    assert len({tuple(drawn(rank, epoch)) for rank in (0, 1, 2) for epoch in (0, 1)}) == 6
    assert drawn(1) == drawn(1)


@pytest.mark.long
@pytest.mark.parametrize(("reduction", "learns"), [("weights", None), ("weights", LearnableScaling), ("clips", None)])
def test_two_devices_retrain_the_classifier_that_one_does(corpus, tmp_path, reduction, learns):
    head = classifier(4, loss=loss(1.0, reduction=reduction), learns=learns, init="warm" if learns else "scratch")
    phases = [network(1), head]  # of which the second has neither batch norm nor dropout
    alone = run(corpus, tmp_path, phases, machine=ALONE)
    asked = a_run(corpus, phases)
    stored = (PhaseStore(tmp_path / "phases").find(asked.keys[0]),)
    together = train_phase(Task(asked, 1, stored, corpus, tmp_path / "work", TOGETHER)).weights
    for name, theirs in weights(tmp_path, alone).items():
        torch.testing.assert_close(together[name], theirs, rtol=0, atol=1e-6)


@pytest.mark.long
def test_two_devices_train_a_network_and_one_scores_it(corpus, tmp_path):
    together = run(corpus, tmp_path, [network()], machine=TOGETHER, devices=2)
    log = pd.read_csv(tmp_path / "phases" / together.row["phases"] / "log.csv")
    assert log["epoch"].tolist() == [1]
    assert np.isfinite(log.to_numpy()).all()
    assert together.row["device"].startswith("2 x cpu")
    assert together.row["status"] == "complete"
    predictions = pd.read_csv(together.folder / "predictions.csv")
    assert len(predictions) == predictions["recording"].nunique() == 12  # nobody scored a clip twice


class Own(Exception):
    pass


@pytest.mark.parametrize(
    ("problem", "kind", "message"),
    [
        (Own("tired"), ComponentError, r".*mine\.py, line 2, in step: Own: tired$"),
        (Own(), ComponentError, r".*mine\.py, line 2, in step: Own: $"),
        (Diverged("the loss is nan"), Diverged, "^the loss is nan$"),
        (torch.OutOfMemoryError("CUDA out of memory."), RuntimeError, "^CUDA out of memory.$"),
    ],
)
def test_an_exception_in_a_persons_own_file_names_its_line(tmp_path, monkeypatch, problem, kind, message):
    (tmp_path / "mine.py").write_text("def step(problem):\n    raise problem\n")
    monkeypatch.setattr(components, "_user_folders", set())
    step = components.import_file(tmp_path / "mine.py").step
    monkeypatch.delitem(sys.modules, "mine")
    with pytest.raises(type(problem)) as raised:
        step(problem)
    traced = "".join(traceback.format_exception(raised.value))
    ended = ProcessRaisedException(f"\n\n-- Process 1 terminated with the following error:\n{traced}", 1, 0)
    with pytest.raises(kind, match=message), raise_from_processes():
        raise ended


@pytest.mark.long
def test_what_goes_wrong_on_one_of_two_devices_is_told_as_if_it_were_one(corpus, tmp_path):
    poisoned = copy.copy(corpus)
    poisoned.waveforms = corpus.waveforms.astype(np.float32) / 32768
    poisoned.waveforms[corpus.rows("train")[20]] = np.nan
    with pytest.raises(FloatingPointError, match=r"the loss is nan in epoch 1, batch \d of 8 clips \(.*trill_4\.wav"):
        run(poisoned, tmp_path, [network()], machine=TOGETHER, devices=2)
