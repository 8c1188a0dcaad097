"""A Slurm for as long as the tests take."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, processes_of


@pytest.fixture(scope="session")
def cluster():
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name)]
    if missing:
        pytest.fail(f"no {', '.join(missing)}: `make test-slurm` installs Debian's slurm-wlm and munge.")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)  # munged wants its socket's folder open to all
    slurm = Cluster(folder)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
        left = processes_of(folder)
        for process in left:
            os.kill(process, signal.SIGKILL)
        shutil.rmtree(folder)
    assert not left
