"""ruvllm/memory/huge_pages.py: large blocks are found, asked for, and stay what they were."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from ruvllm.memory.huge_pages import LEAST, _blocks, use_huge_pages

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has them")


def test_a_large_block_is_found_and_stays_what_it_was() -> None:
    numbers = np.arange(2 * LEAST // 8)
    start = numbers.ctypes.data
    assert any(first <= start and start + numbers.nbytes <= last for first, last in _blocks(numbers.nbytes))
    thread = use_huge_pages(numbers.nbytes)
    assert thread is not None
    thread.join()
    np.testing.assert_array_equal(numbers, np.arange(len(numbers)))


def test_small_blocks_are_left_alone() -> None:
    assert use_huge_pages(LEAST - 1) is None


def test_no_block_is_smaller_than_asked_for() -> None:
    numbers = np.ones(2 * LEAST, np.uint8)
    assert all(last - first >= numbers.nbytes for first, last in _blocks(numbers.nbytes))
