"""Threads for loops that release Python's global lock, as many as torch uses."""

import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def run_in_threads(job: Callable[[int], None], jobs: int) -> None:
    """Run `job` with each number below `jobs`, on as many threads as torch uses."""

    @torch.inference_mode()
    def run_one(number: int) -> None:
        job(number)

    threads = torch.get_num_threads()
    if threads == 1 or jobs < 2:
        for number in range(jobs):
            run_one(number)
    else:
        list(_pool(threads, os.getpid()).map(run_one, range(jobs)))


@functools.lru_cache(maxsize=1)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Start threads that use one torch thread each. `process` is an argument because a fork does not copy threads."""
    ready = threading.Barrier(threads)
    pool = ThreadPoolExecutor(threads, "singtech", torch.set_num_threads, (1,))
    try:
        list(pool.map(lambda _: ready.wait(), range(threads)))
    except BaseException:  # else the waiting threads would never end
        ready.abort()
        pool.shutdown(wait=False)
        raise
    finally:
        torch.set_num_threads(threads)  # restore it for all other threads
    return pool
