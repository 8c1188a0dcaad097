"""Make a corpus ready and say what is in it: python -m singtech.prepare [data=vocalset data.root=…]."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from singtech.config import command, plain
from singtech.data.clips import Corpus, prepare, report
from singtech.places import CONF


def corpus_of(cfg: DictConfig) -> Corpus:
    """The corpus that `data=…` describes, prepared if it is not yet.

    Raises:
        ValueError, OSError: as its source and `prepare` do.
    """
    if OmegaConf.is_missing(cfg.data, "name"):
        raise ValueError(
            "data.name is not set: results stand under the corpus's name, so give it one, say data.name=choir."
        )
    settings = plain(cfg.data)
    choice, name = HydraConfig.get().runtime.choices["data"], settings["name"]
    if name != choice and (CONF / "data" / f"{name}.yaml").exists():
        raise ValueError(f"data.name={name}: that name is data={name}'s; give data={choice} one of its own, say choir.")
    source = instantiate(settings.pop("source"))
    settings.pop("root", None)
    return prepare(source, Path(cfg.output_dir) / "data", **settings)


def job(cfg: DictConfig) -> None:
    """Prepare, and print per technique and split the recordings, minutes and clips, and what was found odd."""
    print(report(corpus_of(cfg)))


main = command(job)

if __name__ == "__main__":
    main()
