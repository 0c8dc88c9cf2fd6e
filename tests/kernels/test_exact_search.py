"""Exact search against a float64 oracle, on every instruction set."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ruvllm import kernels

EPS = float(np.finfo(np.float32).eps)
UNROLLED = 64  # four of the widest vectors: every tail length and every block size lies below twice this


def unit_rows(n: int, dim: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)


def exact_scores(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    return queries.astype(np.float64) @ vectors.astype(np.float64).T


def tolerance(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The bound on a dot product's rounding: n * eps * sum(|a * b|), for every query and row."""
    return vectors.shape[1] * EPS * (np.abs(queries.astype(np.float64)) @ np.abs(vectors.astype(np.float64)).T)


def assert_found(vectors: np.ndarray, queries: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> None:
    """Scores are right, sorted, and no row left out is better than the worst one found, up to rounding."""
    truth, bound = exact_scores(vectors, queries), tolerance(vectors, queries)
    for q in range(len(queries)):
        assert len(set(labels[q].tolist())) == labels.shape[1]
        assert np.all(np.abs(scores[q] - truth[q, labels[q]]) <= bound[q, labels[q]])
        assert np.all(scores[q][:-1] >= scores[q][1:])
        others = np.setdiff1d(np.arange(len(vectors)), labels[q])
        assert np.all(truth[q, others] - bound[q, others] <= scores[q][-1])


def check(n: int, num_queries: int, dim: int, k: int) -> None:
    vectors, queries = unit_rows(n, dim), unit_rows(num_queries, dim, seed=1)
    assert_found(vectors, queries, *kernels.exact_search(vectors, queries, k))


def test_every_length_matches_the_oracle(isa: str) -> None:
    for dim in range(2 * UNROLLED + 1):
        check(n=11, num_queries=5, dim=dim, k=11)


def test_every_block_size_matches_the_oracle(isa: str) -> None:
    for n, num_queries in itertools.product(range(1, 10), range(1, 10)):
        check(n, num_queries, dim=37, k=3)


@pytest.mark.parametrize("n", [125, 126, 127, 257, 1000])
def test_real_sizes_match_the_oracle(isa: str, n: int) -> None:
    check(n, num_queries=67, dim=384, k=10)


def test_long_rows_are_searched_in_small_blocks(isa: str) -> None:
    check(n=20, num_queries=9, dim=9001, k=7)


def test_unaligned_starts_give_the_same_bits(isa: str) -> None:
    vectors, query = unit_rows(20, 50), unit_rows(1, 50, seed=1)
    labels, scores = kernels.exact_search(vectors, query, 5)
    for offset in range(1, 16):
        shifted = np.empty(vectors.size + offset, dtype=np.float32)[offset:].reshape(vectors.shape)
        shifted[:] = vectors
        shifted_labels, shifted_scores = kernels.exact_search(shifted, query, 5)
        np.testing.assert_array_equal(shifted_labels, labels)
        np.testing.assert_array_equal(shifted_scores, scores)


def test_zero_dimensions_score_zero(isa: str) -> None:
    labels, scores = kernels.exact_search(np.empty((3, 0), np.float32), np.empty((1, 0), np.float32), 2)
    assert labels.tolist() == [[0, 1]]
    assert scores.tolist() == [[0.0, 0.0]]


def test_instruction_sets_agree_up_to_rounding(isa: str) -> None:
    vectors, queries = unit_rows(300, 384), unit_rows(4, 384, seed=1)
    _, scores = kernels.exact_search(vectors, queries, 300)
    kernels._use_isa("scalar")
    _, reference = kernels.exact_search(vectors, queries, 300)
    assert np.all(np.abs(scores - reference) <= 2 * tolerance(vectors, queries).max())


def test_ties_are_broken_by_the_lower_row(isa: str) -> None:
    vectors = np.repeat(unit_rows(2, 24), 400, axis=0)  # rows 0..399 are equal, and so are 400..799
    labels, _ = kernels.exact_search(vectors, vectors[500], 402)
    assert labels.tolist() == [*range(400, 800), 0, 1]


@pytest.mark.parametrize("num_threads", [2, 3, 1000])
def test_threads_change_nothing(isa: str, num_threads: int) -> None:
    vectors = unit_rows(1100, 33).round(1)  # rounded: many ties
    for k in (1, 10, 2000):
        labels, scores = kernels.exact_search(vectors, vectors[:7], k)
        many_labels, many_scores = kernels.exact_search(vectors, vectors[:7], k, num_threads=num_threads)
        np.testing.assert_array_equal(many_labels, labels)
        np.testing.assert_array_equal(many_scores, scores)


def test_more_threads_than_a_system_has_are_no_error() -> None:
    column = np.arange(1_000_000, dtype=F)[:, np.newaxis]
    labels, _ = kernels.exact_search(column, np.ones(1, F), 2, num_threads=2**62)
    assert labels.tolist() == [999_999, 999_998]


def test_rows_without_columns_are_finite_however_many() -> None:
    kernels.require_finite_rows(np.empty((2**40, 0), F))


def test_a_batch_equals_its_queries_one_by_one(isa: str) -> None:
    vectors, queries = unit_rows(701, 100), unit_rows(70, 100, seed=1)
    labels, scores = kernels.exact_search(vectors, queries, 7)
    for q, query in enumerate(queries):
        alone_labels, alone_scores = kernels.exact_search(vectors, query, 7)
        assert alone_labels.shape == (7,)
        np.testing.assert_array_equal(labels[q], alone_labels)
        np.testing.assert_array_equal(scores[q], alone_scores)


@pytest.mark.parametrize("m", [1, 4, 255, 600])
def test_a_subset_is_searched_alone_and_keeps_its_labels(isa: str, m: int) -> None:
    vectors, queries = unit_rows(900, 384), unit_rows(3, 384, seed=1)
    rows = np.random.default_rng(2).permutation(900)[:m].astype(np.int64)
    labels, scores = kernels.exact_search(vectors, queries, 9, rows=rows, num_threads=2)
    places, expected = kernels.exact_search(vectors[np.sort(rows)], queries, 9)
    np.testing.assert_array_equal(labels, np.sort(rows)[places])
    np.testing.assert_array_equal(scores, expected)


def test_a_row_named_twice_is_found_twice(isa: str) -> None:
    vectors = np.eye(4, dtype=np.float32)
    labels, _ = kernels.exact_search(vectors, vectors[2], 2, rows=np.array([2, 1, 2]))
    assert labels.tolist() == [2, 2]


def test_k_is_clamped_to_what_is_searched(isa: str) -> None:
    vectors = unit_rows(5, 8)
    assert kernels.exact_search(vectors, vectors[0], 10**12)[0].shape == (5,)
    assert kernels.exact_search(vectors, vectors[:2], 9, rows=np.array([3]))[0].tolist() == [[3], [3]]


@pytest.mark.parametrize("num_queries", [0, 2])
def test_nothing_to_search_finds_nothing(isa: str, num_queries: int) -> None:
    queries = unit_rows(num_queries, 8)
    for labels, scores in (
        kernels.exact_search(np.empty((0, 8), np.float32), queries, 3),
        kernels.exact_search(unit_rows(4, 8), queries, 3, rows=np.empty(0, np.int64)),
    ):
        assert labels.shape == scores.shape == (num_queries, 0)


def test_a_row_with_nan_never_beats_a_finite_one(isa: str) -> None:
    vectors = unit_rows(9, 16)
    vectors[4, 3] = np.nan
    labels, scores = kernels.exact_search(vectors, vectors[0], 9)
    assert labels[-1] == 4
    assert scores[-1] == -np.inf


def test_read_only_arrays_are_searched() -> None:
    vectors = unit_rows(5, 8)
    vectors.setflags(write=False)
    assert kernels.exact_search(vectors, vectors[3], 1)[0].tolist() == [3]


F, I = np.float32, np.int64  # noqa: E741
GOOD = np.zeros((4, 8), F)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"vectors": [[1.0]]}, TypeError, r"vectors must be a numpy array \(list\)"),
        ({"vectors": GOOD.astype(np.float64)}, ValueError, r"vectors must have dtype float32 \(float64\)"),
        ({"vectors": GOOD.astype(">f4")}, ValueError, "vectors must have dtype float32"),
        ({"vectors": GOOD[0]}, ValueError, r"vectors must have 2 dimensions \(1\)"),
        ({"vectors": np.asfortranarray(GOOD)}, ValueError, "vectors must be C-contiguous"),
        ({"vectors": GOOD[:, ::2]}, ValueError, "vectors must be C-contiguous"),
        ({"vectors": np.zeros(129, np.uint8)[1:].view(F).reshape(4, 8)}, ValueError, "vectors must be .*aligned"),
        ({"queries": np.zeros((1, 7), F)}, ValueError, r"queries must have 8 columns.*\(7\)"),
        ({"queries": np.zeros((1, 1, 8), F)}, ValueError, r"queries must have 2 dimensions \(3\)"),
        ({"queries": np.zeros(8)}, ValueError, r"queries must have dtype float32 \(float64\)"),
        ({"queries": None}, TypeError, "queries must be a numpy array"),
        ({"queries": np.full((2, 8), [[0.0], [np.nan]], F)}, ValueError, r"queries\[1\] must be finite"),
        ({"queries": np.full(8, np.inf, F)}, ValueError, r"queries\[0\] must be finite"),
        ({"vectors": np.empty((2**40, 0), F), "queries": np.empty(0, F)}, ValueError, "vectors must have at most"),
        ({"k": 0}, ValueError, r"k must be >= 1 \(0\)"),
        ({"k": -5}, ValueError, r"k must be >= 1 \(-5\)"),
        ({"k": 1.5}, TypeError, "incompatible function arguments"),
        ({"num_threads": 0}, ValueError, r"num_threads must be >= 1 \(0\)"),
        ({"rows": np.array([0, 4], I)}, ValueError, r"rows\[1\] must be in \[0, 4\) \(4\)"),
        ({"rows": np.array([-1], I)}, ValueError, r"rows\[0\] must be in \[0, 4\) \(-1\)"),
        ({"rows": np.array([0], np.int32)}, ValueError, r"rows must have dtype int64 \(int32\)"),
        ({"rows": [0]}, TypeError, r"rows must be a numpy array \(list\)"),
    ],
)
def test_bad_input_is_refused_by_name(change: dict[str, object], error: type[Exception], says: str) -> None:
    arguments = {"vectors": GOOD, "queries": GOOD[:1], "k": 1} | change
    with pytest.raises(error, match=says):
        kernels.exact_search(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_bad_row_is_named_wherever_the_value_stands(isa: str, value: float) -> None:
    for dim in range(1, 2 * UNROLLED + 1):
        vectors = np.full((3, dim), np.finfo(F).max, F)
        kernels.require_finite_rows(vectors)
        vectors[2, 0] = value
        vectors[1, dim * 7 // 11] = value
        with pytest.raises(ValueError, match=r"vectors\[1\] must be finite"):
            kernels.require_finite_rows(vectors)


def test_every_place_of_a_row_is_looked_at(isa: str) -> None:
    for place in range(UNROLLED + 5):
        vectors = np.zeros((1, UNROLLED + 5), F)
        vectors[0, place] = np.nan
        with pytest.raises(ValueError, match=r"vectors\[0\] must be finite"):
            kernels.require_finite_rows(vectors)


def test_a_signalling_nan_is_found(isa: str) -> None:
    vectors = np.zeros((2, 20), F)
    vectors.view(np.uint32)[1, 19] = 0x7F800001
    with pytest.raises(ValueError, match=r"vectors\[1\] must be finite"):
        kernels.require_finite_rows(vectors)


# -- float16 ---------------------------------------------------------------------------------------------------------


def test_every_half_widens_exactly(isa: str) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(-1, 1)
    wide = kernels.widen_rows(halves, np.arange(1 << 16))
    np.testing.assert_array_equal(wide, halves.astype(np.float32))  # NaNs in the same places


def test_halves_widen_by_row_at_every_length(isa: str) -> None:
    for dim in range(UNROLLED):
        halves = unit_rows(5, dim).astype(np.float16)
        np.testing.assert_array_equal(kernels.widen_rows(halves, np.array([4, 0, 4])), halves[[4, 0, 4]])


@pytest.mark.parametrize("rows", [None, np.arange(0, 1000, 3)])
def test_halves_are_searched_as_the_floats_they_are(isa: str, rows: np.ndarray | None) -> None:
    halves, queries = unit_rows(1000, 384).astype(np.float16), unit_rows(5, 384, seed=1)
    found = kernels.exact_search(halves, queries, 10, rows=rows, num_threads=2)
    expected = kernels.exact_search(halves.astype(np.float32), queries, 10, rows=rows)
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_one_query_over_halves_stands_alone() -> None:
    labels, scores = kernels.exact_search(np.eye(3, dtype=np.float16), np.eye(3, dtype=np.float32)[1], 1)
    assert labels.tolist() == [1] and scores.tolist() == [1.0]


@pytest.mark.parametrize("rows", [[-1], [3]])
def test_widening_refuses_rows_out_of_range(rows: list[int]) -> None:
    with pytest.raises(ValueError, match=r"rows\[0\] must be in \[0, 3\)"):
        kernels.widen_rows(np.eye(3, dtype=np.float16), np.array(rows))


def test_widening_refuses_what_is_not_float16() -> None:
    with pytest.raises(ValueError, match="halves must have dtype float16"):
        kernels.widen_rows(np.eye(3, dtype=np.float32), np.arange(3))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="halves must be a numpy array"):
        kernels.widen_rows([[1.0]], np.arange(1))  # type: ignore[arg-type]
