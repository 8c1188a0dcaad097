"""Compare VocalSet with what is known of it: singtech verify [data=vocalset data.root=…].

Every recording is decoded to its end. What was found goes to `<output_dir>/verification/<name>.csv`, whole; the exit
status is 0 if the paper's protocol can be run on it. Other corpora are listened to, with nothing to compare them with.
"""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from singtech.cli.config import command, plain
from singtech.corpus.archive import find_source
from singtech.corpus.sources import checked_source, make_source
from singtech.corpus.verify import report, verify
from singtech.corpus.vocalset import SAMPLE_RATE, expected_vocalset
from singtech.io.atomic import write_text


def job(cfg: DictConfig) -> None:
    """Verify, write the findings, print the first of each kind and the conclusion.

    Raises:
        FileNotFoundError: VocalSet is not there; it is not downloaded.
        SystemExit: with status 1, when the paper's protocol cannot be run.
    """
    choice = HydraConfig.get().runtime.choices["data"]
    name = choice if OmegaConf.is_missing(cfg.data, "name") else cfg.data.name
    if choice == "vocalset":
        source, sample_rate, known = find_source(Path(cfg.data.root).expanduser()), SAMPLE_RATE, expected_vocalset()
        if source is None:
            raise FileNotFoundError(f"data.root={cfg.data.root}: VocalSet is not there; `make data` fetches it.")
    else:
        source, sample_rate, known = make_source(plain(cfg.data.source)), cfg.data.sample_rate, None
    with checked_source(source) as source:
        found = verify(source, sample_rate, known)
    findings = Path(cfg.output_dir) / "verification" / f"{name}.csv"
    write_text(findings, found.findings.to_csv(index=False, lineterminator="\n"))
    print(f"{source.path}: {report(found)}\n\nEvery finding is in {findings}.\n{found.conclusion()}")
    if found.problems:
        raise SystemExit(1)


main = command(job)

if __name__ == "__main__":
    main()
