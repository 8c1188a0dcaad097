"""Switches of a phase: learning rates, averaged weights, mixed clips, constraints, dropout passes, the minimum."""

import copy
import functools
import math
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from singtech.components import ComponentError
from singtech.errors import InvalidValue
from singtech.imbalance.losses import LDAM, WeightedCrossEntropy
from singtech.imbalance.minimum import objective
from singtech.imbalance.mixing import Mixup
from singtech.imbalance.rewrites import MaxNorm, NearestMean
from singtech.results.predictions import PREDICTIONS, read_predictions
from singtech.training.augmentation import (
    Chain,
    Equaliser,
    Excerpt,
    FrequencyMasks,
    FrequencyMixStyle,
    NoiseFloor,
    Room,
)
from singtech.training.module import TechniqueModule, smooth_labels
from singtech.training.phases import PASSES, FitHead, RewriteHead
from tests.training.test_run import (
    Killed,
    KillingMachine,
    a_run,
    classifier,
    loss,
    network,
    run,
    same,
    stored_features,
    weights,
)

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS: list[tuple[list[float], torch.Tensor]] = []  # of `Recording`


class Recording(torch.optim.SGD):
    """Gradient descent that records the rates of each step, and the last parameter after it."""

    def step(self, closure=None):
        result = super().step(closure)
        weights = self.param_groups[-1]["params"][-1]
        if weights.shape != (2, 2):  # of the try before training
            STEPS.append(([group["lr"] for group in self.param_groups], weights.detach().clone()))
        return result


SGD = functools.partial(Recording, lr=0.1)


@pytest.fixture(autouse=True)
def no_steps():
    STEPS.clear()


@pytest.mark.parametrize(
    ("decay", "share"),
    [
        ("none", lambda t: 1),
        ("linear", lambda t: 1 - t),
        ("cosine", lambda t: (1 + math.cos(math.pi * t)) / 2),
        # two of 12 steps are a tenth, rounded up
        ("warmup_cosine", lambda t: (12 * t + 1) / 3 if t < 2 / 12 else (1 + math.cos(math.pi * (1.2 * t - 0.2))) / 2),
    ],
)
def test_the_learning_rate_falls_to_zero_over_a_phase(corpus, tmp_path, decay, share):
    run(corpus, tmp_path, [network(), classifier(3, optimizer=SGD, decay=decay)])
    assert len(STEPS) == 12  # 3 epochs of 30 clips in batches of 8
    np.testing.assert_allclose([rates for rates, _ in STEPS], [[0.1 * share(t / 12)] for t in range(12)], atol=1e-9)


def test_averaged_weights_are_the_moving_average_of_all_steps(corpus, tmp_path):
    result = run(corpus, tmp_path, [network(2, optimizer=SGD, average=0.7)])
    average = STEPS[0][1]
    for _, bias in STEPS[1:]:
        average = 0.7 * average + 0.3 * bias
    torch.testing.assert_close(weights(tmp_path, result)["classifier.bias"], average)
    assert not torch.allclose(STEPS[-1][1], average)


def test_the_mean_of_the_last_epochs_is_that_of_the_weights_after_each(corpus, tmp_path):
    result = run(corpus, tmp_path, [network(3, optimizer=SGD, last_epochs=2)])
    after_epochs = [STEPS[number][1] for number in (7, 11)]  # of 12 steps, four an epoch
    torch.testing.assert_close(weights(tmp_path, result)["classifier.bias"], sum(after_epochs) / 2)


def test_the_mean_of_a_heads_weights_is_the_mean_of_its_epochs_predictions(corpus, tmp_path):
    options = {"optimizer": SGD, "init": "warm"}
    logits = []
    for epochs, more in ((1, {}), (2, {}), (2, {"last_epochs": 2})):
        result = run(corpus, tmp_path, [network(), classifier(epochs, **options, **more)])
        logits.append(read_predictions(result.folder / PREDICTIONS).logits)
    np.testing.assert_allclose(logits[2], (logits[0] + logits[1]) / 2, atol=1e-5)
    assert not np.allclose(logits[0], logits[1], atol=1e-3)


@pytest.mark.parametrize("average", [{"average": 0.9}, {"last_epochs": 2}])
@pytest.mark.parametrize("kill_in", ["network", "head"])
def test_an_interruption_changes_neither_decay_nor_average(corpus, tmp_path, monkeypatch, kill_in, average):
    of_head = {name: value for name, value in average.items() if name == "last_epochs"}
    head = classifier(3, extractor="dropout", mix=Mixup, decay="linear", **of_head)
    phases = [network(3, offset_rate=0.1, decay="warmup_cosine", **average), head]
    expected = run(corpus, tmp_path / "a", phases)
    monkeypatch.setattr(KillingMachine, "kills", kill_in, raising=False)
    with pytest.raises(Killed):
        run(corpus, tmp_path / "b", phases, machine=KillingMachine(accelerator="cpu", progress=False))
    resumed = run(corpus, tmp_path / "b", phases)
    for phase in (0, 1):
        assert same(weights(tmp_path / "a", expected, phase), weights(tmp_path / "b", resumed, phase))


def continued(corpus):
    """The same clips, of which every two of a technique are one recording."""
    other = copy.copy(corpus)
    number = other.clips.groupby(["split", "technique"]).cumcount()
    names = [f"{r.split}/{r.technique}_{n // 2}" for r, n in zip(other.clips.itertuples(), number, strict=True)]
    other.clips = other.clips.assign(recording=names, start=0.6 * (number % 2))
    return other


def chain():
    """All augmentations in a chain, as `augment=singtech` has them."""
    parts = {
        "excerpt": functools.partial(Excerpt, speed=0.06),
        **{part.__name__: part for part in (Equaliser, Room, NoiseFloor, FrequencyMixStyle, FrequencyMasks)},
    }
    return functools.partial(Chain, parts, list(parts), probability=dict.fromkeys(list(parts)[1:], 0.5))


def test_an_interruption_does_not_change_the_augmentation(corpus, tmp_path, monkeypatch):
    corpus, phases = continued(corpus), [network(3, augment=chain())]
    expected = run(corpus, tmp_path / "a", phases)
    monkeypatch.setattr(KillingMachine, "kills", "network", raising=False)
    with pytest.raises(Killed):
        run(corpus, tmp_path / "b", phases, machine=KillingMachine(accelerator="cpu", progress=False))
    resumed = run(corpus, tmp_path / "b", phases)
    assert same(weights(tmp_path / "a", expected), weights(tmp_path / "b", resumed))
    assert (expected.folder / PREDICTIONS).read_bytes() == (resumed.folder / PREDICTIONS).read_bytes()
    plain = run(corpus, tmp_path / "a", [network(3)])
    assert not same(weights(tmp_path / "a", expected), weights(tmp_path / "a", plain))


class Augmented(NoiseFloor):
    """Records the numbers that each clip would draw, by the clip's first sample."""

    numbers: ClassVar[list[tuple[float, float]]] = []

    def __init__(self, sample_rate):
        super().__init__(sample_rate)

    def __call__(self, waveforms, generators):
        if len(waveforms) > 2:  # not the try before training
            drawn = [float(torch.rand((), generator=generator)) for generator in generators]
            self.numbers.extend(zip(waveforms.sum(dim=1).tolist(), drawn, strict=True))
        return waveforms


def test_a_clip_draws_the_same_numbers_in_every_batch_and_others_in_every_epoch(corpus, tmp_path):
    drawn = []
    for name, phases, batch_size in (
        ("a", [network(2, augment=Augmented)], 8),
        ("b", [network(2, augment=Augmented)], 15),
        ("c", [network(1, augment=Augmented), network(1, augment=Augmented)], 8),
    ):
        Augmented.numbers.clear()
        run(corpus, tmp_path / name, phases, batch_size=batch_size)
        assert len(set(Augmented.numbers)) == len({number for _, number in Augmented.numbers}) == 60
        drawn.append(list(Augmented.numbers))
    assert drawn[0] == drawn[1] == drawn[2]


def test_devices_that_share_a_batch_draw_a_clips_numbers_as_one_would(corpus, monkeypatch):
    module = TechniqueModule(a_run(corpus, []).build(), network(), loss(), 3, 0, augment=Augmented(8000), batch_size=8)

    def numbers(batch, clips):
        return [float(torch.rand((), generator=each)) for each in module._augment_generators(batch, clips)]

    alone = numbers(3, 8)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr(TechniqueModule, "global_rank", rank)
        assert numbers(3, 4) == alone[rank::2]


def test_offsets_have_a_rate_of_their_own(corpus, tmp_path):
    changes = {}
    for rate in (1.0, 0.5):
        phase = network(optimizer=functools.partial(torch.optim.SGD, lr=0.1), offset_rate=rate)
        result = run(corpus, tmp_path / str(rate), [phase], max_batches=1)
        start = a_run(corpus, [phase]).build().state_dict()
        end = weights(tmp_path / str(rate), result)
        changes[rate] = {name: end[name] - start[name] for name in end if name.endswith(("weight", "bias"))}
    for name, whole in changes[1.0].items():
        torch.testing.assert_close(changes[0.5][name], whole * (0.5 if ".shift." in name else 1), rtol=1e-3, atol=1e-8)
    assert any(whole.abs().max() > 0 for name, whole in changes[1.0].items() if ".shift." in name)


def test_smoothed_labels_are_torchs_label_smoothing():
    logits, targets = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 1, 1, 0])
    criterion = WeightedCrossEntropy(torch.tensor([5, 4, 3]))
    expected = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.1)
    torch.testing.assert_close(criterion(logits, smooth_labels(targets, 3, 0.1)), expected)
    shares = torch.tensor([[0.5, 0.5, 0.0]])
    torch.testing.assert_close(smooth_labels(shares, 3, 0.3), torch.tensor([[0.45, 0.45, 0.1]]))


def test_labels_are_smoothed_while_the_network_is_trained(corpus, tmp_path):
    first = functools.partial(torch.optim.SGD, lr=0.0)  # the loss of the first weights
    losses = {}
    for smoothing in (0.0, 0.5):
        result = run(corpus, tmp_path, [network(optimizer=first, label_smoothing=smoothing)])
        losses[smoothing] = pd.read_csv(tmp_path / "phases" / result.row["phases"] / "log.csv")["loss"][0]
    # the mean of smoothed losses is between the plain ones and those of equal shares, which are at least log 3
    assert losses[0.5] != pytest.approx(losses[0.0], rel=1e-6)
    assert losses[0.5] >= 0.5 * losses[0.0] + 0.5 * math.log(3) - 1e-6


def test_a_loss_that_accepts_no_shares_cannot_have_smoothed_labels(corpus, tmp_path):
    with pytest.raises(ComponentError, match="loss LDAM"):
        run(corpus, tmp_path, [network(loss=LDAM, label_smoothing=0.1)])


class SeesShares(WeightedCrossEntropy):
    """Expects shares of the techniques in training."""

    def forward(self, logits, targets):
        if self.training:
            assert targets.shape == logits.shape
            torch.testing.assert_close(targets.sum(dim=1), torch.ones(len(targets)))
        return super().forward(logits, targets)


def test_mixed_clips_have_shares_of_techniques_and_repeat(corpus, tmp_path):
    phases = [network(), classifier(mix=Mixup, loss=functools.partial(SeesShares, alpha=0.2))]
    results = [run(corpus, tmp_path / name, phases) for name in "ab"]
    first, again = (weights(tmp_path / name, result) for name, result in zip("ab", results, strict=True))
    plain = run(corpus, tmp_path / "a", [network(), classifier()])
    assert same(first, again)
    assert not same(first, weights(tmp_path / "a", plain))


def test_a_constraint_holds_after_every_step(corpus, tmp_path):
    result = run(corpus, tmp_path, [network(), classifier(init="warm", constraint=MaxNorm, optimizer=SGD)])
    before, after = (weights(tmp_path, result, phase)["classifier.weight"].norm(dim=1) for phase in (0, 1))
    limit = before.min() + 0.1 * (before.max() - before.min())
    assert (after <= limit * (1 + 1e-6)).all()
    assert before.max() > limit


class Progress(WeightedCrossEntropy):
    """Records the share of the phase that is over."""

    seen: ClassVar[list[float]] = []

    def begin_epoch(self, progress):
        self.seen.append(progress)


def test_a_loss_is_told_how_far_its_phase_is(corpus, tmp_path):
    Progress.seen.clear()
    run(corpus, tmp_path, [network(), classifier(4, loss=Progress)])
    assert Progress.seen == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_the_nearest_mean_is_of_the_training_clips_features(corpus, tmp_path, distance):
    rewrite = RewriteHead(rewrite=functools.partial(NearestMean, distance=distance))
    result = run(corpus, tmp_path, [network(), rewrite])
    features, targets = stored_features(tmp_path, result, corpus, "train"), corpus.targets("train")
    means = np.stack([features[targets == k].mean(axis=0) for k in range(3)])
    expected = 2 * means if distance == "euclidean" else means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(weights(tmp_path, result)["classifier.weight"], expected, rtol=1e-4, atol=1e-6)


def test_a_head_at_the_minimum_has_no_gradient_there(corpus, tmp_path):
    result = run(corpus, tmp_path, [network(), FitHead(loss=loss(0.5), penalty=0.01)])
    assert result.row["epochs"] == 1
    features = torch.from_numpy(stored_features(tmp_path, result, corpus, "train"))
    head = torch.nn.Linear(features.shape[1], 3).double()
    state = weights(tmp_path, result)
    head.load_state_dict({name: state[f"classifier.{name}"].double() for name in ("weight", "bias")})
    counts = torch.from_numpy(corpus.counts("train"))
    objective(head, features, torch.from_numpy(corpus.targets("train")), counts.float() ** -0.5, 0.01).backward()
    assert head.weight.grad.abs().max() < 1e-4
    assert head.bias.grad.abs().max() < 1e-4


def test_a_head_that_is_not_linear_has_no_minimum(corpus, tmp_path):
    from singtech.models.heads import Cosine
    from singtech.models.network import Architecture
    from tests.training.test_run import oblong

    parts = oblong()
    with pytest.raises(InvalidValue, match="FitHead: the head is Cosine, expected head=linear"):
        run(corpus, tmp_path, [network(), FitHead()], network=Architecture(parts.front_end, parts.extractor, Cosine))


def test_features_under_dropout_differ_from_pass_to_pass_and_repeat(corpus, tmp_path):
    phases = [network(), classifier(extractor="dropout"), FitHead(extractor="dropout")]
    result = run(corpus, tmp_path, phases)
    folder = tmp_path / "phases" / result.row["phases"].split()[0] / "features"
    arrays = [np.load(path) for path in folder.glob("*.npy")]
    assert len(arrays) == PASSES + 2  # and of the training and test clips in evaluation
    train = [each for each in arrays if len(each) == len(corpus.rows("train"))]
    assert len({each.tobytes() for each in train}) == PASSES
    again = run(corpus, tmp_path / "again", phases)
    assert same(weights(tmp_path, result), weights(tmp_path / "again", again))


def test_rounding_perturbs_the_initial_weights_alone_and_is_another_run(corpus):
    runs = [a_run(corpus, [network()], rounding=number) for number in (0, 1, 2)]
    plain, first, second = (each.build().state_dict() for each in runs)
    for name in (name for name in plain if name.endswith("weight") and plain[name].abs().max() > 0):
        change = (first[name].double() - plain[name].double()) / plain[name].double()
        assert change[plain[name] != 0].abs().max() < 1.8e-7
        assert 0.3 < (change > 0).double().mean() < 0.7 or change.numel() < 30
    assert not same(first, second)
    assert len({each.keys[0] for each in runs}) == 3
    assert len({each.recipe for each in runs}) == 1


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        (lambda: network(decay="step"), "decay=step: expected none or linear or cosine or warmup_cosine"),
        (lambda: network(2, last_epochs=0), "last_epochs=0: expected a whole number from 1 up"),
        (lambda: network(2, last_epochs=2, average=0.9), "expected one of them"),
        (lambda: network(average=1.0), "average=1.0: expected a number between 0 and 1"),
        (
            lambda: network(label_smoothing=1.0),
            "label_smoothing=1.0: expected a number from 0 up and below 1",
        ),
        (lambda: network(offset_rate=0), "offset_rate=0: expected a number above 0"),
        (lambda: FitHead(penalty=0), "penalty=0: expected a number above 0"),
        (lambda: FitHead(extractor="train"), "extractor=train: expected eval or dropout"),
    ],
)
def test_what_a_switch_cannot_be_is_refused(phase, message):
    with pytest.raises(InvalidValue, match=message):
        phase()
