from __future__ import annotations

import numpy as np

from ruvllm.router.cells import Cells


def some_vectors(n: int) -> np.ndarray:
    vectors = np.random.default_rng(0).standard_normal((n, 12), dtype=np.float32)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def test_every_row_is_in_one_cell_that_of_the_nearest_centre() -> None:
    vectors = some_vectors(500)

    cells = Cells.fit(vectors, np.random.default_rng(1))

    np.testing.assert_array_equal(np.sort(cells.rows), np.arange(500))
    nearest = (vectors.astype(np.float32) @ cells.centres.T).argmax(axis=1)
    np.testing.assert_array_equal(cells.cell_of, nearest)


def test_rows_of_the_nearest_cells_come_until_there_are_enough() -> None:
    vectors = some_vectors(500)
    cells = Cells.fit(vectors, np.random.default_rng(1))

    found = cells.rows_near(vectors[7].astype(np.float32), 60)

    assert 60 <= len(found) < 500
    assert 7 in found
    assert len(cells.rows_near(vectors[7].astype(np.float32), 9999)) == 500


def test_new_rows_join_and_old_ones_leave() -> None:
    vectors = some_vectors(500)
    cells = Cells.fit(vectors[:300], np.random.default_rng(1))

    changed = cells.extended(vectors).without_first(100)

    assert len(changed) == 400
    np.testing.assert_array_equal(changed.cell_of, cells.extended(vectors).cell_of[100:])


def test_one_row_is_a_cell() -> None:
    cells = Cells.fit(some_vectors(1), np.random.default_rng(1))

    np.testing.assert_array_equal(cells.rows_near(some_vectors(1)[0].astype(np.float32), 5), [0])
