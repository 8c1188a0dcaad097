"""Download a corpus, cut it into clips, and print its content."""

import re
import shlex
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from singtech.cli.config import hydra_command, list_differences, resolve
from singtech.config_paths import CONF
from singtech.corpus.clip_store import Corpus, prepare, report
from singtech.corpus.sources import make_source
from singtech.errors import InvalidValue
from singtech.io.atomic import remove_temporary_files, write_text
from singtech.io.lock import hold, is_held


def prepare_corpus(cfg: DictConfig, make: bool = True) -> Corpus:
    """Prepare the corpus that `data=…` describes, or open it. With `make=False`, only open it, or return None.

    Raises:
        SingtechError: its name is missing or not free, or its source or `prepare` fails.
    """
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
    source = make_source(settings.pop("source"))
    del settings["root"], settings["labels"]  # the source uses them
    return prepare(source, Path(cfg.output_dir) / "data", **settings, make=make)  # type: ignore[return-value]


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
    if path.is_file() and path.read_text(encoding="utf-8") == text:
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
