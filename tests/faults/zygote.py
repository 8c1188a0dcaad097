"""Runs a command again and again in forked children, so that each begins in milliseconds; kills them where it is told.

    python zygote.py '[["singtech.run", "alpha=0", …], …]' '[0, 17, …]' [together]

Each command is run in a child of its own, one after the other or all at once. A number that is not 0 says at which
file operation (an fsync, a rename, a written file, a removed one, a made folder …) the child is to die, by SIGKILL, as
in a power cut; one below 1 is a share of the first command's operations. A line of JSON says how each child ended and
how many operations it came to.
"""

import gc
import importlib
import json
import os
import signal
import sys
from pathlib import Path

OPERATIONS = ("replace", "rename", "fsync", "unlink", "rmdir", "mkdir", "open")


def main() -> None:
    commands, deaths = json.loads(sys.argv[1]), json.loads(sys.argv[2])
    for name in {command[0] for command in commands}:
        importlib.import_module(name)
    import torch

    import singtech.models.backends.compiled
    import singtech.training.run  # noqa: F401, both are what a run imports when it begins

    torch.set_num_threads(1)
    gc.freeze()  # or every child copies the libraries' pages as it looks there for garbage
    if sys.argv[3:] == ["together"]:
        children = [_begun(command, death) for command, death in zip(commands, deaths, strict=True)]
        for child in children:
            _report(*child)
    else:
        operations = 0
        for command, death in zip(commands, deaths, strict=True):
            done = _report(*_begun(command, round(death * operations) if 0 < death < 1 else death))
            operations = operations or done


def _begun(command: list[str], death: int) -> tuple[int, int]:
    """A child and the pipe on which it says how many operations it came to."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _run(command, death, writer)
    os.close(writer)
    return child, reader


def _report(child: int, reader: int) -> int:
    with os.fdopen(reader) as pipe:
        count = pipe.read()
    _, status = os.waitpid(child, 0)
    print(json.dumps({"status": os.waitstatus_to_exitcode(status), "operations": int(count or 0)}), flush=True)
    return int(count or 0)


def _run(command: list[str], death: int, writer: int) -> None:
    """The child: never returns."""
    count = _count_until(death)
    status = 0
    sys.argv = command
    try:
        status = importlib.import_module(command[0]).main() or 0
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        status = stop.code if isinstance(stop.code, int) else 1
    os.write(writer, str(count[0]).encode())
    os._exit(status)


def _count_until(death: int) -> list[int]:
    count = [0]

    def dies() -> bool:
        count[0] += 1
        return count[0] == death

    def wrapped(operation):
        def counted(*args, **options):
            if dies():
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*args, **options)

        return counted

    def write_bytes(path, data):
        with path.open("wb") as file:
            if dies():
                file.write(bytes(data)[: len(data) // 2])
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            return file.write(data)

    for name in OPERATIONS:
        setattr(os, name, wrapped(getattr(os, name)))
    Path.write_bytes = write_bytes
    return count


if __name__ == "__main__":
    main()
