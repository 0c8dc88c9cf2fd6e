"""What this process holds: memory, files and threads, as Linux tells it."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["open_files", "peak_bytes", "resident_bytes", "threads"]

PROC = Path("/proc/self")


def resident_bytes() -> int:
    """Return the bytes of memory that are in use now."""
    return int(_told("statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_bytes() -> int:
    """Return the most that was in use since this program began; `getrusage` also counts the process it came from."""
    (line,) = [line for line in _told("status").splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def open_files() -> int:
    """Return how many file descriptors are open."""
    return len(os.listdir(PROC / "fd")) - 1  # without the one that lists them


def threads() -> int:
    """Return how many threads there are, those that Python does not know of included."""
    return len(os.listdir(PROC / "task"))


def _told(name: str) -> str:
    return (PROC / name).read_text(encoding="utf-8")
