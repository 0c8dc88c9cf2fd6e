"""A disk without room, for tests of what is written then; see the fixture `small_disk`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Take all room on a disk while the body runs."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            pass
    try:
        yield
    finally:
        filler.unlink()
