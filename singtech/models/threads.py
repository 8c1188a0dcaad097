"""Threads for loops that let go of Python's lock, as many as torch computes with."""

import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def in_threads(job: Callable[[int], None], jobs: int) -> None:
    """Do all jobs, on as many threads as torch computes with."""

    @torch.inference_mode()
    def alone(number: int) -> None:
        job(number)

    threads = torch.get_num_threads()
    if threads == 1 or jobs < 2:
        for number in range(jobs):
            alone(number)
    else:
        list(_pool(threads, os.getpid()).map(alone, range(jobs)))


@functools.lru_cache(maxsize=1)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads in which torch computes on one each; of its own for every process, for a fork takes none along."""
    ready = threading.Barrier(threads)
    pool = ThreadPoolExecutor(threads, "singtech", torch.set_num_threads, (1,))
    try:
        list(pool.map(lambda _: ready.wait(), range(threads)))
    except BaseException:  # those that wait would never end
        ready.abort()
        pool.shutdown(wait=False)
        raise
    finally:
        torch.set_num_threads(threads)  # threads begun elsewhere are to have all, as before
    return pool
