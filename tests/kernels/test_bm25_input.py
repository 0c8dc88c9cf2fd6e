"""BM25 refuses bad input by name, and damaged snapshots; sound ones bring everything back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.bm25_twin import QUERIES, add, as_terms, assert_equal, grown_index, remove
from kernels.xxh64 import forged
from ruvllm.kernels import Bm25

GOOD = {"ids": np.array([7]), "terms": as_terms([1, 2]), "indptr": np.array([0, 2])}


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"ids": [7]}, TypeError, r"ids must be a numpy array \(list\)"),
        ({"ids": np.array([7], np.int32)}, ValueError, r"ids must have dtype int64 \(int32\)"),
        ({"ids": np.array([7, 8])}, ValueError, r"ids must have 1 entries \(2\)"),
        ({"ids": np.array([5])}, ValueError, r"ids must be new and differ \(ids\[0\] = 5\)"),
        ({"ids": np.array([7, 7]), "indptr": np.array([0, 1, 2])}, ValueError, r"ids must be .*ids\[1\] = 7"),
        ({"terms": np.array([1, 2])}, ValueError, r"terms must have dtype uint64 \(int64\)"),
        ({"terms": as_terms([1, 2, 3, 4])[::2]}, ValueError, "terms must be C-contiguous"),
        ({"terms": as_terms([1])}, ValueError, r"indptr must end with 1, the number of terms \(2\)"),
        ({"indptr": np.array([], np.int64)}, ValueError, "indptr must start with 0"),
        ({"indptr": np.array([1, 2])}, ValueError, "indptr must start with 0"),
        ({"ids": np.array([7, 8]), "indptr": np.array([0, 3, 2])}, ValueError, r"indptr must ascend.*entry 2"),
        ({"indptr": np.array([0, 2.0])}, ValueError, "indptr must have dtype int64"),
        ({"indptr": np.array([0, 2**63 - 1])}, ValueError, "indptr must ascend, by less than"),
    ],
)
def test_bad_documents_are_refused_by_name_and_change_nothing(
    change: dict[str, object], error: type[Exception], says: str
) -> None:
    index = Bm25()
    add(index, {5: [1, 1]})
    before = index.snapshot()
    with pytest.raises(error, match=says):
        index.add(**(GOOD | change))  # type: ignore[arg-type]
    assert index.snapshot() == before


@pytest.mark.parametrize("ids", [[6], [5, 6], [5, 5], [-1]])
def test_removing_what_is_not_there_is_refused_and_changes_nothing(ids: list[int]) -> None:
    index = Bm25()
    add(index, {5: [1, 1]})
    with pytest.raises(ValueError, match="ids must be in the index and differ"):
        remove(index, ids)
    assert index.ids().tolist() == [5]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"query": [1]}, TypeError, "query must be a numpy array"),
        ({"query": np.array([1])}, ValueError, r"query must have dtype uint64 \(int64\)"),
        ({"query": as_terms([1]).reshape(1, 1)}, ValueError, r"query must have 1 dimensions \(2\)"),
        ({"k": 0}, ValueError, r"k must be >= 1 \(0\)"),
        ({"k": -3}, ValueError, r"k must be >= 1 \(-3\)"),
        ({"k": 1.5}, TypeError, "incompatible function arguments"),
        ({"among": [1]}, TypeError, "among must be a numpy array"),
        ({"among": np.array([1], np.int32)}, ValueError, "among must have dtype int64"),
    ],
)
def test_bad_searches_are_refused_by_name(change: dict[str, object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Bm25().search(**({"query": as_terms([1]), "k": 1} | change))  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [{"k1": math.nan}, {"k1": -0.1}, {"k1": math.inf}, {"b": math.nan}, {"b": 1.1}])
def test_bad_parameters_are_refused_by_name(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(bad))} must be in \[0, "):
        Bm25(**bad)


def test_every_changed_byte_of_a_snapshot_is_noticed() -> None:
    index = Bm25()
    add(index, {5: [1, 1, 2], -9: [3], 8: []})
    good = index.snapshot()
    for i in range(len(good)):
        for mask in (0x01, 0x80, 0xFF):
            with pytest.raises(ValueError, match="snapshot must"):
                Bm25.restore(good[:i] + bytes([good[i] ^ mask]) + good[i + 1 :])
        with pytest.raises(ValueError, match="snapshot must"):
            Bm25.restore(good[:i])
    with pytest.raises(ValueError, match="snapshot must"):
        Bm25.restore(good + b"\0")
    with pytest.raises(TypeError):
        Bm25.restore("text")  # type: ignore[arg-type]


@pytest.mark.parametrize("i", [1, 2])
def test_a_snapshot_with_a_term_twice_is_refused(i: int) -> None:
    index = Bm25()
    add(index, {5: [1, 2, 900]})
    snapshot = index.snapshot()
    before = snapshot[32 + 8 * i : 40 + 8 * i]  # the term before; terms stand behind five words
    with pytest.raises(ValueError, match="snapshot must name each term once"):
        Bm25.restore(forged(snapshot, (40 + 8 * i, before)))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=1)), min_size=1, max_size=3))
def test_even_a_forged_snapshot_is_refused_or_sound(changes: list[tuple[int, bytes]]) -> None:
    index = Bm25()
    add(index, {5: [1, 1, 2, 900], -9: [3] * 300, 8: []})
    snapshot = index.snapshot()
    assert forged(snapshot) == snapshot
    try:
        restored = Bm25.restore(forged(snapshot, *((at % (len(snapshot) - 8), byte) for at, byte in changes)))
    except ValueError as error:
        assert str(error).startswith("snapshot must ")
    else:
        restored.search(as_terms([1, 2, 3]), 5)
        assert Bm25.restore(restored.snapshot()).ids().tolist() == restored.ids().tolist()


def test_a_failed_restore_leaves_no_index_behind_and_a_good_one_all() -> None:
    index, twin = grown_index()
    again = Bm25.restore(index.snapshot())
    assert again.snapshot() == Bm25.restore(again.snapshot()).snapshot()
    assert again.ids().tolist() == index.ids().tolist()
    for query in QUERIES:
        assert_equal(again, twin, query)
