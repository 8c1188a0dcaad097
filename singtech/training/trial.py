"""Test a run's components on two clips of noise before training."""

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from singtech.components import ComponentError, build, describe, find_user_line, identify_code, unwrap
from singtech.corpus.datamodule import Margins
from singtech.errors import Damaged, InvalidValue, SingtechError
from singtech.models.network import Network
from singtech.training.augmentation import margin_of, stages
from singtech.training.fit import Run
from singtech.training.module import smooth_labels
from singtech.training.phase_store import read_plain, torch_bytes
from singtech.training.phases import Phase, RewriteHead, Training, digest
from singtech.training.protocols import Learnable

_tested: set[str] = set()  # digests of the components that this process has tested


def try_components(run: Run) -> None:
    """Build every component of a run and test it on two clips of noise, forward and backward.

    Raises:
        ComponentError: a component does not do what its kind must do (`singtech.training.protocols`).
        InvalidValue: a component refuses its settings.
    """
    network_digest = digest([describe(run.setup.network), run.samples, run.techniques, run.sample_rate])
    phases = {digest([network_digest, describe(phase)]): phase for phase in run.phases}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        if network_digest not in _tested:
            _try_network(run)
        for key, phase in phases.items():
            if key not in _tested:
                _try_phase(phase, run, run.build())
        if run.scoring.corruption is not None:
            with _name_errors("corruption", run.scoring.corruption) as require:
                corruption = build(run.scoring.corruption, sample_rate=run.sample_rate)
                if margin_of(corruption):
                    raise InvalidValue("corruption: it reads beyond the clip, which test clips do not allow.")
                _try_augment(corruption, run, run.build(), require)
    _tested.update({network_digest, *phases})


@contextmanager
def _name_errors(group: str, component: Callable) -> Iterator[Callable[..., None]]:
    """Turn an exception of a component into a one-sentence error that names it.

    Yields:
        A function that raises an error unless a value is true, or a tensor has a shape.
    """
    target, _ = unwrap(component)
    name = f"{group} {getattr(target, '__name__', target)}"

    def require(value: object, expected: str | tuple[int, ...]) -> None:
        if isinstance(expected, tuple):
            shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            value, expected = shape == expected, f"a tensor of shape {expected}, found {shape}"
        if not value:
            raise ComponentError(f"{name}: expected {expected}; see singtech/training/protocols.py.")

    try:
        yield require
    except SingtechError:
        raise
    except Exception as problem:
        line, text = find_user_line(problem), " ".join(str(problem).split())
        if isinstance(problem, ValueError) and not line:  # raised by singtech or torch: a setting is invalid
            raise InvalidValue(f"{name}: {text}") from problem
        raise ComponentError(": ".join(filter(None, (name, line, type(problem).__name__, text)))) from problem


def _try_network(run: Run) -> None:
    """Test front end, extractor and head on two clips of noise, forward and backward."""
    architecture = run.setup.network
    with _name_errors("front_end", architecture.front_end) as require:
        front_end = build(architecture.front_end, sample_rate=run.sample_rate)
        require(hasattr(front_end, "shape"), "a method shape(samples)")
        shape = front_end.shape(run.samples)
        inputs = front_end(0.1 * torch.randn(2, run.samples))
        require(inputs, (2, *shape))
    with _name_errors("model", architecture.extractor) as require:
        extractor = architecture.build_extractor(shape, run.samples, run.sample_rate)
        width = getattr(extractor, "out_features", None)
        require(isinstance(width, int), "an attribute out_features, its number of features")
        features = extractor(inputs)
        require(features, (2, width))
    with _name_errors("head", architecture.head) as require:
        logits = architecture.build_head(extractor, run.techniques)(features)
        require(logits, (2, run.techniques))
    with _name_errors("model", architecture.extractor):
        logits.float().sum().backward()


def _try_phase(phase: Phase, run: Run, network: Network) -> None:
    """Test a phase's optimizer, sampler, augmentation, learnable and loss; or its rewrite of the head."""
    targets = torch.arange(2 * run.techniques + 1) % run.techniques  # two clips of each technique, three of the first
    counts = torch.bincount(targets)
    if isinstance(phase, RewriteHead):
        with _name_errors("rewrite", phase.rewrite):
            features = network.features(0.1 * torch.randn(len(targets), run.samples))
            phase.finish(network, counts, None, lambda: (features, targets))
    if not isinstance(phase, Training):
        return
    _try_optimizer(phase)
    make_generator = functools.partial(torch.Generator().manual_seed, 0)
    with _name_errors("sampler", phase.sampler) as require:
        indices = torch.as_tensor(build(phase.sampler, targets=targets)(make_generator(), 0.0))
        is_valid = indices.ndim == 1 and len(indices) == len(targets) and not indices.is_floating_point()
        is_valid = is_valid and int(indices.min()) >= 0 and int(indices.max()) < len(targets)
        require(is_valid, f"as many indices as clips, from 0 to {len(targets) - 1}")
    augment = getattr(phase, "augment", None)
    if augment is not None:
        with _name_errors("augment", augment) as require:
            _try_augment(build(augment, sample_rate=run.sample_rate), run, network, require)
    learns = getattr(phase, "learns", None)
    if learns is not None:
        with _name_errors("learns", learns) as require:
            learnable = build(learns, head=network.classifier)
            require(isinstance(learnable, Learnable), "a method fold(head)")
            width: Any = network.extractor.out_features
            require(learnable(torch.randn(2, width)), (2, run.techniques))
            learnable.fold(network.classifier)
    with _name_errors("loss", phase.loss) as require:
        logits = torch.randn(2, run.techniques, requires_grad=True)
        names = [str(k) for k in range(run.techniques)]
        labels = targets[[0, len(targets) - 1]]
        if phase.mix is not None:
            mixed, labels = build(phase.mix, class_counts=counts)(torch.randn(2, run.samples), labels, make_generator())
            require(mixed, (2, run.samples))
            require(labels, (2, run.techniques))
        if getattr(phase, "label_smoothing", 0.0):
            labels = smooth_labels(labels, run.techniques, 0.1)
        loss = build(phase.loss, class_counts=counts, techniques=names)(logits, labels)
        require(loss, ())
        loss.backward()
        require(logits.grad is not None, "a loss that depends on the logits")


def _try_augment(augment: Any, run: Run, network: Network, require: Callable[..., None]) -> None:
    """Test an augmentation on two clips of noise or on their spectrograms."""
    require(0 <= margin_of(augment) <= 1, "a margin from 0 to 1")
    margin = math.ceil(margin_of(augment) * run.samples)
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    for kind, change in stages(augment).items():
        clips = 0.1 * torch.randn(2, run.samples + 2 * margin)
        if kind == "spectrograms":
            clips = network.front_end(clips[:, : run.samples])
            require(change(clips, generators), tuple(clips.shape))
        else:
            margins = [Margins(margin, np.full(2, margin), np.zeros(2, int))] if margin else []
            require(change(clips, generators, *margins), (2, run.samples))


def _try_optimizer(phase: Training) -> None:
    """Build the optimizer; a user's own one also makes a step, and its state is read as from a checkpoint."""
    weights = torch.ones(2, 2, requires_grad=True)

    def closure() -> Any:
        loss = weights.square().sum()
        loss.backward()
        return loss

    with _name_errors("optimizer", phase.optimizer) as require:
        optimizer = phase.optimizer_settings([weights])
        require(isinstance(optimizer, torch.optim.Optimizer), "a torch.optim.Optimizer")
        if not identify_code(phase.optimizer).startswith("sha256:"):
            return  # an optimizer of a package may need a GPU for a step
        optimizer.step(closure)
        is_plain = False
        with suppress(Damaged):
            is_plain = bool(read_plain(torch_bytes(optimizer.state_dict()), Path("state")))
        require(is_plain, "a state of tensors and plain values, after a step")
