"""Make a corpus ready and say what is in it: singtech prepare [data=vocalset data.root=…]."""

import re
import shlex
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from singtech.cli.config import command, plain, settings_of
from singtech.corpus.clip_store import Corpus, prepare, report
from singtech.corpus.sources import make_source
from singtech.io.atomic import remove_remains, write_text
from singtech.io.lock import hold, is_held
from singtech.places import CONF


def corpus_of(cfg: DictConfig, make: bool = True) -> Corpus | None:
    """The corpus that `data=…` describes, prepared if it is not yet; or None then, if it is not to be made.

    Raises:
        ValueError, OSError, ComponentError: as its source and `prepare` do.
    """
    if OmegaConf.is_missing(cfg.data, "name"):
        raise ValueError(
            "data.name is not set: results stand under the corpus's name, so give it one, say data.name=choir."
        )
    settings = plain(cfg.data)
    choice, name = HydraConfig.get().runtime.choices["data"], settings["name"]
    if name != choice and (CONF / "data" / f"{name}.yaml").exists():
        raise ValueError(f"data.name={name}: that name is data={name}'s; give data={choice} one of its own, say choir.")
    source = make_source(settings.pop("source"))
    del settings["root"], settings["labels"]  # the source has them
    return prepare(source, Path(cfg.output_dir) / "data", **settings, make=make)


def keep_lengths(cfg: DictConfig, corpus: Corpus) -> None:
    """Write `corpora/<data>.csv`: recordings, minutes and clips of each technique and split, which tables read.

    Each line also says which state of the corpus it is of, and by which settings a command names the corpus. Not for a
    corpus cut otherwise than its default, whose lengths would stand for the default's.
    """
    if any(setting.startswith("data.") for setting in settings_of(cfg)):
        return
    fold = "" if corpus.fold is None else f"-fold_{corpus.fold}"
    given = [override for override in HydraConfig.get().overrides.task if override.split("=")[0] != "data.fold"]
    settings = " ".join(shlex.quote(override) for override in given if re.match(r"data[.=]", override))
    path = Path(cfg.output_dir) / "corpora" / f"{corpus.name}{fold}.csv"
    text = corpus.lengths().assign(**corpus.identity(), settings=settings).to_csv(index=False)
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        is_held(path)  # which clears away the lock of who was killed when it was there
    else:
        with hold(path, f"{path} is being written"):
            remove_remains(path)
            write_text(path, text)


def job(cfg: DictConfig) -> None:
    """Prepare, and print per technique and split the recordings, minutes and clips, and what was found odd."""
    corpus = corpus_of(cfg)
    keep_lengths(cfg, corpus)
    print(report(corpus))


main = command(job)

if __name__ == "__main__":
    main()
