"""The folder of a run in progress: what it is of, who works in it, and when it is cleared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ruvllm.config import TrainingConfig
from ruvllm.errors import ModelDamaged, ModelMissing, ModelUnsupported
from ruvllm.memory.store import Store
from ruvllm.memory.tuning_run import LOCK, RUN, MadeOf, clear, still_holds, tuning_folder
from ruvllm.tuning.training.progress import RunDropped

__all__ = ["Run", "begun", "cleared_when_hopeless", "followed", "held", "write_run"]

HOPELESS = (ValueError, FileNotFoundError, ModelDamaged, ModelMissing, ModelUnsupported)
"""What fails again however often it is resumed; a full disk, a kill and a network that is down do not."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run in progress is of, so that resuming it needs no arguments."""

    tier: str
    base: str
    options: TrainingConfig
    rates: tuple[float, ...]
    text: str
    made_of: MadeOf


@contextmanager
def held(brain: Path) -> Iterator[Path]:
    """Yield the folder of a brain's run, which no other process works in meanwhile.

    Raises:
        ValueError: another process does.
    """
    from filelock import FileLock, Timeout

    folder = tuning_folder(brain)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / LOCK).acquire(timeout=0)
    except Timeout as error:
        raise ValueError(f"brain: another process trains a student of {brain}") from error
    with lock:
        yield folder


@contextmanager
def cleared_when_hopeless(folder: Path) -> Iterator[None]:
    """Let nothing stay that would fail again when it is resumed, or did not begin; what was stopped stays."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, HOPELESS) or not (folder / RUN).is_file():
            clear(folder)
        raise


@contextmanager
def followed(folder: Path) -> Iterator[None]:
    """Say so where what ended a run is that the brain forgot what it was made of, and clear the rest away."""
    try:
        yield
    except Exception as error:
        if (folder / RUN).is_file():
            raise
        clear(folder)
        raise RunDropped from error
    if not (folder / RUN).is_file():
        clear(folder)
        raise RunDropped


def begun(folder: Path, *, resume: bool) -> Run | None:
    """Return the unfinished run; clear away one that was killed before it began to train, or is outdated.

    Raises:
        ValueError: there is one, and it is not to be resumed.
    """
    path = folder / RUN
    if not path.is_file():
        clear(folder)
        return None
    if not resume:
        raise ValueError(f"resume: a run is unfinished in {folder}: go on with it, or delete that folder")
    try:
        run = msgspec.json.decode(path.read_bytes(), type=Run)
    except msgspec.DecodeError:  # of another version
        run = None
    if run is not None and _holds(folder, run):
        return run
    clear(folder)
    return None


def _holds(folder: Path, run: Run) -> bool:
    with closing(Store(folder.parent / "brain.db", read_only=True)) as store:
        return still_holds(store, run.made_of)


def write_run(folder: Path, run: Run) -> None:
    """Begin a run: from here on it can be resumed, and whoever forgets what it is made of deletes it.

    Raises:
        RunDropped: that was done before.
    """
    part = folder / f"{RUN}.part"
    part.write_bytes(msgspec.json.encode(run))
    part.replace(folder / RUN)
    if not _holds(folder, run):
        clear(folder)
        raise RunDropped
