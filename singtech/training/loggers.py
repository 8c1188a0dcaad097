"""MLflow and Weights & Biases: one logger's run per phase, those of all sweeps in one place.

Several runs can share a phase. It has the dc, strategy, alpha and run name of the run that trained it.
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
    """End the runs of these loggers when training ends or fails; Lightning does not always do so."""
    status = FAILED
    try:
        yield
        status = "success"
    finally:
        for logger in loggers:
            if isinstance(logger, MlflowRun | WandbRun):
                logger.finalize(status)


class MlflowRun(MLFlowLogger):
    """A phase's run in `<save_dir>/mlflow.db`, with artifacts beside it; a resumed phase continues its run.

    Lightning logs an epoch after it writes the checkpoint. If a process is killed between the two, the run lacks the
    epoch, but the phase's `log.csv` has it.

    Args:
        phase_info: stored as tags and parameters, to filter by; `key` identifies the phase.
        save_dir: for the runs of all phases.
    """

    def __init__(self, phase_info: Mapping, save_dir: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        folder = Path(save_dir).resolve()
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        with hold(folder / "mlflow.db", "MLflow's tables are being created"), _quiet_mlflow():
            super().__init__(PROJECT, tracking_uri=uri, run_id=_find_or_create_run(uri, folder, phase_info))

    def finalize(self, status: str = "success") -> None:
        """End the run, even if another process has logged it."""
        self.experiment.set_terminated(self.run_id, "FAILED" if status == FAILED else "FINISHED")


def _find_or_create_run(uri: str, folder: Path, phase_info: Mapping) -> str:
    """Find the unfinished run of the phase, or create one; return its id."""
    from mlflow import MlflowClient
    from mlflow.entities import Param

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(PROJECT)
    experiment = found.experiment_id if found else client.create_experiment(PROJECT, (folder / "artifacts").as_uri())
    for run in client.search_runs([experiment], f"tags.key = '{phase_info['key']}'", max_results=1):  # the newest
        if run.info.status != "FINISHED":
            client.update_run(run.info.run_id, status="RUNNING")
            return run.info.run_id
    tags = {name: str(value) for name, value in phase_info.items()}
    run_id = client.create_run(experiment, tags=tags, run_name=_display_name(phase_info)).info.run_id
    client.log_batch(run_id, params=[Param(name, value) for name, value in tags.items()])
    return run_id


@contextmanager
def _quiet_mlflow() -> Iterator[None]:
    """Hide MLflow's messages about its tables, and SQLAlchemy 2.1's warnings about MLflow."""
    import mlflow  # noqa: F401 - the import configures its loggers

    logging.getLogger("alembic").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"The ``noload`` loader strategy is deprecated")
        yield


class WandbRun(WandbLogger):
    """A phase's offline run in `<save_dir>/wandb/`; a resumed phase adds a run to the same group.

    The run starts in the process that trains, and its helper process ends with that one.

    Args:
        phase_info: stored as configuration and tags, to filter by; `key` identifies the phase and names the group.
        save_dir: for the runs of all phases.
    """

    def __init__(self, phase_info: Mapping, save_dir: str) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else it sends reports over the network
        import wandb

        # a console that is not off captures the progress bars
        settings = wandb.Settings(console="off", silent=True, disable_git=True, save_code=False, x_disable_stats=True)
        Path(save_dir).mkdir(parents=True, exist_ok=True)
        super().__init__(
            _display_name(phase_info),
            save_dir,
            offline=True,
            project=PROJECT,
            mode="offline",
            resume=None,
            group=phase_info["key"],
            config=dict(phase_info),
            tags=[f"{name}={phase_info[name]}"[:64] for name in ("data", "dc", "strategy", "alpha", "seed")],
            settings=settings,
        )
        del self._wandb_init["anonymous"]  # Lightning's None is deprecated
        self.is_finished = False

    def __getstate__(self) -> dict:
        """Return the state for another process to unpickle; only the first process starts a wandb run."""
        return self.__dict__.copy()

    def finalize(self, status: str = "success") -> None:
        """End the run if it started in this process."""
        if self._experiment is None or self.is_finished:
            return
        import wandb

        self._experiment.finish(exit_code=int(status == FAILED))
        wandb.teardown()
        self.is_finished = True


def _display_name(phase_info: Mapping) -> str:
    return f"{phase_info['phase']} · {phase_info['run']}"
