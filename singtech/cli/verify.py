"""Compare VocalSet with what is known of it.

Every recording is decoded to its end. The findings go to `<output_dir>/verification/<name>.csv`; the exit status is 0
if the paper's protocol can be run on the corpus. Other corpora are decoded, with nothing to compare them with.
"""

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from singtech.cli.config import hydra_command, plain
from singtech.corpus.archive import find_source
from singtech.corpus.sources import checked_source, make_source
from singtech.corpus.verify import report, verify
from singtech.corpus.vocalset import SAMPLE_RATE, expected_vocalset
from singtech.errors import NotThere
from singtech.io.atomic import write_text


def job(cfg: DictConfig) -> None:
    """Verify a corpus, write the findings, print the first of each kind and the conclusion.

    Raises:
        NotThere: VocalSet is not there; it is not downloaded.
        SystemExit: with status 1, when the paper's protocol cannot be run.
    """
    recordings: Any
    choice = HydraConfig.get().runtime.choices["data"]
    name = choice if OmegaConf.is_missing(cfg.data, "name") else cfg.data.name
    if choice == "vocalset":
        recordings, sample_rate, known = find_source(Path(cfg.data.root).expanduser()), SAMPLE_RATE, expected_vocalset()
        if recordings is None:
            raise NotThere(f"data.root={cfg.data.root}: VocalSet is not there; `make data` fetches it.")
    else:
        recordings, sample_rate, known = make_source(plain(cfg.data.source)), cfg.data.sample_rate, None
    with checked_source(recordings) as source:
        verification = verify(source, sample_rate, known)
    findings = Path(cfg.output_dir) / "verification" / f"{name}.csv"
    write_text(findings, verification.findings.to_csv(index=False, lineterminator="\n"))
    print(f"{source.path}: {report(verification)}\n\nEvery finding is in {findings}.\n{verification.conclusion()}")
    if not verification.is_whole:
        raise SystemExit(1)


main = hydra_command(job)
