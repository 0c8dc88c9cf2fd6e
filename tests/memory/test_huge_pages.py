"""ruvllm/memory/huge_pages.py: large blocks are found, asked for, and stay what they were."""

from __future__ import annotations

import mmap
import sys

import numpy as np
import pytest

from ruvllm.memory.huge_pages import LEAST, _blocks, use_huge_pages

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has them")


def test_a_large_block_is_found_and_stays_what_it_was() -> None:
    size = 2 * LEAST
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        numbers = np.frombuffer(block, np.int64)
        start = numbers.ctypes.data
        block.write(np.arange(size // 8).tobytes())
        assert any(first <= start and start + size <= last for first, last in _blocks(size))
        thread = use_huge_pages(size)
        assert thread is not None
        thread.join()
        np.testing.assert_array_equal(numbers, np.arange(size // 8))
        del numbers


def test_small_blocks_are_left_alone() -> None:
    assert use_huge_pages(LEAST - 1) is None


def test_no_block_is_smaller_than_asked_for() -> None:
    numbers = np.ones(2 * LEAST, np.uint8)
    assert all(last - first >= numbers.nbytes for first, last in _blocks(numbers.nbytes))
