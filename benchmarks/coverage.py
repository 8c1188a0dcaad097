"""How often 95 % intervals cover the true score, and how often tests reject: `python -m benchmarks.coverage [sets=N]`.

Test sets are simulated: singers who differ in skill and in each technique, recordings within singers, clips within
recordings; ten techniques as unbalanced as VocalSet's. The true score is that of very many singers. Each table says how
many sets it rests on; `sets=N` makes them N times as many. The standard error of a share near .95 is .22 / sqrt(sets).
"""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit
from statsmodels.stats.power import TTestPower

from singtech.metrics import METRICS, WeightedClips
from singtech.results.intervals import draw_singers, jackknife, optimism, over_folds, over_seeds, without_each

RECORDINGS = np.array([10, 10, 5, 10, 1, 18, 5, 5, 13, 10])  # of each technique by a singer, belt to vocal fry
CLIPS = np.array([2, 2, 2, 2, 4, 3, 3, 2, 4, 3])  # of a recording of each
TECHNIQUES = len(RECORDINGS)
SCORES = ("f1", "accuracy")
RESAMPLES = 300
COMPARISONS = 7  # of a family, that of deformable layers
RECORDING, BASE = 0.6, 2.7  # deviation over recordings; what the true technique's logit has more than the others'
EFFECTS = {"weak": 0.1, "medium": 0.25, "strong": 0.4}  # deviation over singers, of skill and of each technique


class SungClips(NamedTuple):
    """The clips of a test set: (N,) technique, predicted technique, singer, recording."""

    target: np.ndarray
    predicted: np.ndarray
    singer: np.ndarray
    recording: np.ndarray

    def scores(self, weights: np.ndarray) -> np.ndarray:
        """(R, 2) macro-F1 and accuracy under (R, N) weights of the clips."""
        logits = np.eye(TECHNIQUES, dtype=np.float32)[self.predicted]
        clips = WeightedClips(self.target, logits, weights)
        return np.stack([METRICS[name].function(clips) for name in SCORES], axis=1)


@dataclass(frozen=True)
class World:
    """Singers and networks to draw test sets from.

    Attributes:
        singers: deviation over singers, of skill and of each technique, in logits.
        paired: the same of the difference of two networks.
        seeds: deviation over seeds, of a network as a whole and in each technique.
        gain: what the second network's true technique has more than the first's.
    """

    singers: float
    paired: float = 0.0
    seeds: float = 0.0
    gain: float = 0.0

    def draw(self, draw: np.random.Generator, singers: int, networks: int = 1, seeds: int = 1) -> list[list[SungClips]]:
        """Test sets with the same clips: a list of seeds for each network."""
        target = np.tile(np.repeat(np.arange(TECHNIQUES), RECORDINGS * CLIPS), singers)
        singer = np.repeat(np.arange(singers), (RECORDINGS * CLIPS).sum())
        each = np.repeat(CLIPS, RECORDINGS)
        recording = np.repeat(np.arange(singers * len(each)), np.tile(each, singers))
        of_clip = draw.normal(size=(len(target), TECHNIQUES))  # how alike a clip is to each technique
        of_recording = RECORDING * draw.normal(size=(recording[-1] + 1, TECHNIQUES))[recording]

        def skill(deviation: float, number: int) -> np.ndarray:  # (number, K)
            return deviation * (draw.normal(size=(number, 1)) + draw.normal(size=(number, TECHNIQUES)))

        shared, sets = skill(self.singers, singers), []
        for network in range(networks):
            own = shared + skill(self.paired, singers) + self.gain * network
            sets.append([])
            for luck in skill(self.seeds, seeds):
                logits = of_clip + of_recording + 0.5 * draw.normal(size=of_clip.shape)
                right = BASE + own[singer, target] + luck[target] + skill(self.seeds, singers)[singer, target] / 2
                logits[np.arange(len(target)), target] += right
                sets[-1].append(SungClips(target, logits.argmax(axis=1), singer, recording))
        return sets

    def truth(self, networks: int = 1, seeds: int = 1) -> np.ndarray:
        """(networks, 2) the scores of very many singers, mean over very many seeds."""
        draw = np.random.default_rng(0)
        scores = []
        for _ in range(200):
            sets = self.draw(draw, 50, networks)
            scores.append([each.scores(np.ones((1, len(each.target)), np.float32))[0] for (each,) in sets])
        return np.mean(scores, axis=0)


def three_stages(draw: np.random.Generator, clips: SungClips, resamples: int) -> np.ndarray:
    """(R, N) weights: singers are drawn, then the recordings of each, then the clips of each recording."""
    singers = clips.singer[-1] + 1
    recordings = np.bincount(clips.recording)
    each = len(recordings) // singers
    times = draw.multinomial(singers, np.full(singers, 1 / singers), resamples)  # (R, singers)
    times = draw.multinomial(times * each, np.full(each, 1 / each)).reshape(resamples, -1)  # (R, recordings)
    weights = np.empty((resamples, len(clips.recording)), dtype=np.float32)
    for number in set(recordings.tolist()):
        members = recordings == number
        drawn = draw.multinomial(times[:, members] * number, np.full(number, 1 / number))
        weights[:, members[clips.recording]] = drawn.reshape(resamples, -1)
    return weights


def singers_only(draw: np.random.Generator, clips: SungClips, resamples: int) -> np.ndarray:
    """(R, N) weights: singers are drawn."""
    singers = clips.singer[-1] + 1
    return draw.multinomial(singers, np.full(singers, 1 / singers), resamples).astype(np.float32)[:, clips.singer]


def coverage(times: int) -> Iterator[Sequence[object]]:
    """How often each interval of a score covers the true one, macro-F1 / accuracy."""
    yield "singers", "effect", *(f"{name} ({sets * times} sets)" for name, sets in METHODS.items())
    for singers, effect in ((5, "weak"), (5, "medium"), (5, "strong"), (20, "medium")):
        world = World(EFFECTS[effect])
        truth = world.truth()[0]
        shares = []
        for name, sets in METHODS.items():
            draw = np.random.default_rng(1)
            hits = [_covers(name, world.draw(draw, singers)[0][0], draw, truth) for _ in range(sets * times)]
            shares.append(" / ".join(map(_share, np.mean(hits, axis=0))))
        yield singers, effect, *shares


METHODS = {"three stages": 200, "singers only": 200, "jackknife, t(n - 1)": 1000}


def _covers(name: str, clips: SungClips, draw: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    """(2,) whether the interval of macro-F1, and that of accuracy, covers the true score."""
    if name.startswith("jackknife"):
        scores = clips.scores(without_each(clips.singer))
        low, high = np.transpose([jackknife(scores[:, [metric]]).interval() for metric in range(len(SCORES))])
    else:
        weights = (three_stages if name == "three stages" else singers_only)(draw, clips, RESAMPLES)
        low, high = np.percentile(clips.scores(weights), [2.5, 97.5], axis=0)
    return (low <= truth) & (truth <= high)


def differences(times: int) -> Iterator[Sequence[object]]:
    """How often the interval of a paired difference of macro-F1 covers the true one, over singers and seeds."""
    world = World(EFFECTS["medium"], paired=0.15, seeds=0.1, gain=0.1)
    truth = np.diff(world.truth(networks=2)[:, 0])[0]
    yield "singers", "seeds", "sets", *DEGREES
    for singers, seeds, sets in ((5, 1, 1000), (5, 3, 1000), (5, 9, 400), (20, 3, 400), (20, 9, 300)):
        draw, tables = np.random.default_rng(2), []
        for _ in range(sets * times):
            first, second = world.draw(draw, singers, networks=2, seeds=seeds)
            weights = without_each(first[0].singer)
            pairs = zip(first, second, strict=True)
            tables.append(np.stack([(b.scores(weights) - a.scores(weights))[:, 0] for a, b in pairs], axis=1))
        yield singers, seeds, sets * times, *_shares(tables, truth)


def degrees(times: int) -> Iterator[Sequence[object]]:
    """The same for normal effects."""
    yield "singers", "seeds", "deviation of singers, seeds, both together", *DEGREES
    for singers, seeds in ((5, 2), (5, 3), (5, 9), (20, 2), (20, 3), (20, 9)):
        for deviations in ((1, 0.5, 0.5), (1, 1, 1), (0.3, 1, 0.3)):
            draw, tables = np.random.default_rng(3), []
            for _ in range(2000 * times):
                shapes = (singers, 1), (1, seeds), (singers, seeds)
                values = sum(d * draw.normal(size=shape) for d, shape in zip(deviations, shapes, strict=True))
                mean = values.mean(axis=0)
                tables.append(np.vstack([mean, (singers * mean - values) / (singers - 1)]))
            yield singers, seeds, " ".join(map(str, deviations)), *_shares(tables, 0)


DEGREES = ("Satterthwaite", "the smaller", "n - 1", "without seeds", "without singers")


def _shares(tables: Sequence[np.ndarray], truth: float) -> list[str]:
    """The share of (1 + n, S) tables whose interval covers the truth, by how it is made."""
    hits = []
    for table in tables:
        added, alone = jackknife(table), jackknife(table.mean(axis=1, keepdims=True))
        singers, seeds = len(table) - 1, table.shape[1]
        training = over_seeds(table[0])
        ways = [
            (added.error, added.degrees),
            (added.error, min(singers - 1, seeds - 1 if seeds > 1 else math.inf)),
            (added.error, singers - 1),
            (alone.error, singers - 1),
            (training.error, max(training.degrees, 1)),
        ]
        hits.append([abs(added.value - truth) <= stdtrit(of, 0.975) * error for error, of in ways])
    return [
        "" if tables[0].shape[1] == 1 and "singers" in way else _share(share)
        for way, share in zip(DEGREES, np.mean(hits, axis=0), strict=True)
    ]


def rejections(times: int) -> Iterator[Sequence[object]]:
    """How often no difference is rejected at .05, over 20 singers of whom those of a fold share a network."""
    yield "folds", "deviation of a fold's luck to a singer's", "sign flip over singers", "t over folds"
    sets, singers = 4000 * times, 20
    draw = np.random.default_rng(4)
    for folds in (5, 20):
        for ratio in (0, 0.25, 0.5, 0.75, 1):
            luck = ratio * draw.normal(size=(sets, folds))
            values = draw.normal(size=(sets, singers)) + np.repeat(luck, singers // folds, axis=1)
            p = [over_folds(each.reshape(folds, -1).mean(axis=1, keepdims=True)).p for each in values]
            yield folds, ratio, _share(np.mean(_flipped(values, draw) < 0.05)), _share(np.mean(np.array(p) < 0.05))


def _flipped(values: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """(sets,) p of the sign flip of (sets, n) differences: by all patterns of up to 15, else by 2,000."""
    number = values.shape[1]
    signs = np.array(list(product((-1, 1), repeat=number))) if number <= 15 else draw.choice([-1, 1], (2000, number))
    return np.array([np.mean(np.abs(signs @ each) >= abs(each.sum()) - 1e-12) for each in values])


def power(times: int) -> Iterator[Sequence[object]]:
    """How often the sign flip finds a difference of one deviation at Holm's first step among 7 comparisons."""
    yield "seeds", "sets", "power", "of Student's t"
    for seeds, sets in ((9, 4000), (15, 1000), (20, 4000)):
        draw = np.random.default_rng(5)
        p = _flipped(draw.normal(1, 1, size=(sets * times, seeds)), draw)
        student = TTestPower().power(1.0, seeds, 0.05 / COMPARISONS)
        yield seeds, sets * times, _share(np.mean(p <= 0.05 / COMPARISONS)), _share(student)


def selection(times: int) -> Iterator[Sequence[object]]:
    """By how much the best of several conditions is flattered, and what is found of it, in standard errors."""
    yield "singers", "conditions", "true scores", "optimism", "found by the bootstrap"
    draw, sets = np.random.default_rng(6), 400 * times
    for singers in (5, 20):
        weights = draw_singers(np.arange(singers), 500) / (singers - 1)
        for conditions in (5, 17):
            for spread in (0, 2):
                true = spread * np.linspace(-1, 1, conditions)
                flattered, found = [], []
                for _ in range(sets):
                    values = true + math.sqrt(singers) * draw.normal(size=(singers, conditions))
                    scores = values.mean(axis=0)
                    flattered.append((scores - true)[scores.argmax()])
                    found.append(optimism(scores, weights @ values))
                yield (
                    singers,
                    conditions,
                    f"-{spread} to {spread}" if spread else "equal",
                    f"{np.mean(flattered):.2f}",
                    f"{np.mean(found):.2f}",
                )


def _share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


TABLES = (coverage, differences, degrees, rejections, power, selection)


def main(times: int = 1) -> None:
    """Print every table as Markdown."""
    for table in TABLES:
        begun = time.perf_counter()
        print(f"\n{(table.__doc__ or '').splitlines()[0]}\n")
        for number, line in enumerate(table(times)):
            print(f"| {' | '.join(map(str, line))} |", flush=True)
            if not number:
                print("| --- " * len(line) + "|")
        print(f"\n{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    if not all(argument.startswith("sets=") for argument in sys.argv[1:]):
        raise SystemExit(f"{' '.join(sys.argv[1:])}: expected sets=N, how many times as many sets.")
    main(*(int(argument.removeprefix("sets=")) for argument in sys.argv[1:]))
