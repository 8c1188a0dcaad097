"""Whatever streams, letters and folders a shell gives a command, it ends with the right status and without a traceback.

Commands run in forked children, which begin in milliseconds, with streams made as Python makes them.
"""

import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from singtech.__main__ import main
from singtech.cli import config, predict, protocol, store, tables  # noqa: F401, before the children begin
from singtech.io.atomic import escape_text

GONE = 128 + signal.SIGPIPE  # as a shell calls it
COMMANDS: dict[tuple, int] = {  # arguments -> status
    (): 0,
    ("store", "columns=true"): 0,
    ("run", "--help"): 0,
    ("run", "--cfg", "job", "data=demo"): 0,
    ("store", "output_dir=/nowhere"): 1,
    ("sing",): 2,
}
ODD_NAMES = [
    "e\x1b[31mred",
    "new\nline",
    "cr\rover",
    "bel\x07",
    "\x9bc1",
    "bad\udcff",
    "sep\u2028",
    "gnp\u202e.wav",
    "\u2067isolate",
]


def connect(number, state, file):
    """Give a stream of this process a state: into a file, full, or gone (its reader has ended)."""
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(os.open("/dev/full", os.O_WRONLY) if state == "full" else writer if state == "gone" else file, number)


def in_child(arguments, out="", err="", inside="", encoding="utf-8"):
    """Run a command in a child with such streams; return its status and what it wrote."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        child = os.fork()
        if not child:
            status = 70
            try:
                connect(1, out, stdout.fileno())
                connect(2, err, stderr.fileno())
                sys.stdout = open(1, "w", encoding=encoding, errors="strict", closefd=False)  # noqa: SIM115
                sys.stderr = open(2, "w", 1, encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
                for number, (name, state) in enumerate({"stdin": inside, "stdout": out, "stderr": err}.items()):
                    if state == "closed":
                        os.close(number)
                        setattr(sys, name, None)
                sys.argv = ["singtech", *arguments]
                status = main()
            except SystemExit as stop:
                status = stop.code if isinstance(stop.code, int) else 1
                print(stop.code if isinstance(stop.code, str) else "", file=sys.stderr)
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (stdout, stderr):
            file.seek(0)
            texts.append(file.read().decode(encoding))
    return SimpleNamespace(status=os.waitstatus_to_exitcode(status), out=texts[0], err=texts[1])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_streams_that_are_closed_full_or_unread(command):
    status = COMMANDS[command]
    closed = [{"out": "closed"}, {"err": "closed"}, {"inside": "closed"}, dict.fromkeys(("out", "err"), "closed")]
    for streams in closed:
        done = in_child(command, **streams)
        assert (done.status, "Traceback" in done.err) == (status, False), streams
    assert in_child(command, out="gone", err="gone").status == GONE
    full, unread = in_child(command, out="full"), in_child(command, out="gone")
    if status:  # it writes to the other stream alone
        assert (full.status, unread.status) == (status, status)
    else:
        assert (full.status, full.err.count("\n"), full.err[:27]) == (1, 1, "error: no room on the disk ")
        assert (unread.status, unread.err) == (GONE, "")


def print_much(cfg):
    print("a line\n" * 100_000)


def test_a_command_with_a_configuration_whose_output_nobody_reads(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("singtech.cli.protocol.main", config.hydra_command(print_much))
    for words in (["data=demo"], ["-m", "data=demo", "seed=0,1"]):
        done = in_child(["protocol", *words], out="gone")
        assert (done.status, done.err) == (GONE, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_letters_that_the_terminal_lacks_are_escaped(encoding, tmp_path):
    done = in_child(["tables", f"output_dir={tmp_path}/旋律 ā"], encoding=encoding)
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "旋律 ā".encode(encoding, "backslashreplace").decode(encoding) in done.err
    done = in_child([], encoding=encoding)
    assert (done.status, done.err) == (0, "")
    assert "[name=value …]".encode(encoding, "backslashreplace").decode(encoding) in done.out


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_that_steer_a_terminal_are_shown_escaped(name):
    shown = escape_text(name)
    assert shown.isprintable()
    done = in_child(["predict", "network=none", f"input={name}"])
    assert (done.status, done.err.count("\n"), done.err[:-1].isprintable()) == (1, 1, True)
    for option in ("output_dir", "to"):
        done = in_child(["store", f"{option}={name}"])
        assert (done.status, done.err) == (
            2,
            f"error: {option}={shown}: a control character, or no UTF-8; rename it.\n",
        )


def test_a_folder_that_cannot_be_read_is_listed_like_a_recording(tmp_path, monkeypatch):
    for name in ("open", "shut"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.wav").touch()
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "shut":
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return scandir(path)

    with monkeypatch.context() as patch:  # the test's folder is removed before `monkeypatch` ends
        patch.setattr(os, "scandir", refuse)
        files = predict.find_recordings(str(tmp_path))
    assert files == [tmp_path / "open" / "a.wav", tmp_path / "shut"]


@pytest.mark.parametrize("module", ["singtech", "singtech.run"])
def test_ctrl_c_while_modules_are_imported_ends_without_a_traceback(module, tmp_path):
    (tmp_path / "hydra").mkdir()
    (tmp_path / "hydra" / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    verb = ["run"] if module == "singtech" else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])}
    command = [sys.executable, "-m", module, *verb]
    done = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    assert (done.returncode, done.stderr) == (130, "interrupted: the same command continues where this one stopped.\n")
