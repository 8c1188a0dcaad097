"""`hydra/launcher=slurm`: a job for each run of a sweep; runs that wait for a shared phase begin after it is trained.

Hydra looks for launchers only in packages below `hydra_plugins`.
"""

try:
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher
except ModuleNotFoundError:  # without the extra singtech[slurm] there is no such launcher
    pass
else:

    class SharedPhasesFirst(SlurmLauncher):
        """Submit the first run of each first phase, then the others as jobs that depend on these."""

        def launch(self, job_overrides, initial_job_idx):
            """Submit a job for each run and wait for all."""
            from singtech.cli.slurm import launch

            return launch(self, job_overrides, initial_job_idx)
