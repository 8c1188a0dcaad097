"""What phases that are trained once save in the whole paper, and what one more alpha costs."""

import hashlib
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.machine import Machine
from benchmarks.report import Measurement, Target
from singtech.cli.plan import UnpreparedCorpus, compose_runs
from singtech.corpus.clip_store import Corpus
from singtech.run import build_machine, build_run
from singtech.techniques import TECHNIQUES
from singtech.training.fit import Run, Task, train_phase

EXPERIMENTS = ("table2", "figure3")  # of which Table 3 is a part, too
CLIPS, FEATURES = 3615, 30


def measure(machine: Machine) -> Iterator[Measurement]:
    """Epochs of the oblong networks of Tables 2 and 3 and Figure 3, and the seconds of one more alpha of cRT-WC."""
    runs = [run for run in paper_runs() if run.names["model"] == "oblong"]
    apart = Counter()
    for run in runs:
        for phase in run.phases:
            apart[phase.trains] += phase.epochs
    trained = sum(network_epochs().values())
    yield Measurement("sweep", "epochs through the network, trained", trained, apart["network"], "epochs")
    yield Measurement(
        "sweep", "epochs, forward for heads included", trained, apart["network"] + apart["head"], "epochs"
    )
    yield Measurement("sweep", "one more alpha of cRT-WC", extra_alpha(machine), target=Target("ours", 60))


@cache
def paper_runs() -> tuple[Run, ...]:
    """The runs of Table 2 and Figure 3 on VocalSet, one for each cell (Table 3's are Figure 3's at alpha 0.2)."""
    return tuple(build_run(cfg, UnpreparedCorpus(cfg, False)) for _, cfg in compose_runs(EXPERIMENTS, []))


def network_epochs() -> Counter:
    """Epochs through the oblong network that the sweeps really train, by arrangement."""
    phases = {}
    for run in paper_runs():
        if run.names["model"] == "oblong":
            for phase, key in zip(run.phases, run.keys, strict=True):
                phases[key] = (run.names["dc"], phase)
    epochs = Counter()
    for dc, phase in phases.values():
        epochs[dc] += phase.epochs if phase.trains == "network" else 0
    return epochs


def extra_alpha(machine: Machine) -> float:
    """Seconds of a classifier phase of the paper's length on features that are there, as a run trains it."""
    corpus = feature_corpus()
    settings = ["alpha=0.3", "trainer.progress=false"]
    settings.append(f"trainer.accelerator={'gpu' if machine.device.type == 'cuda' else 'cpu'}")
    settings.append("condition=late_crt_wc")
    ((run, place),) = ((build_run(cfg, corpus), build_machine(cfg)) for _, cfg in compose_runs(["table3"], settings))
    with tempfile.TemporaryDirectory(prefix="singtech-bench-") as folder:
        started = time.perf_counter()
        train_phase(Task(run, 1, (FeaturesThere(),), corpus, Path(folder), place))
        return time.perf_counter() - started


class FeaturesThere:
    """A stored phase whose features need not be computed, and whose extractor nobody will use."""

    key = "0" * 16

    def load_into(self, network: object, running: bool = False) -> None:
        """The initial weights do."""

    def features(self, clips: str, compute: object) -> np.ndarray:
        """(N, D) random features."""
        return np.random.default_rng(0).normal(size=(CLIPS, FEATURES)).astype(np.float32)


def feature_corpus() -> Corpus:
    """As many clips as the paper trains on, with no sound in them."""
    clips = pd.DataFrame({"recording": [f"recording{n}" for n in range(CLIPS)], "start": 0.0, "singer": "ann"})
    clips["technique"] = [TECHNIQUES[n % len(TECHNIQUES)] for n in range(CLIPS)]
    clips["digest"] = [hashlib.blake2b(str(n).encode(), digest_size=16).hexdigest() for n in range(CLIPS)]
    clips["split"] = "train"
    waveforms = np.broadcast_to(np.int16(0), (CLIPS, 132_300))
    settings = {"name": "bench", "sample_rate": 44100, "clip_seconds": 3.0}
    return Corpus(Path(), "", settings, tuple(TECHNIQUES), [], [], [], clips, waveforms, pd.DataFrame())
