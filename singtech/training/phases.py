"""What a phase of training is, and the key under which it is made once.

A strategy is a list of phases, written in `conf/strategy`. A phase's key is a hash of everything that decides its
outcome: the set-up that all phases of a run share, the phases before it, and its own specification. Names for people,
paths and loggers are not in it, nor is the machine but for its precision and number of devices.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

# Raised whenever a change of the code changes what a phase comes to, so that stored phases of before are not taken.
SCHEMA = 1


@dataclass(frozen=True)
class Phase:
    """One stretch of training.

    Args:
        trains: `network`, or `classifier` with the extractor held fixed (cRT, Section 3.3).
        epochs: how long.
        alpha: smoothing of the loss weights (Eq. 2) while it lasts.
        start: `on` goes on from where the phase before ended, with its optimiser if that trained the same; `anew`
            gives the classifier new weights first, as Kang et al. (2020) do.
        extractor: `eval` or `train`, the mode of the fixed extractor while the classifier is trained. The paper says
            "fixing the weights"; in `train` (the authors' published code) dropout and batch statistics still move.
        sampler: `natural`, every clip once an epoch, or `balanced`, as many draws with every technique as likely (the
            class-balanced sampler that Kang et al. re-train with).
        learning_rate: where it differs from the run's, as in the published code's re-training (1e-5).
        name: for people; not part of the key.
    Raises:
        ValueError: a choice that is not among those, no epochs, or an alpha that is no number from 0 up.
    """

    trains: str
    epochs: int
    alpha: float
    start: str = "on"
    extractor: str = "eval"
    sampler: str = "natural"
    learning_rate: float | None = None
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        for setting, choices in (
            ("trains", ("network", "classifier")),
            ("start", ("on", "anew")),
            ("extractor", ("eval", "train")),
            ("sampler", ("natural", "balanced")),
        ):
            if getattr(self, setting) not in choices:
                raise ValueError(f"{setting}={getattr(self, setting)} in a phase: expected {' or '.join(choices)}.")
        if not isinstance(self.epochs, int) or isinstance(self.epochs, bool) or self.epochs < 1:
            raise ValueError(f"epochs={self.epochs} in a phase: expected a whole number from 1 up.")
        object.__setattr__(self, "alpha", checked_alpha(self.alpha))
        rate = self.learning_rate
        if rate is not None and not (isinstance(rate, int | float) and rate > 0):
            raise ValueError(
                f"learning_rate={rate} in a phase: expected a number above 0, or null for the optimiser's."
            )
        if self.trains == "network" and (self.start, self.extractor) != ("on", "eval"):
            raise ValueError("start and extractor are choices of a phase that trains the classifier alone.")

    @property
    def changes_extractor(self) -> bool:
        """Whether features made before the phase are stale after it."""
        return self.trains == "network" or self.extractor == "train"


def checked_alpha(alpha: float) -> float:
    """`alpha` as a float.

    Raises:
        ValueError: it is negative, or not a finite number.
    """
    try:
        number = float(alpha)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 <= number < float("inf") or isinstance(alpha, bool):
        raise ValueError(f"alpha={alpha}: expected a number from 0 (no weighting) up, 1 being inverse frequency.")
    return number


def read_phases(entries: Sequence[Mapping]) -> tuple[Phase, ...]:
    """The phases of a strategy's `phases` list.

    Raises:
        ValueError: no phases, a key that a phase does not have, one that it lacks, or the classifier trained first.
    """
    phases = []
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise ValueError(f"strategy.phases: {entry} is no phase; expected trains, epochs, alpha and so on.")
        try:
            phases.append(Phase(**entry))
        except TypeError as problem:
            raise ValueError(f"strategy.phases: {dict(entry)} is no phase ({problem}).") from None
    if not phases or phases[0].trains != "network":
        raise ValueError("strategy.phases: expected a list that begins with a phase that trains the network.")
    return tuple(phases)


def phase_keys(setup: Mapping, phases: Sequence[Phase]) -> tuple[str, ...]:
    """The key of each phase of a run: 16 hexadecimal digits.

    Args:
        setup: all else that decides the outcome (model, front end, training clips, optimiser, seed …), as plain values.
        phases: in order; each key holds those before it.
    """
    keys = []
    before = digest({"schema": SCHEMA, "setup": dict(setup)})
    for phase in phases:
        specification = asdict(phase)
        del specification["name"]
        before = digest({"before": before, "phase": specification})
        keys.append(before)
    return tuple(keys)


def digest(value: object) -> str:
    """16 hexadecimal digits that stand for a plain value; 0 and 0.0 are one value, as are a list and a tuple."""
    text = json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
