"""Loggers: what they are told of a phase, and what is said where a package is missing."""

import sys
from fnmatch import fnmatch

import pytest
from pytorch_lightning.loggers.logger import DummyLogger

from singtech.training.loggers import finish_loggers
from singtech.training.trainer import Machine
from tests.training.test_run import classifier, network, run


@pytest.mark.parametrize("package", ["mlflow", "wandb"])
def test_a_missing_package_is_one_sentence_before_anything_is_made(call, own, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    done = call("run", "-m", *own, f"logger={package}")
    asked = f'logger={package}: {package} is not installed; do so with pip install "singtech[{package}]".'
    assert (done.status, done.err.strip()) == (1, f"error: {asked}")
    assert not (tmp_path / "outputs" / "runs").exists()


def test_a_phases_loggers_are_told_what_it_is_about(corpus, tmp_path):
    told = []
    machine = Machine("cpu", progress=False, loggers=lambda folder, about: told.append((folder.name, about)) or [])
    done = run(corpus, tmp_path, [network(1), classifier(1)], machine, alpha=0.5, seed=3)
    assert [folder for folder, _ in told] == ["logs", "logs"]
    assert [about["phase"] for _, about in told] == ["phase 1/2 network", "phase 2/2 head"]
    assert [about["key"] for _, about in told] == done.row["phases"].split()
    for _, about in told:
        assert about["run"] == done.folder.name
        assert [about[name] for name in ("data", "dc", "strategy", "alpha", "seed")] == ["tiny", "last", "test", 0.5, 3]


@pytest.mark.parametrize(
    ("logger", "written"), [("csv", ["metrics.csv"]), ("tensorboard", ["events.out.tfevents.*", "hparams.yaml"])]
)
def test_csv_and_tensorboard_write_into_the_phases_folder_alone(call, own, tmp_path, logger, written):
    assert call("run", *own, f"logger={logger}").status == 0
    phases = list((tmp_path / "outputs" / "phases").glob("[!.]*"))
    assert len(phases) == 2
    for phase in phases:
        names = sorted(path.name for path in (phase / logger / "version_0").iterdir())
        assert all(fnmatch(name, pattern) for name, pattern in zip(names, written, strict=True))
    assert {path.name for path in (tmp_path / "outputs").iterdir()}.isdisjoint({"mlflow", "wandb", logger})


def test_loggers_of_other_makers_are_left_to_lightning():
    logger = DummyLogger()
    with finish_loggers([logger]):
        pass
    with pytest.raises(KeyboardInterrupt), finish_loggers([logger]):
        raise KeyboardInterrupt
