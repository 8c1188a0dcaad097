"""Fetch a corpus, cut it into clips, and say what is in it."""

import re
import shlex
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from singtech.cli.config import differences, hydra_command, plain
from singtech.corpus.clip_store import Corpus, prepare, report
from singtech.corpus.sources import make_source
from singtech.errors import InvalidValue
from singtech.io.atomic import remove_remains, write_text
from singtech.io.lock import hold, is_held
from singtech.places import CONF


def corpus_of(cfg: DictConfig, make: bool = True) -> Corpus:
    """The corpus that `data=…` describes, prepared first if it is not yet; None then with `make=False`.

    Raises:
        SingtechError: its name is absent or taken, or as its source and `prepare` say.
    """
    if OmegaConf.is_missing(cfg.data, "name"):
        raise InvalidValue(
            "data.name is not set: results stand under the corpus's name, so give it one, say data.name=choir."
        )
    settings = plain(cfg.data)
    choice, name = HydraConfig.get().runtime.choices["data"], settings["name"]
    if name != choice and (CONF / "data" / f"{name}.yaml").exists():
        raise InvalidValue(
            f"data.name={name}: that name is data={name}'s; give data={choice} one of its own, say choir."
        )
    source = make_source(settings.pop("source"))
    del settings["root"], settings["labels"]  # the source has them
    return prepare(source, Path(cfg.output_dir) / "data", **settings, make=make)  # type: ignore[return-value]


def write_lengths(cfg: DictConfig, corpus: Corpus) -> None:
    """Write `corpora/<data>.csv`, which tables read: recordings, minutes and clips of each technique and split.

    Each line also holds the corpus's state, and the settings by which a command names the corpus. Nothing is written
    of a corpus with other `data` settings than its default's: its lengths would stand for the default's.
    """
    if any(setting.startswith("data.") for setting in differences(cfg)):
        return
    fold = "" if corpus.fold is None else f"-fold_{corpus.fold}"
    typed = [override for override in HydraConfig.get().overrides.task if override.split("=")[0] != "data.fold"]
    settings = " ".join(shlex.quote(override) for override in typed if re.match(r"data[.=]", override))
    path = Path(cfg.output_dir) / "corpora" / f"{corpus.name}{fold}.csv"
    text = corpus.lengths().assign(**corpus.identity(), settings=settings).to_csv(index=False)
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        is_held(path)  # removes the lock of a process that was killed
    else:
        with hold(path, f"{path} is being written"):
            remove_remains(path)
            write_text(path, text)


def job(cfg: DictConfig) -> None:
    """Prepare a corpus, and print the recordings, minutes and clips of each technique and split, and oddities."""
    corpus = corpus_of(cfg)
    write_lengths(cfg, corpus)
    print(report(corpus))


main = hydra_command(job)
