"""Make a corpus ready and say what is in it: python -m singtech.prepare [data=vocalset data.root=…]."""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from singtech.config import command, plain
from singtech.data.clips import Corpus, prepare, report


def corpus_of(cfg: DictConfig) -> Corpus:
    """The corpus that `data=…` describes, prepared if it is not yet.

    Raises:
        ValueError, OSError: as its source and `prepare` do.
    """
    settings = plain(cfg.data)
    source = instantiate(settings.pop("source"))
    settings.pop("root", None)
    return prepare(source, Path(cfg.output_dir) / "data", **settings)


def job(cfg: DictConfig) -> None:
    """Prepare, and print per technique and split the recordings, minutes and clips, and what was found odd."""
    print(report(corpus_of(cfg)))


main = command(job)

if __name__ == "__main__":
    main()
