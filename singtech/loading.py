"""Open a corpus or a trained run from Python, in one line."""

import functools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from singtech.components import import_file
from singtech.corpus.clip_store import Corpus, divide, find_store
from singtech.errors import Damaged, InvalidValue, NotThere
from singtech.io.stored import reading
from singtech.metrics import split_column
from singtech.results.collate import CORPORA, find_run, read_collated
from singtech.results.predictions import PREDICTIONS, read_predictions
from singtech.results.rows import SCORED

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from singtech.models.network import Network
    from singtech.training.fit import Run

_HYDRA = threading.RLock()  # its configuration is global


def load_corpus(name: str = "demo", *settings: str, output_dir: str | Path = "outputs") -> Corpus:
    """Open a corpus, or prepare it as `singtech prepare` does.

    Args:
        name: a choice of `data=`, or the `data.name` of a corpus that is in `output_dir`.
        settings: as on the command line, such as "data.fold=0"; of the user's own recordings
            `load_corpus("folder", "data.name=choir", "data.root=FOLDER")`.
    Raises:
        SingtechError: there is no such corpus, it cannot be prepared, or its file in `corpora/` is damaged.
    """
    import shlex

    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    from singtech.cli.config import quote_letters
    from singtech.cli.prepare import prepare_corpus
    from singtech.cli.problems import describe_error
    from singtech.cli.sweep import composed
    from singtech.config_paths import CONF

    collated = read_collated(output_dir)
    with reading(collated.output_dir / CORPORA / f"{name}.csv", "`singtech prepare` writes it again"):
        stored = shlex.split(collated.settings(name))
    quoted = str(output_dir).replace("'", r"\'")
    overrides = [*map(quote_letters, [*(stored or [f"data={name}"]), *settings]), f"output_dir='{quoted}'"]
    with _HYDRA:
        before = GlobalHydra.instance().hydra
        GlobalHydra.instance().clear()
        try:
            with initialize_config_dir(str(CONF), version_base="1.3"):
                cfg = compose("config", overrides, return_hydra_config=True)
                with composed(cfg) as cfg:
                    return prepare_corpus(cfg)
        except HydraException as problem:
            raise InvalidValue(f"load_corpus({name!r}): {describe_error(problem)}") from None
        finally:
            GlobalHydra.instance().hydra = before


def load_run(name: str | Path, output_dir: str | Path = "outputs", code: str = "") -> "StoredRun":
    """Find a complete run by its name or folder, or by a part of the name that no other run has.

    Args:
        code: the user's own file with the network's classes, if it has some.
    Raises:
        NotThere: no run is complete.
        InvalidValue: no name or several contain the part.
    """
    return StoredRun(find_run(Path(output_dir), name), Path(output_dir), code)


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A complete run of a results folder. Each part is read when it is used first.

    Attributes:
        row: its row of results.csv, column -> value.
        output_dir: the results folder.
        code: see `load_run`.
        remote_code: whether code that comes with a frozen encoder may run.
    """

    row: Mapping = field(repr=False)
    output_dir: Path
    code: str = ""
    remote_code: bool = False

    def __repr__(self) -> str:
        return f"<run {self.row['run']}: {self.condition}, macro-F1 {self.row['f1']:.3f}>"

    @property
    def condition(self) -> str:
        """What the run shares with the same condition's other seeds: the column `condition` of results.csv."""
        return self.row["condition"]

    @functools.cached_property
    def network(self) -> "Network":
        """The trained network in eval mode: (B, S) waveforms between -1 and 1 to (B, K) logits.

        Raises:
            SingtechError: see `load_network`.
        """
        return load_network(self.output_dir, self.row, self.code)[0]

    @functools.cached_property
    def predictions(self) -> "pd.DataFrame":
        """A row for each test clip: recording, singer, technique, context, start (s), predicted, probability_….

        Raises:
            Damaged: the stored predictions are damaged.
        """
        stored = read_predictions(self.output_dir / "runs" / self.row["run"] / PREDICTIONS)
        names = [stored.techniques[k] for k in stored.logits.argmax(axis=1)]
        shares = {f"probability_{name}": stored.probabilities[:, k] for k, name in enumerate(stored.techniques)}
        return stored.clips.assign(predicted=names, **shares)

    @property
    def corpus(self) -> Corpus:
        """The clips that the run was trained and tested on.

        Raises:
            NotThere: they are not in the results folder.
        """
        return self._parts[1]

    def features(self, subset: str = "test", corpus: Corpus | None = None) -> "np.ndarray":
        """Compute the network's features of clips, or read them from the phase's store.

        Args:
            subset: "train", "validation" or "test".
            corpus: other clips than the run's own, of the same sample rate and length.
        Returns:
            (N, D), in the order of `corpus.rows(subset)` and `corpus.targets(subset)`.
        Raises:
            NotThere: the run's phases are absent.
            Damaged: they are damaged.
        """
        from singtech.training.fit import clip_features
        from singtech.training.phase_store import open_phases
        from singtech.training.trainer import Machine

        run, own = self._parts
        clips = corpus or own
        if not len(clips.rows(subset)):
            raise InvalidValue(f"features of {clips.name}: it has no {subset} clip.")
        size, own_size = (f"{each.waveforms.shape[1]} samples at {each.sample_rate} Hz" for each in (clips, own))
        if size != own_size:
            raise InvalidValue(f"features of {clips.name}: clips of {size}; the network was trained on {own_size}.")
        phases = open_phases(self.output_dir / "phases", self.row["phases"].split())
        if len(phases) != len(run.phases):
            raise Damaged(f"the run has {len(phases)} stored phases, and its configuration {len(run.phases)}.")
        return clip_features(run, phases, clips, subset, Machine(precision=run.setup.precision))

    @functools.cached_property
    def _parts(self) -> "tuple[Run, Corpus]":
        """Build the run again from its settings, and find its clips.

        Raises:
            NotThere: the clips of its corpus are absent.
            SingtechError: its files are damaged or of another version.
        """
        from omegaconf import OmegaConf

        from singtech.corpus.splits import make_split
        from singtech.run import make_run
        from singtech.settings import Settings
        from singtech.training.run import CONFIGURATION, read_configuration

        row, folder = self.row, self.output_dir / "runs" / self.row["run"]
        command = row.get("command") or row["settings"]
        with reading(folder / CONFIGURATION, f"make the run again: {command}"):
            stored = OmegaConf.merge(OmegaConf.structured(Settings), read_configuration(folder))
            settings: dict = OmegaConf.to_container(stored, throw_on_missing=True)  # type: ignore[assignment]
            data = settings["data"]
            if "name" in settings["model"]:  # an encoder of the Hub
                settings["model"]["remote_code"] = self.remote_code
        clips = find_store(self.output_dir / "data", row["data"], row["corpus_fingerprint"])
        again = f"make them with `singtech prepare` and the run's settings: {command}"
        if clips is None:
            raise NotThere(f"{self.output_dir / 'data'}: the clips of {row['run']} are not here; {again}")
        split = make_split(*(data[name] for name in ("split", "fold", "folds", "inner_fold", "fold_singers")))
        changes = ("train_contexts", "test_contexts", *(name for name in data if name.startswith("long_tail")))
        corpus = divide(clips, split, **{name: data[name] for name in changes})
        if corpus.identity()["data_fingerprint"] != row["data_fingerprint"]:
            raise NotThere(f"{clips.folder}: the run's training and test clips are not these; {again}")
        names = {name: row[name] for name in ("data", "fold", "model", "dc", "strategy", "alpha", "settings")}
        return make_run(settings, names, corpus), corpus


def load_network(output_dir: Path, row: Mapping, code: str = ""):
    """Load the network of a complete run, in eval mode, and its description.

    Args:
        code: the file with the user's own classes, if the network has some.
    Raises:
        NotThere: its weights are absent.
        Damaged: its files are damaged.
        InvalidValue: a random forest classifies its features, or it has one of the user's classes and `code` is "", or
            it is a scored system.
    """
    from singtech.inference.saved import Description, describe_parts
    from singtech.training.phase_store import open_phases
    from singtech.training.run import CONFIGURATION, read_configuration

    if row["strategy"] == SCORED:
        raise InvalidValue(f"{row['run']} is a scored system: its predictions are stored, and no network.")
    folder = output_dir / "runs" / row["run"]
    *_, phase = open_phases(output_dir / "phases", row["phases"].split()[-1:])
    again = row.get("command") or "run it again"
    remedy = f"set it aside, singtech store check=true output_dir={output_dir}, and make it again: {again}"
    with reading(folder / CONFIGURATION, remedy):
        settings = read_configuration(folder)
        data, forest = settings["data"], settings.get("forest") or settings["model"].get("forest")
        parts = describe_parts(settings)
        samples, rate = round(data["clip_seconds"] * data["sample_rate"]), int(data["sample_rate"])
    if forest:
        raise InvalidValue(f"{row['run']}: a random forest names its techniques; it is not stored.")
    techniques = read_predictions(folder / PREDICTIONS).techniques
    origin = {name: value for name, value in row.items() if value == value and not split_column(name)}
    description = Description(parts, techniques, rate, samples, origin, import_file(Path(code)) if code else None)
    network = description.build()
    phase.load_into(network)
    return network, description
