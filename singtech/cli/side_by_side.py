"""A sweep by several processes of one machine at once: one a GPU, or several on each.

Every process goes through the same sweep, and they divide it among themselves through the store as processes do that
are started by hand: a phase is trained by whoever comes first, and the others go on with other runs.
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import datetime

from singtech.cli.sweep import WORKER, forget_failures, list_failures

SETTING = "trainer.side_by_side"
STOP_SECONDS = 60  # for the processes to end in good order


def asked(arguments: Sequence[str]) -> int:
    """How many processes the settings of a sweep ask for; 1 where they do not say.

    Raises:
        ValueError: no whole number from 1 up, or more than one without a sweep.
    """
    values = [word.partition("=")[2] for word in arguments if word.lstrip("+").startswith(f"{SETTING}=")]
    if not values:
        return 1
    if not re.fullmatch(r"[1-9]\d*", values[-1]):
        raise ValueError(f"{SETTING}={values[-1]}: expected how many processes sweep at once, from 1 up.")
    if int(values[-1]) > 1 and any(word.startswith("hydra/launcher=") for word in arguments):
        raise ValueError(f"{SETTING}={values[-1]}: a launcher shares the sweep out already; leave one of the two out.")
    if int(values[-1]) > 1 and not {"-m", "--multirun"} & set(arguments):
        raise ValueError(f"{SETTING}={values[-1]}: a single run has nothing to share out; add -m for a sweep.")
    return int(values[-1])


def run(module: str, arguments: Sequence[str], processes: int) -> int:
    """Sweep by several processes; their lines come with the process's number before them.

    Args:
        module: whose command it is, such as singtech.run.
        arguments: the settings.
    Returns:
        Exit status: 0, or 1 if a run failed or a process died.
    Raises:
        KeyboardInterrupt: it was stopped; so are the processes.
    """
    given = [word for word in arguments if not word.lstrip("+").startswith(f"{SETTING}=")]
    folder = _sweep_folder(given)
    forget_failures(folder)
    command = [sys.executable, "-m", module, *given, f"hydra.sweep.dir={folder}"]
    gpus = [] if "trainer.accelerator=cpu" in given else visible_gpus()
    on_what = f"on {len(gpus)} GPU{'s' if len(gpus) > 1 else ''}" if gpus else "on the CPU"
    print(f"{processes} processes share this sweep {on_what}.", flush=True)
    stopped = threading.Event()
    workers: list[subprocess.Popen] = []
    relays: list[threading.Thread] = []
    try:
        for number in range(processes):
            workers.append(_begun(command, environment(number, processes, gpus)))
            relays.append(threading.Thread(target=_relay, args=(workers[-1], number + 1, stopped), daemon=True))
            relays[-1].start()
        statuses = [worker.wait() for worker in workers]
    except BaseException:
        stopped.set()
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        for worker in workers:
            try:
                worker.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                worker.kill()
        raise
    for relay in relays:
        relay.join(STOP_SECONDS)
    died = [f"process {n} ended with {signal.Signals(-s).name}" for n, s in enumerate(statuses, 1) if s < 0]
    for line in died:
        print(f"error: {line}; the same command goes on where it stopped.", file=sys.stderr)
    failed = list_failures(folder, module)
    return int(failed or any(statuses))


def environment(number: int, processes: int, gpus: Sequence[str]) -> dict[str, str]:
    """The environment of a process: one GPU, in turn; without GPUs, its share of the processor."""
    changed = {WORKER: str(number + 1)}
    if gpus:
        changed["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    elif "OMP_NUM_THREADS" not in os.environ:
        changed["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // processes))
    return os.environ | changed


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not torch.cuda.is_available():
        return []
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


def _begun(command: Sequence[str], environ: dict[str, str]) -> subprocess.Popen:
    """In a session of its own: ctrl-C is for this process to hear, which then stops it. It ends with this one."""
    return subprocess.Popen(
        command,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )


def _end_with_parent() -> None:
    """Ask Linux for SIGTERM when the parent dies, also by SIGKILL."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG of <sys/prctl.h>


def _relay(worker: subprocess.Popen, number: int, stopped: threading.Event) -> None:
    with worker.stdout as lines:
        for line in lines:
            if line.strip() and not stopped.is_set():
                print(f"[{number}] {line.rstrip()}", flush=True)


def _sweep_folder(settings: Sequence[str]) -> str:
    """One folder of the sweep for all processes, so that they know of each other's failures."""
    chosen = {name: value for name, _, value in (setting.partition("=") for setting in settings)}
    now = datetime.now()
    default = f"{chosen.get('output_dir', 'outputs')}/hydra/{now:%Y-%m-%d}/{now:%H-%M-%S-%f}"
    return chosen.get("hydra.sweep.dir", default)
