"""Try a run's components on two clips of noise before anything is trained."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from singtech.components import ComponentError, build, describe, find_user_line, identify_code, unwrap
from singtech.errors import Damaged, InvalidValue, SingtechError
from singtech.models.network import Network
from singtech.training.fit import Run
from singtech.training.phase_store import read_plain, torch_bytes
from singtech.training.phases import Phase, RewriteHead, Training, digest
from singtech.training.protocols import Learnable

_passed: set[str] = set()  # digests of the components that this process has tried


def try_components(run: Run) -> None:
    """Build every component of a run and send two clips of noise through them, forward and backward.

    Raises:
        ComponentError: one does not do what its kind must do (`singtech.training.protocols`).
        InvalidValue: a component refuses its settings.
    """
    network_digest = digest([describe(run.setup.network), run.samples, run.techniques, run.sample_rate])
    phases = {digest([network_digest, describe(phase)]): phase for phase in run.phases}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        if network_digest not in _passed:
            _try_network(run)
        for key, phase in phases.items():
            if key not in _passed:
                _try_phase(phase, run, run.build())
    _passed.update({network_digest, *phases})


@contextmanager
def _name_errors(group: str, component: Callable) -> Iterator[Callable[..., None]]:
    """Turn an exception of a component into one sentence that names it.

    Yields:
        A function that requires a claim to hold, or a tensor to have a shape.
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
        if isinstance(problem, ValueError) and not line:  # ours or torch's: a setting does not fit
            raise InvalidValue(text) from problem
        raise ComponentError(": ".join(filter(None, (name, line, type(problem).__name__, text)))) from problem


def _try_network(run: Run) -> None:
    """Two clips of noise through front end, extractor and head, and back."""
    architecture = run.setup.network
    with _name_errors("front_end", architecture.front_end) as require:
        front_end = build(architecture.front_end, sample_rate=run.sample_rate)
        require(hasattr(front_end, "shape"), "a method shape(samples)")
        shape = front_end.shape(run.samples)
        inputs = front_end(0.1 * torch.randn(2, run.samples))
        require(inputs, (2, *shape))
    with _name_errors("model", architecture.extractor) as require:
        extractor = build(architecture.extractor, shape=shape)
        width = getattr(extractor, "out_features", None)
        require(isinstance(width, int), "an attribute out_features, its number of features")
        features = extractor(inputs)
        require(features, (2, width))
    with _name_errors("head", architecture.head) as require:
        logits = architecture.head(width, run.techniques)(features)
        require(logits, (2, run.techniques))
    with _name_errors("model", architecture.extractor):
        logits.float().sum().backward()


def _try_phase(phase: Phase, run: Run, network: Network) -> None:
    """Optimizer, sampler, augmentation, the head's stand-in and loss of a phase; or its rewrite of the head."""
    targets = torch.arange(2 * run.techniques + 1) % run.techniques  # two clips of each technique, three of the first
    counts = torch.bincount(targets)
    if isinstance(phase, RewriteHead):
        with _name_errors("rewrite", phase.rewrite):
            features = network.features(0.1 * torch.randn(len(targets), run.samples))
            phase.finish(network, counts, None, lambda: (features, targets))
    if not isinstance(phase, Training):
        return
    _try_optimizer(phase)
    seeded = functools.partial(torch.Generator().manual_seed, 0)
    with _name_errors("sampler", phase.sampler) as require:
        indices = torch.as_tensor(build(phase.sampler, targets=targets)(seeded(), 0.0))
        fits = indices.ndim == 1 and len(indices) == len(targets) and not indices.is_floating_point()
        fits = fits and int(indices.min()) >= 0 and int(indices.max()) < len(targets)
        require(fits, f"as many indices as clips, from 0 to {len(targets) - 1}")
    augment = getattr(phase, "augment", None)
    if augment is not None:
        with _name_errors("augment", augment) as require:
            waveforms = 0.1 * torch.randn(2, run.samples)
            require(build(augment, sample_rate=run.sample_rate)(waveforms, seeded()), (2, run.samples))
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
            mixed, labels = build(phase.mix, class_counts=counts)(torch.randn(2, run.samples), labels, seeded())
            require(mixed, (2, run.samples))
            require(labels, (2, run.techniques))
        loss = build(phase.loss, class_counts=counts, techniques=names)(logits, labels)
        require(loss, ())
        loss.backward()
        require(logits.grad is not None, "a loss that depends on the logits")


def _try_optimizer(phase: Training) -> None:
    """Build the optimizer; let a user's own make a step, and read its state as from a checkpoint."""
    weights = torch.ones(2, 2, requires_grad=True)

    def closure() -> Any:
        loss = weights.square().sum()
        loss.backward()
        return loss

    with _name_errors("optimizer", phase.optimizer) as require:
        optimizer = phase.optimizer_settings([weights])
        require(isinstance(optimizer, torch.optim.Optimizer), "a torch.optim.Optimizer")
        if not identify_code(phase.optimizer).startswith("sha256:"):
            return  # a package's may need a GPU to step
        optimizer.step(closure)
        try:
            is_plain = bool(read_plain(torch_bytes(optimizer.state_dict()), Path("state")))
        except Damaged:
            is_plain = False
        require(is_plain, "a state of tensors and plain values, after a step")
