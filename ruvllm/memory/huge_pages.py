"""Pages of 2 MB under large blocks of memory: reads at random find their addresses, searches take a tenth less time.

hnswlib allocates its graph itself and tells nobody where, so that the block is looked up among the process's mappings.
To ask is a hint without other effects: Linux alone takes it, and where it does not, everything is as it was.
"""

from __future__ import annotations

import sys
import threading

__all__ = ["use_huge_pages"]

PAGE = 2 << 20
ASK_LATER, ASK_NOW = 14, 25  # MADV_HUGEPAGE: when memory is next touched or swept; MADV_COLLAPSE (Linux 6.1): at once
LEAST = 16 << 20  # smaller blocks gain little


def use_huge_pages(size: int) -> threading.Thread | None:
    """Ask for huge pages under every block of at least `size` bytes, in a thread: 0.3 s of it for 200 MB.

    Returns:
        The thread; None where there is nothing to ask for.
    """
    if sys.platform != "linux" or size < LEAST:
        return None
    thread = threading.Thread(target=_ask, args=(size,), name="ruvllm-pages", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no thread is to be had
        return None
    return thread


def _ask(size: int) -> None:
    try:
        import ctypes  # which some builds of Python lack

        madvise = ctypes.CDLL(None).madvise
    except (ImportError, OSError, AttributeError):
        return
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for start, stop in _blocks(size):
        madvise(start, stop - start, ASK_LATER)  # the whole of it: one in parts could not be grown in place
        first, last = -(-start // PAGE) * PAGE, stop // PAGE * PAGE
        madvise(first, last - first, ASK_NOW)


def _blocks(size: int) -> list[tuple[int, int]]:
    """Return where memory of the process's own, of no file, begins and ends, for mappings that are large enough."""
    found = []
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as lines:
            for addresses, rights, _, _, inode, *name in map(str.split, lines):
                start, stop = (int(address, 16) for address in addresses.split("-"))
                if stop - start >= size and rights == "rw-p" and inode == "0" and not name:
                    found.append((start, stop))
    except OSError:  # no /proc here
        return []
    return found
