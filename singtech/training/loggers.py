"""MLflow and Weights & Biases: the phases of all sweeps in one place, one logger's run per phase.

Several runs share a phase: its dc, strategy, alpha and run name are those of the run that trained it first.
Lightning's own loggers write into the phase's folder and need no code here.
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
def finish_loggers(loggers: Sequence[Logger]) -> Iterator[None]:
    """End the runs of these loggers when training ends, however it ends; Lightning does not in every case."""
    status = FAILED
    try:
        yield
        status = "success"
    finally:
        for logger in loggers:
            if isinstance(logger, MlflowRun | WandbRun):
                logger.finalize(status)


class MlflowRun(MLFlowLogger):
    """A phase's run in `<save_dir>/mlflow.db`, with artifacts beside it; a resumed phase goes on with its run.

    Lightning logs an epoch once its checkpoint is written: a kill between the two leaves that epoch out of the run,
    though never out of the phase's `log.csv`.

    Args:
        about: stored as tags and parameters, to filter by; `key` identifies the phase.
        save_dir: of all phases.
    """

    def __init__(self, about: Mapping, save_dir: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        folder = Path(save_dir).resolve()
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        with hold(folder / "mlflow.db", "MLflow's tables are being created"), _quiet_mlflow():
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
    experiment = client.get_experiment_by_name(PROJECT)
    experiment_id = (
        experiment.experiment_id if experiment else client.create_experiment(PROJECT, (folder / "artifacts").as_uri())
    )
    for run in client.search_runs([experiment_id], f"tags.key = '{about['key']}'", max_results=1):  # the newest
        if run.info.status != "FINISHED":
            client.update_run(run.info.run_id, status="RUNNING")
            return run.info.run_id
    tags = {name: str(value) for name, value in about.items()}
    run_id = client.create_run(experiment_id, tags=tags, run_name=_name(about)).info.run_id
    client.log_batch(run_id, params=[Param(name, value) for name, value in tags.items()])
    return run_id


@contextmanager
def _quiet_mlflow() -> Iterator[None]:
    """Hide MLflow's messages about its tables, and SQLAlchemy 2.1's warnings about MLflow."""
    import mlflow  # noqa: F401 - which sets its loggers up

    logging.getLogger("alembic").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"The ``noload`` loader strategy is deprecated")
        yield


class WandbRun(WandbLogger):
    """A phase's offline run in `<save_dir>/wandb/`; a resumed phase is a further run of the same group.

    It begins in the process that trains, and its helper process ends with it.

    Args:
        about: stored as configuration and tags, to filter by; `key` identifies the phase and names the group.
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
        self.is_finished = False

    def __getstate__(self) -> dict:
        """For processes that train together: the first of them begins the run, not this one."""
        return self.__dict__.copy()

    def finalize(self, status: str = "success") -> None:
        """End the run, if it began in this process."""
        if self._experiment is None or self.is_finished:
            return
        import wandb

        self._experiment.finish(exit_code=int(status == FAILED))
        wandb.teardown()
        self.is_finished = True


def _name(about: Mapping) -> str:
    return f"{about['phase']} · {about['run']}"
