"""Download a corpus, cut it into clips, and print its content."""

import functools
import json
import re
import shlex
from pathlib import Path

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from singtech.cli.config import hydra_command, list_differences, resolve
from singtech.config_paths import CONF
from singtech.corpus.clip_store import Corpus, prepare, report
from singtech.corpus.manifest import list_recordings
from singtech.corpus.sources import import_source, make_source, open_recordings
from singtech.corpus.vocalset import CLIPS
from singtech.errors import InvalidValue
from singtech.io.atomic import remove_temporary_files, write_text
from singtech.io.lock import hold, is_held


def prepare_corpus(cfg: DictConfig, make: bool = True) -> Corpus:
    """Prepare the corpus that `data=…` describes, or open it. With `make=False`, only open it, or return None.

    Raises:
        SingtechError: a setting is wrong, or its source or `prepare` fails.
    """
    settings = _read_settings(cfg)
    source = make_source(settings.pop("source"))
    return prepare(source, Path(cfg.output_dir) / "data", **settings, make=make)  # type: ignore[return-value]


def check_corpus(cfg: DictConfig) -> "UnpreparedCorpus":
    """Check the settings of a corpus without making anything; return a stand-in for it.

    Raises:
        SingtechError: a setting is wrong.
    """
    settings = _read_settings(cfg)
    source = settings.pop("source")
    import_source(source)
    prepare(None, Path(cfg.output_dir) / "data", **settings)
    corpus = UnpreparedCorpus(cfg)
    corpus.techniques = corpus.techniques or _list_techniques(json.dumps(source))  # listing takes time
    return corpus


@functools.cache  # the runs of a sweep share it
def _list_techniques(source: str) -> tuple[str, ...]:
    with open_recordings(make_source(json.loads(source))) as reader:
        return tuple(sorted(set(list_recordings(reader).recordings["technique"])))


def _read_settings(cfg: DictConfig) -> dict:
    """Return the settings of a corpus, without those that its source uses."""
    if OmegaConf.is_missing(cfg.data, "name"):
        raise InvalidValue(
            "data.name is not set: results are stored under the name of the corpus, so set one, say data.name=choir."
        )
    settings = resolve(cfg.data)
    choice, name = HydraConfig.get().runtime.choices["data"], settings["name"]
    if name != choice and (CONF / "data" / f"{name}.yaml").exists():
        raise InvalidValue(
            f"data.name={name}: this name belongs to data={name}; choose another for data={choice}, such as choir."
        )
    del settings["root"], settings["labels"]
    return settings


class UnpreparedCorpus:
    """Stand-in for a corpus that is not prepared, with VocalSet's numbers of clips."""

    state = "not prepared"

    def __init__(self, cfg: DictConfig, is_here: bool = False) -> None:
        data = cfg.data
        self.name = data.name
        self.clips = {split: sum(clips.values()) for split, clips in CLIPS.items()}
        self.clips["validation"] = int(bool(data.split.validation) or data.inner_fold is not None)
        self.techniques = tuple(data.techniques or ())
        self.fold, self.sample_rate = data.fold, data.sample_rate
        self.waveforms = np.empty((0, round(data.clip_seconds * data.sample_rate)), np.int16)
        self.bytes_needed = self.waveforms.itemsize * self.waveforms.shape[1] * sum(self.clips.values())
        self.is_here, self.settings = is_here, OmegaConf.to_yaml(data, resolve=True)
        state = "is not prepared, `make data` does it" if is_here else "is absent, `make data` downloads it (2.1 GB)"
        clips = f"{self.clips['train']:,} training and {self.clips['test']:,} test clips"
        self.note = f"VocalSet {state}: counted with the {clips} of its official split."

    def rows(self, split: str) -> range:
        """Return an index for each clip of the split."""
        return range(self.clips[split])

    def fingerprint(self, split: str) -> str:
        """Return a fingerprint that no prepared corpus has."""
        return f"{split} clips of {self.settings}"


def write_lengths(cfg: DictConfig, corpus: Corpus) -> None:
    """Write `corpora/<data>.csv`, which tables read: recordings, minutes and clips of each technique and split.

    Each line also holds the state of the corpus, and the settings that select it in a command. A corpus with changed
    `data` settings is not written, because its lengths would replace those of the default settings.
    """
    if any(setting.startswith("data.") for setting in list_differences(cfg)):
        return
    fold = "" if corpus.fold is None else f"-fold_{corpus.fold}"
    overrides = [override for override in HydraConfig.get().overrides.task if override.split("=")[0] != "data.fold"]
    settings = " ".join(shlex.quote(override) for override in overrides if re.match(r"data[.=]", override))
    path = Path(cfg.output_dir) / "corpora" / f"{corpus.name}{fold}.csv"
    text = corpus.lengths().assign(**corpus.identity(), settings=settings).to_csv(index=False)
    if path.is_file() and path.read_bytes() == text.encode():
        is_held(path)  # removes the lock of a killed process
    else:
        with hold(path, f"{path} is being written"):
            remove_temporary_files(path)
            write_text(path, text)


def job(cfg: DictConfig) -> None:
    """Prepare a corpus, and print recordings, minutes and clips of each technique and split, and notes."""
    corpus = prepare_corpus(cfg)
    write_lengths(cfg, corpus)
    print(report(corpus))


main = hydra_command(job)
