"""A real Slurm of one node, with two pretended GPUs, for as long as the tests take; nothing of it is in /etc."""

import os
import secrets
import socket
import subprocess
import time
from pathlib import Path

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={slurmctld_port}
SlurmdPort={slurmd_port}
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=bf_interval=1,sched_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
ReturnToService=2
MpiDefault=none
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=2000 Gres=gpu:2
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime={grace_seconds}
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
"""


def until(happened, seconds, what):
    """Look again and again, until something has happened, and give what `happened` then gives."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = happened()
        if found:
            return found
        time.sleep(0.2)
    raise TimeoutError(f"{what}: not within {seconds} seconds")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Cluster:
    """munged, slurmctld and slurmd, started by hand as root, and what one asks them."""

    grace_seconds = 3  # between a pre-empted job's SIGTERM and its end

    def __init__(self, folder):
        self.folder = Path(folder)
        self.environment = os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf"), "OMP_NUM_THREADS": "1"}
        self.daemons = []

    def start(self):
        host = socket.gethostname().split(".")[0]
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        ports = {"slurmctld_port": free_port(), "slurmd_port": free_port()}
        settings = {"host": host, "folder": self.folder, "cpus": os.cpu_count(), "grace_seconds": self.grace_seconds}
        (self.folder / "slurm.conf").write_text(CONFIGURATION.format(**settings, **ports))
        (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        places = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "log", "pid", "seed")]
        self._daemon("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *places)
        until((self.folder / "munge.socket").exists, 20, "munged listens")
        self._daemon("slurmctld", "-D", "-i")
        self._daemon("slurmd", "-D", "-N", host)
        until(
            lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%t"), 60, f"the node is idle, see {self.folder}"
        )

    def stop(self):
        """Cancel what is left and end the daemons, the last started first."""
        self.ask("scancel", "--user=root")
        try:
            until(lambda: not self.ask("squeue", "--noheader"), 60, "the queue is empty")
        finally:
            for daemon in reversed(self.daemons):
                daemon.terminate()
                try:
                    daemon.wait(20)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()

    def ask(self, *words):
        """What a command of Slurm prints; "" where it fails."""
        return subprocess.run(words, env=self.environment, capture_output=True, text=True).stdout

    def jobs(self):
        """Every job that Slurm remembers: its fields, as `scontrol` names them."""
        lines = [line for line in self.ask("scontrol", "--oneliner", "show", "job").splitlines() if "JobId=" in line]
        return [dict(field.partition("=")[::2] for field in line.split() if "=" in field) for line in lines]

    def job(self, folder, number=0, array=0):
        """The job with that number in a sweep's first or second array, whose results go below a folder; {} if none."""
        jobs = [job for job in self.jobs() if job.get("StdOut", "").startswith(f"{folder}/")]
        arrays = sorted({int(job.get("ArrayJobId", job["JobId"])) for job in jobs})[array : array + 1]
        jobs = [job for job in jobs if int(job.get("ArrayJobId", job["JobId"])) in arrays]
        waiting = next((job for job in jobs if "-" in job.get("ArrayTaskId", "")), {})  # one record for several
        return next((job for job in jobs if job.get("ArrayTaskId", "0") == str(number)), waiting)

    def _daemon(self, *words):
        with (self.folder / f"{words[0]}.out").open("wb") as out:
            self.daemons.append(
                subprocess.Popen(words, env=self.environment, stdout=out, stderr=out, start_new_session=True)
            )


def processes_of(folder):
    """Numbers of the processes, but this one, whose environment or command names a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in told and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found
