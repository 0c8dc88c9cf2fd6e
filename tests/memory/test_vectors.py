"""ruvllm/memory/vectors.py and rows.py: the exact matrix, and what may enter it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruvllm.memory.rows import as_unit_rows, checked_text
from ruvllm.memory.vectors import VectorMatrix

from .fakes import PATIENT, unit_vectors

POOL = unit_vectors(40, 16)
HALF = POOL.astype(np.float16).astype(np.float32)  # as they are kept


@settings(PATIENT, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 39)), max_size=80))
def test_matrix_finds_what_a_plain_dict_would(steps: list[tuple[bool, int]]) -> None:
    matrix, plain = VectorMatrix(16, capacity=1), dict[int, np.ndarray]()
    for is_add, i in steps:
        if is_add:
            matrix.add(np.array([i]), POOL[i : i + 1])
            plain[i] = HALF[i]
        else:
            matrix.remove(np.array([i]))
            plain.pop(i, None)

    ids, cosines = matrix.search(POOL[0], 5)

    expected = sorted((-float(vector @ POOL[0]), i) for i, vector in plain.items())[:5]
    assert matrix.ids().tolist() == sorted(plain)
    assert ids.tolist() == [i for _, i in expected]
    np.testing.assert_allclose(cosines, [-score for score, _ in expected], atol=1e-5)


@pytest.mark.parametrize("gone", [[39], [1, 2, 3], [0, 38, 39, 5, 5], [99, 10**12, 7], list(range(40)), []])
def test_many_are_taken_out_at_once(gone: list[int]) -> None:
    matrix = VectorMatrix(16)
    matrix.add(np.arange(40), POOL)
    matrix.remove(np.array(gone, np.int64))
    left = [i for i in range(40) if i not in gone]
    places, vectors = matrix.find(np.arange(45))
    assert places.tolist() == matrix.ids().tolist() == left
    np.testing.assert_array_equal(vectors, HALF[left])


def test_cosines_are_off_by_less_than_five_in_ten_thousand() -> None:
    matrix = VectorMatrix(16)
    matrix.add(np.arange(40), POOL)
    ids, cosines = matrix.search(POOL[3], 40)
    np.testing.assert_allclose(cosines, POOL[ids] @ POOL[3], atol=5e-4)


def test_search_among_ids_passes_over_unknown_ones() -> None:
    matrix = VectorMatrix(16)
    matrix.add(np.arange(40), POOL)
    ids, _ = matrix.search(POOL[3], 10, among=np.array([3, 5, 999]))
    assert sorted(ids.tolist()) == [3, 5]


def test_unit_rows_come_back_uncopied_and_others_normalised() -> None:
    assert as_unit_rows(POOL, 16, "x") is POOL
    np.testing.assert_allclose(as_unit_rows(POOL * 3, 16, "x"), POOL, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "error"), [("", ValueError), (" \n", ValueError), (3, TypeError), ("\ud800", ValueError)]
)
def test_text_that_cannot_be_stored_is_named(text: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^query "):
        checked_text(text, "query")
