"""Submit a sweep to Slurm so that no job holds a GPU while another job trains a phase that both need.

Runs that share their first phase (four alphas of cRT-WC share the features) are one group. The first run of each group
is submitted at once, and all others as a second array that depends on the first. `hydra_plugins/singtech_slurm` is
the launcher.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from omegaconf import DictConfig

from singtech.cli.prepare import UnpreparedCorpus
from singtech.cli.sweep import composed
from singtech.errors import SingtechError


def launch(launcher: Any, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list:
    """Submit the runs of a sweep like hydra-submitit-launcher's `launch`, but in two arrays; wait for all."""
    import submitit
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

    Path(launcher.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
    load = launcher.hydra_context.config_loader.load_sweep_config
    keys = [first_phase_key(load(launcher.config, list(overrides))) for overrides in job_overrides]
    params = dict(launcher.params)
    folder, attempts = params.pop("submitit_folder"), params.pop("max_num_timeout")
    parameters = {name if hasattr(BaseQueueConf, name) else f"slurm_{name}": value for name, value in params.items()}
    executor = submitit.AutoExecutor(cluster="slurm", folder=folder, slurm_max_num_timeout=attempts)
    calls = [
        (list(overrides), "hydra.sweep.dir", number, f"job_id_for_{number}", Singleton.get_state())
        for number, overrides in enumerate(job_overrides, initial_job_idx)
    ]
    jobs = submit(executor, launcher, calls, keys, parameters)
    for number, job in enumerate(jobs, initial_job_idx):
        print(f"run {number}: job {job.job_id}", flush=True)
    return [job.results()[0] for job in jobs]


def submit(executor: Any, function: Any, calls: Sequence, keys: Sequence, parameters: Mapping[str, Any]) -> list:
    """Submit calls of a function: the first call of each key, and the other calls to start after all of these.

    Returns:
        The jobs in the order of the calls.
    """
    first = [number for number, key in enumerate(keys) if key is None or key not in keys[:number]]
    others = [number for number in range(len(keys)) if number not in first]
    extra = parameters.get("slurm_additional_parameters") or {}
    jobs: dict[int, Any] = {}
    for group in filter(None, (first, others)):
        dependencies = [f"afterany:{jobs[first[0]].job_id.partition('_')[0]}"] if jobs else []
        dependency = ",".join([*filter(None, [extra.get("dependency")]), *dependencies])
        extra_parameters = dict(extra) | ({"dependency": dependency} if dependency else {})
        executor.update_parameters(**{**parameters, "slurm_additional_parameters": extra_parameters})
        jobs |= zip(group, executor.map_array(function, *zip(*(calls[n] for n in group), strict=True)), strict=True)
    return [jobs[number] for number in range(len(keys))]


def first_phase_key(cfg: DictConfig) -> str | None:
    """Return the key of a run's first phase, with settings instead of clips; None if the settings are wrong."""
    from singtech.run import build_run

    try:
        with composed(cfg) as settings:
            return build_run(settings, UnpreparedCorpus(settings)).keys[0]
    except SingtechError:  # wrong together: the job of the run reports it
        return None
