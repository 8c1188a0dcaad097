"""A server that throttles, cuts and sends wrong bytes still gives the whole file, or one sentence."""

import hashlib
import shutil
import signal
import subprocess
import sys
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from singtech.corpus import download as module
from singtech.corpus.download import download

CONTENT = np.random.default_rng(0).bytes(400_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers each request by the next step of `script`: a status, or how to send; then properly."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.asked, self.sent, self.content = [], [], 0, CONTENT
        self.url = f"http://127.0.0.1:{self.server_port}/VocalSet11.zip"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        step = self.server.script.pop(0) if self.server.script else {}
        if "status" in step:
            self.send_response(step["status"])
            for name, value in step.get("headers", {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content, start = self.server.content, 0
        if wanted and not step.get("ignores_range"):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        part = content[start : start + step.get("cut", len(content))]
        self.server.sent += len(part)
        self.wfile.write(part)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def fetch(server, tmp_path, monkeypatch):
    """Download from the server to `VocalSet11.zip`; the pauses it would have made are in `fetch.pauses`."""

    def run(sleep=None):
        monkeypatch.setattr(module.time, "sleep", sleep or run.pauses.append)
        return download(server.url, tmp_path / "VocalSet11.zip", len(CONTENT), MD5)

    run.pauses = []
    run.part = tmp_path / "VocalSet11.zip.part"
    return run


def test_a_good_server_is_asked_once(server, fetch, capsys, monkeypatch):
    monkeypatch.setattr("singtech.io.terminal.LINE_SECONDS", 0)
    assert fetch().read_bytes() == CONTENT
    assert server.asked == [None]
    assert fetch.pauses == []
    assert not fetch.part.exists()
    assert "VocalSet11.zip: 400k of 400k B" in capsys.readouterr().err
    assert fetch().read_bytes() == CONTENT
    assert server.asked == [None]  # what is there is not fetched again


def test_what_came_reaches_the_disk_before_its_name(fetch, tmp_path, operations):
    path = fetch()
    last = len(operations) - 1 - operations[::-1].index("renamed")
    assert operations[last - 1 : last + 2] == [path.stat().st_ino, "renamed", tmp_path.stat().st_ino]


def test_a_broken_transfer_goes_on_where_it_was(server, fetch, capsys):
    server.script = [{"cut": 200_000}, {"cut": 100_000}]
    assert fetch().read_bytes() == CONTENT
    offsets = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in server.asked[1:]]
    assert offsets[0] >= 200_000 - (1 << 16)
    assert offsets == sorted(offsets)
    assert server.sent < 400_000 + 2 * (1 << 16)  # at most an unfinished chunk was sent twice
    assert "the transfer broke off; trying again in 2 s" in capsys.readouterr().err


def test_a_later_call_goes_on_with_what_an_earlier_one_left(server, fetch):
    def ctrl_c(_):
        raise KeyboardInterrupt

    server.script = [{"cut": 300_000}]
    with pytest.raises(KeyboardInterrupt):
        fetch(sleep=ctrl_c)
    there = fetch.part.stat().st_size
    assert there >= 200_000
    assert fetch().read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={there}-"]


def test_a_call_goes_on_with_what_a_killed_process_left(server, fetch, tmp_path):
    server.script = [{"cut": 300_000}]
    dies = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    code = f"""
from pathlib import Path
from singtech.corpus import download as module
from singtech.corpus.download import download
def die(seconds):
    {dies}
module.time.sleep = die
download({server.url!r}, Path({str(tmp_path / "VocalSet11.zip")!r}), {len(CONTENT)}, {MD5!r})
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    there = fetch.part.stat().st_size
    assert there >= 200_000
    assert (tmp_path / ".VocalSet11.zip.lock").exists()
    assert fetch().read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={there}-"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["VocalSet11.zip"]


def test_two_who_ask_at_once_fetch_one_file(server, fetch):
    server.script = [{"cut": 200_000}]  # after which the first one pauses and the other asks
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: fetch(sleep=lambda _: threading.Event().wait(0.5)), range(2)))
    assert both[0].read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_throttling_is_waited_out_as_the_server_asks(server, fetch):
    server.script = [{"status": 429, "headers": {"Retry-After": "7"}}, {"status": 403}, {"status": 503}]
    assert fetch().read_bytes() == CONTENT
    assert fetch.pauses == [7, 4, 8]


def test_pauses_double_up_to_the_longest_and_end(server, fetch, monkeypatch):
    server.script = [{"status": 500}] * 20
    monkeypatch.setattr(module, "LONGEST_PAUSE", 20)
    with pytest.raises(ConnectionError, match=r"could not be downloaded \(the server answered 500\)"):
        fetch()
    assert fetch.pauses == [2, 4, 8, 16, 20]


def test_new_bytes_renew_the_patience(server, fetch, monkeypatch):
    server.script = [{"cut": 70_000}, {"status": 429}, {"cut": 70_000}, {"status": 429}, {"cut": 70_000}]
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    assert fetch().read_bytes() == CONTENT


def test_a_server_that_ignores_the_range_starts_over(server, fetch):
    server.script = [{"cut": 200_000}, {"ignores_range": True}]
    assert fetch().read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_server_that_starts_over_for_ever_is_given_up(server, fetch, monkeypatch):
    server.script = [{"cut": 200_000, "ignores_range": True}] * 20
    monkeypatch.setattr(module, "ATTEMPTS", 4)
    with pytest.raises(ConnectionError, match="broke off"):
        fetch()
    assert len(server.asked) == 5


@pytest.mark.parametrize("early", [0, 100_000])
def test_wrong_bytes_are_removed_and_said(server, fetch, early):
    if early:
        fetch.part.write_bytes(bytes(early))  # the part has gone bad, the server is good
    else:
        server.content = CONTENT[:-1] + b"?"
    with pytest.raises(ValueError, match=f"sent wrong bytes .md5 .* instead of {MD5}.; they are removed, try again"):
        fetch()
    assert not fetch.part.exists()
    assert not (fetch.part.parent / "VocalSet11.zip").exists()
    server.content = CONTENT
    assert fetch().read_bytes() == CONTENT


def test_another_file_at_the_address_is_not_fetched(server, fetch):
    server.content = b"<html>please sign in</html>"
    with pytest.raises(ValueError, match="not the file expected .it offers 27, expected 400000"):
        fetch()
    assert not fetch.part.exists()


def test_a_part_that_is_too_long_is_dropped(server, fetch):
    fetch.part.write_bytes(bytes(len(CONTENT) + 1))
    assert fetch().read_bytes() == CONTENT


def test_a_part_that_the_server_does_not_know_is_dropped(server, fetch):
    fetch.part.write_bytes(bytes(1000))
    server.script = [{"status": 416}]
    assert fetch().read_bytes() == CONTENT


def test_a_file_that_is_gone_is_not_asked_for_again(server, fetch):
    server.script = [{"status": 404}]
    with pytest.raises(ConnectionError, match="the server answered 404"):
        fetch()
    assert fetch.pauses == []


def test_without_a_server_it_gives_up_after_a_minute(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    pauses = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    with pytest.raises(ConnectionError, match="no connection"):
        download("http://127.0.0.1:9/x.zip", tmp_path / "x.zip", 10, "")
    assert pauses == [2, 4, 8, 16, 32]


def test_no_space_is_said_before_the_first_byte(server, fetch, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "total used free")(10**6, 10**6, 1234))
    with pytest.raises(OSError, match=r"no space on the disk: VocalSet11.zip needs 400\.00 kB, 1\.23 kB is free"):
        fetch()
    assert server.asked == []


def test_space_that_ends_midway_is_said_and_the_part_goes_on_later(server, fetch, no_file_beyond):
    no_file_beyond(200_000)
    with pytest.raises(OSError, match=r"File too large: '.*VocalSet11\.zip\.part'"):
        fetch()
    no_file_beyond(10**9)
    assert fetch().read_bytes() == CONTENT
    assert server.asked[1] == "bytes=200000-"
