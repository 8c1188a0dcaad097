"""Compare VocalSet with its expected content.

Every recording is decoded to its end. Recordings of the same sound in other bytes are named, and whether they cross
singers or the subsets of the split. The findings are in `<output_dir>/verification/<name>.csv`. The exit status is 0 if
the paper's protocol can be run on the corpus. The content of other corpora is unknown, so it is not compared.
"""

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from singtech.cli.config import hydra_command, resolve
from singtech.corpus.archive import find_source
from singtech.corpus.sources import make_source, open_recordings
from singtech.corpus.splits import make_split
from singtech.corpus.verify import report, verify
from singtech.corpus.vocalset import SAMPLE_RATE, expected_vocalset
from singtech.errors import NotThere
from singtech.io.atomic import expand_home, write_text
from singtech.io.terminal import wrap, wrap_lines


def job(cfg: DictConfig) -> None:
    """Verify a corpus, write the findings, and print the first of each kind and the conclusion.

    Raises:
        NotThere: VocalSet is absent. It is not downloaded.
        SystemExit: with status 1, if the paper's protocol cannot be run.
    """
    recordings: Any
    choice = HydraConfig.get().runtime.choices["data"]
    name = choice if OmegaConf.is_missing(cfg.data, "name") else cfg.data.name
    if choice == "vocalset":
        recordings, sample_rate, facts = find_source(expand_home(cfg.data.root)), SAMPLE_RATE, expected_vocalset()
        if recordings is None:
            raise NotThere(f"data.root={cfg.data.root}: VocalSet is absent; `make data` downloads it.")
    else:
        recordings, sample_rate, facts = make_source(resolve(cfg.data.source)), cfg.data.sample_rate, None
    with open_recordings(recordings) as source:
        subsets = make_split(resolve(cfg.data.split)).subsets if cfg.data.fold is None else None
        verification = verify(source, sample_rate, facts, subsets)
    findings = Path(cfg.output_dir) / "verification" / f"{name}.csv"
    write_text(findings, verification.findings.to_csv(index=False, lineterminator="\n"))
    print(f"{source.path}:\n{wrap_lines(report(verification))}\n\nEvery finding is in {findings}.")
    print(wrap(verification.conclusion()))
    if not verification.is_whole:
        raise SystemExit(1)


main = hydra_command(job)
