"""On real singing (three techniques, three singers held out): what recalibration mends, and that it learns at all.

Needs VocalSet's recordings of belt, breathy and straight arpeggios by the 15 training singers, in the folder that
SINGTECH_REAL_VOCALSET names. A quarter of the sample rate and three epochs keep it short.
"""

import functools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch.nn.modules.batchnorm import _BatchNorm

from singtech.corpus.clip_store import prepare
from singtech.corpus.datamodule import VocalSetDataModule, to_waveform
from singtech.models.network import Architecture
from singtech.models.oblong import OblongExtractor
from singtech.models.spectrogram import MultiResolutionSpectrogram
from singtech.training.fit import Run, Setup, Task, train_phase
from singtech.training.phases import TrainNetwork
from singtech.training.recalibration import recalibrate
from singtech.training.trainer import Machine

REAL = os.environ.get("SINGTECH_REAL_VOCALSET", "")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not REAL, reason="SINGTECH_REAL_VOCALSET does not name a folder of real recordings"),
]
FRONT_END = {"n_fft": 768, "win_lengths": (768, 384, 192), "hop_length": 300}
HELD_OUT = ["female3", "male1", "male7"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return prepare(
        Path(REAL),
        tmp_path_factory.mktemp("real"),
        name="real",
        techniques=["belt", "breathy", "straight"],
        split={"test": HELD_OUT},
        sample_rate=12000,
    )


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    """The plain network after three epochs, with the running statistics that training left."""
    front_end = functools.partial(MultiResolutionSpectrogram, **FRONT_END)
    setup = Setup(
        network=Architecture(front_end, functools.partial(OblongExtractor, dc=())),
        seed=0,
        training_clips=corpus.fingerprint("train"),
        batch_size=8,
    )
    names = dict.fromkeys(("data", "fold", "model", "dc", "strategy", "settings"), "") | {"alpha": 0.0}
    phase = TrainNetwork(epochs=3, optimizer=functools.partial(torch.optim.Adam, lr=1e-3))
    run = Run(names, setup, (phase,), corpus.waveforms.shape[1], 3, corpus.sample_rate)
    work = tmp_path_factory.mktemp("work")
    network = run.build()
    task = Task(run, 0, (), corpus, work, Machine(accelerator="cpu", progress=False))
    outcome = train_phase(task)
    network.load_state_dict(dict(outcome.weights) | dict(outcome.running))
    return network


@torch.no_grad()
def macro_f1(network, corpus, split):
    """Macro F1 of a split, in whatever modes the layers are, batches mixed."""
    rows, targets = corpus.rows(split), corpus.targets(split)
    order = np.random.default_rng(0).permutation(len(rows))
    named = []
    for some in np.array_split(order, -(-len(order) // 32)):
        named += network(to_waveform(torch.from_numpy(corpus.waveforms[rows[some]]))).argmax(1).tolist()
    return f1_score(targets[order], named, average="macro")


@pytest.mark.long
def test_recalibration_mends_what_dropout_does_to_batch_norms_running_statistics(corpus, trained):
    norms = [layer for layer in trained.modules() if isinstance(layer, _BatchNorm)]
    trained.eval()
    running_variances = [norm.running_var.clone() for norm in norms]
    running = macro_f1(trained, corpus, "train")
    for norm in norms:
        norm.train()
        norm.momentum = 0.0  # looks at batches, learns nothing
    by_batch = macro_f1(trained, corpus, "train")
    for norm in norms:
        norm.momentum = 0.1
    recalibrate(trained, (to_waveform(samples) for samples, _ in VocalSetDataModule(corpus, 32).recalibration_loader()))
    recalibrated = {split: macro_f1(trained, corpus, split) for split in ("train", "test")}
    print(f"training clips: running {running:.3f}, by batch {by_batch:.3f}, recalibrated {recalibrated['train']:.3f};")
    print(f"held-out singers, recalibrated {recalibrated['test']:.3f}")
    after_dropout = [norm.running_var / before for norm, before in zip(norms, running_variances, strict=True)][1:4]
    assert max(ratio.median().item() for ratio in after_dropout) < 0.95
    assert by_batch > running + 0.15
    assert recalibrated["train"] > running + 0.15
    assert recalibrated["train"] > by_batch - 0.05
    assert recalibrated["test"] > 0.45  # chance is 0.33; the singers are new
