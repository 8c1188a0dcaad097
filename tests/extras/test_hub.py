"""Uploading by the Hub's own library, to a server here that answers as the Hub does and keeps what it gets."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.conftest import call_command, own_settings, write_corpus

hub = pytest.importorskip("huggingface_hub", reason='needs pip install "singtech[hub]"')

pytestmark = pytest.mark.long


class Hub(BaseHTTPRequestHandler):
    """Takes repositories and commits of files that are sent inline."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        where = f"http://127.0.0.1:{self.server.server_port}/ann/late"
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(body)["name"])
            self.answer({"url": where})
        elif self.path == "/api/models/ann/late/preupload/main":
            files = [file["path"] for file in json.loads(body)["files"]]
            self.answer({"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in files]})
        elif self.path.startswith("/api/models/ann/late/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer({"commitUrl": f"{where}/commit/0", "commitOid": "0", "pullRequestUrl": None})
        else:
            self.answer({}, 200)

    def do_GET(self):
        self.answer({"id": "ann/late", "siblings": [], "sha": "0"})

    def answer(self, told, status=200):
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.created, server.files = [], {}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def place(tmp_path):
    assert call_command("run", "condition=late_crt_wc", *own_settings(write_corpus(tmp_path / "in"), tmp_path)) == 0
    return tmp_path


def test_the_folder_is_uploaded_whole(server, place, call, monkeypatch):
    api = hub.HfApi(endpoint=f"http://127.0.0.1:{server.server_port}", token="hf_none")
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: api)
    said = call("export", "run=late", f"to={place / 'model'}", "push=ann/late", f"output_dir={place}")
    assert said.status == 0, said.err
    assert "uploaded to http://127.0.0.1" in said.out
    assert server.created == ["late"]
    assert server.files == {path.name: path.read_bytes() for path in (place / "model").iterdir()}
    assert set(server.files) == {"README.md", "confusion.png", "config.json", "model.safetensors"}


def test_without_a_network_the_folder_stays_and_one_sentence_says_how_to_go_on(place, call, monkeypatch):
    api = hub.HfApi(endpoint="http://127.0.0.1:9", token="hf_none")
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: api)
    said = call("export", "run=late", f"to={place / 'model'}", "push=ann/late", f"output_dir={place}")
    assert said.status == 1
    assert said.err.count("\n") == 1
    assert f"hf upload ann/late {place / 'model'}" in said.err
    assert len(list((place / "model").iterdir())) == 4
