"""Write the clips of the paper's protocol, or of a corpus, as a CSV.

Each row is a clip: recording, start (s), technique, singer, context, subset. Without settings it is the paper's
protocol on VocalSet, 3,615 training and 1,318 test clips, for which no audio is needed. Settings of another corpus,
split or fold are those of `singtech run`: data=demo, data.fold=0. `singtech score` scores predictions for the clips.
"""

from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from singtech.cli.config import hydra_command_with, list_differences, resolve
from singtech.cli.options import option
from singtech.cli.prepare import prepare_corpus, write_lengths
from singtech.corpus.splits import SPLITS, assign_subsets, choose_fold_singers, make_split, require_names
from singtech.corpus.vocalset import list_official_clips
from singtech.io.atomic import write_text
from singtech.results.scored import Protocol
from singtech.techniques import TECHNIQUES

COLUMNS = ["recording", "start", "technique", "singer", "context", "subset"]


@dataclass(kw_only=True)
class Options:
    """The options of `singtech protocol`."""

    to: Path = option("FILE", "a CSV to write")


@hydra_command_with(Options)
def main(cfg: DictConfig, options: Options) -> None:
    """Write the clips, and print how many there are."""
    protocol = find_protocol(cfg)
    write_text(options.to, protocol.clips.to_csv(index=False, lineterminator="\n"))
    counts = protocol.clips["subset"].value_counts()
    clips = " and ".join(f"{counts[subset]:,} {subset}" for subset in SPLITS if subset in counts)
    names = ", ".join([protocol.data, *([f"fold {protocol.fold}"] if protocol.fold else [])])
    print(f"{options.to}: {clips} clips of {names}")


def find_protocol(cfg: DictConfig) -> Protocol:
    """Find the clips that a configuration describes.

    Those of VocalSet are in the package, if they are cut as in the paper; the split may be another. Those of any other
    corpus are in its clip store, which is made if it is absent.

    Raises:
        SingtechError: the corpus cannot be prepared, or the split does not fit it.
    """
    changes = {name: value for name, value in list_differences(cfg).items() if name.startswith("data.")}
    data, name = resolve(cfg.data) if "name" in cfg.data else {}, HydraConfig.get().runtime.choices["data"]
    if name == "vocalset" == data.get("name") and all(n.startswith(("data.split", "data.folds")) for n in changes):
        split = make_split(data["split"], data["fold"], data["folds"])
        clips = list_official_clips()
        require_names(split, sorted(clips[split.by].unique()))
        if split.fold is not None:
            split = split._replace(test=choose_fold_singers(clips, split.fold, split.folds))
        clips = clips.assign(subset=assign_subsets(split, clips, TECHNIQUES, "clip", []))
        fold, techniques, identity = split.fold, tuple(TECHNIQUES), {}
    else:
        corpus = prepare_corpus(cfg)
        write_lengths(cfg, corpus)
        clips = corpus.clips.rename(columns={"split": "subset"})
        name, fold, techniques, identity = corpus.name, corpus.fold, corpus.techniques, corpus.identity()
    clips = clips.loc[clips["subset"] != "", COLUMNS].reset_index(drop=True)
    return Protocol(name, "" if fold is None else str(fold), techniques, clips, changes, identity)
