"""Loggers that keep the phases of all sweeps in one place, a run a phase, to filter by what the run is about.

Phases are shared: dc, strategy, alpha and the run's name are those of the run that a phase was first trained for.
Lightning's own loggers, which write into the phase's folder, need nothing of this.
"""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pytorch_lightning.loggers import Logger, MLFlowLogger, WandbLogger

from singtech.io.lock import hold

PROJECT = "singtech"
FAILED = "failed"  # Lightning's word


@contextmanager
def ended(loggers: Sequence[Logger]) -> Iterator[None]:
    """Whatever ends a phase's training ends its runs with these loggers; Lightning does not in every case."""
    ours = [logger for logger in loggers if isinstance(logger, MlflowRun | WandbRun)]
    try:
        yield
    except BaseException:
        for logger in ours:
            logger.finalize(FAILED)
        raise
    for logger in ours:
        logger.finalize("success")


class MlflowRun(MLFlowLogger):
    """A phase's run in `<save_dir>/mlflow.db`, with artifacts beside it; a resumed phase goes on with its run.

    Lightning logs an epoch once its checkpoint is written: a kill between the two leaves that epoch out of the run,
    though never out of the phase's `log.csv`.

    Args:
        about: what to filter by, kept as tags and as parameters; `key` tells the phase, `phase` and `data` name it.
        save_dir: of all phases.
    """

    def __init__(self, about: Mapping, save_dir: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        folder = Path(save_dir).resolve()
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        with hold(folder / "mlflow.db", "MLflow's tables are being made"), _mlflow_in_silence():
            super().__init__(PROJECT, tracking_uri=uri, run_id=_mlflow_run(uri, folder, about))

    def finalize(self, status: str = "success") -> None:
        """End the run, also where another process has logged it."""
        client = self.experiment
        client.set_terminated(self.run_id, "FAILED" if status == FAILED else "FINISHED")


def _mlflow_run(uri: str, folder: Path, about: Mapping) -> str:
    """The id of the run of the phase that was not finished, or of a new one."""
    from mlflow import MlflowClient
    from mlflow.entities import Param

    client = MlflowClient(uri)
    there = client.get_experiment_by_name(PROJECT)
    place = there.experiment_id if there else client.create_experiment(PROJECT, (folder / "artifacts").as_uri())
    for run in client.search_runs([place], f"tags.key = '{about['key']}'", max_results=1):  # the newest
        if run.info.status != "FINISHED":
            client.update_run(run.info.run_id, status="RUNNING")
            return run.info.run_id
    tags = {name: str(value) for name, value in about.items()}
    run_id = client.create_run(place, tags=tags, run_name=_name(about)).info.run_id
    client.log_batch(run_id, params=[Param(name, value) for name, value in tags.items()])
    return run_id


@contextmanager
def _mlflow_in_silence() -> Iterator[None]:
    """Without what it says of its tables, and what SQLAlchemy 2.1 says of MLflow."""
    import mlflow  # noqa: F401 - which sets its loggers up

    logging.getLogger("alembic").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"The ``noload`` loader strategy is deprecated")
        yield


class WandbRun(WandbLogger):
    """A phase's offline run in `<save_dir>/wandb/`; a resumed phase is a further run of the same group.

    It begins in the process that trains, and its helper process ends with it.

    Args:
        about: what to filter by, kept as configuration and as tags; `key` tells the phase and names the group.
        save_dir: of all phases.
    """

    def __init__(self, about: Mapping, save_dir: str) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # to its makers, over the network
        import wandb

        settings = wandb.Settings(
            console="off",  # the progress bars are a person's
            silent=True,
            disable_git=True,
            save_code=False,
            x_disable_stats=True,
        )
        Path(save_dir).mkdir(parents=True, exist_ok=True)
        super().__init__(
            _name(about),
            save_dir,
            offline=True,
            project=PROJECT,
            mode="offline",
            resume=None,
            group=about["key"],
            config=dict(about),
            tags=[f"{name}={about[name]}"[:64] for name in ("data", "dc", "strategy", "alpha", "seed")],
            settings=settings,
        )
        del self._wandb_init["anonymous"]  # Lightning's None is deprecated
        self.is_over = False

    def __getstate__(self) -> dict:
        """For processes that train together: the first of them begins the run, not this one."""
        return self.__dict__.copy()

    def finalize(self, status: str = "success") -> None:
        """End the run, if it began in this process."""
        if self._experiment is None or self.is_over:
            return
        import wandb

        self._experiment.finish(exit_code=int(status == FAILED))
        wandb.teardown()
        self.is_over = True


def _name(about: Mapping) -> str:
    return f"{about['phase']} · {about['run']}"
