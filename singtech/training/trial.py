"""Try a run's components on two made-up clips before anything is trained."""

import functools
from pathlib import Path

import torch
from torch import nn

from singtech.components import ComponentError, build, origin, outside_line, spec, unwrapped
from singtech.training.fit import Run
from singtech.training.phase_store import plain, torch_bytes
from singtech.training.phases import Phase, RewriteHead, Training, digest
from singtech.training.protocols import Learnable

_passed: set[str] = set()  # digests of what this process has tried


def try_components(run: Run) -> None:
    """Build every component of a run and send two clips of noise through them, forward and backward.

    Raises:
        ComponentError: one does not do what its kind must do (`singtech.training.protocols`).
        ValueError: a component refuses its settings.
    """
    size = [spec(run.setup.network), run.samples, run.techniques, run.sample_rate]
    tries = {digest(size): None} | {digest([size, spec(phase)]): phase for phase in run.phases}
    new = {key: phase for key, phase in tries.items() if key not in _passed}
    if not new:
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        if None in new.values():
            _try_network(run)
        network = run.build()
        for phase in filter(None, new.values()):
            _try_phase(phase, run, network)
    _passed.update(new)


class _named:
    """Turn the exception of a component into one sentence that names it, unless it is a sentence already."""

    def __init__(self, group: str, component: object) -> None:
        target, _ = unwrapped(component)
        self.what = f"{group} {getattr(target, '__name__', target)}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, problem: BaseException | None, _: object) -> None:
        if isinstance(problem, Exception) and not isinstance(problem, ComponentError):
            place = outside_line(problem)
            if isinstance(problem, ValueError) and not place:
                return  # a sentence of ours
            place = f"{place}: " if place else ""
            text = " ".join(str(problem).split())
            raise ComponentError(f"{self.what}: {place}{type(problem).__name__}: {text}") from problem


def _try_network(run: Run) -> None:
    """Two clips of noise through front end, extractor and head, and back."""
    architecture = run.setup.network
    with _named("front_end", architecture.front_end):
        front_end = build(architecture.front_end, sample_rate=run.sample_rate)
        _require(hasattr(front_end, "shape"), architecture.front_end, "front_end", "a method shape(samples)")
        shape = front_end.shape(run.samples)
    with _named("model", architecture.extractor):
        extractor = build(architecture.extractor, shape=shape, clip_seconds=run.samples / run.sample_rate)
        width = getattr(extractor, "out_features", None)
        expected = "an attribute out_features, its number of features"
        _require(isinstance(width, int), architecture.extractor, "model", expected)
    with _named("head", architecture.head):
        architecture.head(width, run.techniques)
    network = run.build()
    waveforms = 0.1 * torch.randn(2, run.samples)
    with _named("front_end", architecture.front_end):
        inputs = network.front_end(waveforms)
        _require_shape(inputs, (2, *shape), architecture.front_end, "front_end")
    extractor = architecture.extractor
    with _named("model", extractor):
        features = network.extractor(inputs)
        _require_shape(features, (2, width), extractor, "model")
    with _named("head", architecture.head):
        logits = network.classifier(features)
        _require_shape(logits, (2, run.techniques), architecture.head, "head")
    with _named("model", extractor):
        logits.float().sum().backward()


def _try_phase(phase: Phase, run: Run, network: nn.Module) -> None:
    """Optimizer, sampler, augmentation, what a head phase learns, and loss of a phase; or its rewrite of the head."""
    targets = torch.arange(2 * run.techniques + 1) % run.techniques  # two clips of each technique, three of the first
    counts = torch.bincount(targets)
    if isinstance(phase, RewriteHead):
        with _named("rewrite", phase.rewrite):
            phase.finish(network, counts, None)
    if not isinstance(phase, Training):
        return
    _try_optimizer(phase)
    draw = functools.partial(torch.Generator().manual_seed, 0)
    with _named("sampler", phase.sampler):
        indices = torch.as_tensor(build(phase.sampler, targets=targets)(draw(), 0.0))
        fits = indices.ndim == 1 and not indices.is_floating_point() and len(indices) == len(targets)
        fits = fits and int(indices.min()) >= 0 and int(indices.max()) < len(targets)
        _require(fits, phase.sampler, "sampler", f"as many indices as clips, from 0 to {len(targets) - 1}")
    augment = getattr(phase, "augment", None)
    if augment is not None:
        with _named("augment", augment):
            waveforms = 0.1 * torch.randn(2, run.samples)
            changed = build(augment, sample_rate=run.sample_rate)(waveforms, draw())
            _require_shape(changed, (2, run.samples), augment, "augment")
    learns = getattr(phase, "learns", None)
    if learns is not None:
        with _named("learns", learns):
            learnable = build(learns, head=network.classifier)
            _require(isinstance(learnable, Learnable), learns, "learns", "a method fold(head)")
            logits = learnable(torch.randn(2, network.extractor.out_features))
            _require_shape(logits, (2, run.techniques), learns, "learns")
            learnable.fold(network.classifier)
    with _named("loss", phase.loss):
        logits = torch.randn(2, run.techniques, requires_grad=True)
        names = [str(k) for k in range(run.techniques)]
        loss = build(phase.loss, class_counts=counts, techniques=names)(logits, targets[[0, len(targets) - 1]])
        _require_shape(loss, (), phase.loss, "loss")
        loss.backward()
        _require(logits.grad is not None, phase.loss, "loss", "a loss that depends on the logits")


def _try_optimizer(phase: Training) -> None:
    """A step of a person's own optimizer, and its state as a checkpoint keeps it."""
    if not origin(phase.optimizer).startswith("sha256:"):
        return  # a package's may need a GPU to step
    weights = torch.ones(2, 2, requires_grad=True)

    def closure() -> torch.Tensor:
        loss = weights.square().sum()
        loss.backward()
        return loss

    with _named("optimizer", phase.optimizer):
        optimizer = phase.optimizer_settings([weights])
        optimizer.step(closure)
        held = torch_bytes(optimizer.state_dict())
    try:
        plain(held, Path("state"))
        is_plain = True
    except ValueError:
        is_plain = False
    _require(is_plain, phase.optimizer, "optimizer", "a state of tensors and plain values, after a step")


def _require_shape(value: object, shape: tuple[int, ...], component: object, group: str) -> None:
    named = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
    _require(named == shape, component, group, f"a tensor of shape {shape}", f", found {named}")


def _require(fits: bool, component: object, group: str, expected: str, found: str = "") -> None:
    if not fits:
        target, _ = unwrapped(component)
        raise ComponentError(
            f"{group} {getattr(target, '__name__', target)}: expected {expected}{found}; "
            "singtech/training/protocols.py says what it must offer."
        )
