"""Files that are replaced as a whole: the old one is in force until the new one is on disk, and no other is left."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ruvllm.errors import BrainError

__all__ = ["fsync_folder", "is_full", "replacing"]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(file: Path) -> Iterator[BinaryIO]:
    """Give a stream to write; what it got is in `file`, durably, when the body ends, and nowhere where that fails.

    Where `file` is a link, what it points to is replaced.

    Raises:
        ValueError: `file` is a directory, a pipe, a device.
        BrainError: the disk is full.
    """
    target = file.resolve()
    if target.exists() and not target.is_file():
        raise ValueError(f"file: {file} is {'a directory' if target.is_dir() else 'not a regular file'}")
    part = target.with_name(target.name + ".tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
        fsync_folder(target.parent)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if is_full(error):
            raise BrainError(f"{file}: the disk is full; it is as it was", path=file) from error
        raise


def is_full(error: BaseException) -> bool:
    """Return whether an error says that there is no room for a file."""
    return isinstance(error, OSError) and error.errno in FULL


def fsync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
