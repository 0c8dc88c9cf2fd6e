"""Which rows of many are worth comparing with a vector: those of the cells whose centres are closest to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from ruvllm import kernels

__all__ = ["Cells"]

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]

SAMPLED_OF_A_CELL = 40  # rows a centre is fitted on
ITERATIONS = 4  # of k-means; more moves recall by less than a point
BLOCK = 4096  # rows widened to float32 at a time


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Rows grouped by the nearest of about sqrt(n) centres. Never changes: `extended` makes another one.

    Attributes:
        centres: (c, dim) float32, unit rows.
        rows: (n,) int64, the rows of one cell after those of another.
        indptr: (c + 1,) int64: the rows of cell i are rows[indptr[i] : indptr[i + 1]].
        cell_of: (n,) uint16, the cell of each row.

    Source: Sivic and Zisserman 2003, "Video Google" (inverted file over k-means cells).
    """

    centres: Floats
    rows: Rows
    indptr: Rows
    cell_of: npt.NDArray[np.uint16]

    @classmethod
    def fit(cls, vectors: Halves, rng: np.random.Generator) -> Self:
        """Return the cells of `vectors`, (n, dim) float16 unit rows, by spherical k-means over a sample of them."""
        num_cells = max(int(np.sqrt(len(vectors))), 1)
        chosen = np.sort(rng.permutation(len(vectors))[: SAMPLED_OF_A_CELL * num_cells]).astype(np.int64)
        sample = kernels.widen_rows(vectors, chosen)
        centres = sample[np.sort(rng.permutation(len(sample))[:num_cells])]
        for _ in range(ITERATIONS):
            sums = np.zeros_like(centres)
            np.add.at(sums, np.argmax(sample @ centres.T, axis=1), sample)
            norms = np.linalg.norm(sums, axis=1, keepdims=True)
            centres = np.where(norms > 0.0, sums / np.maximum(norms, 1e-12), centres)
        return cls._of(centres, _nearest(centres, vectors))

    @classmethod
    def _of(cls, centres: Floats, cell_of: npt.NDArray[np.uint16]) -> Self:
        sizes = np.bincount(cell_of, minlength=len(centres))
        indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return cls(centres, np.argsort(cell_of, kind="stable"), indptr, cell_of)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """How much memory it takes, in bytes."""
        return self.centres.nbytes + self.rows.nbytes + self.indptr.nbytes + self.cell_of.nbytes

    def extended(self, vectors: Halves) -> Cells:
        """Return these cells with all of `vectors`, (n, dim) float16, of which the first are the rows they hold."""
        new = _nearest(self.centres, vectors[len(self) :])
        return Cells._of(self.centres, np.concatenate([self.cell_of, new]))

    def without_first(self, count: int) -> Cells:
        """Return these cells when the first `count` rows are gone and the others have moved up."""
        return Cells._of(self.centres, self.cell_of[count:])

    def rows_near(self, vector: Floats, wanted: int) -> Rows:
        """Return at least `wanted` rows (all there are when fewer): those of the cells nearest to `vector`, (dim,)."""
        order = np.argsort(self.centres @ vector)[::-1]
        sizes = np.cumsum(np.diff(self.indptr)[order])
        chosen = order[: int(np.searchsorted(sizes, wanted)) + 1]
        return np.concatenate([self.rows[self.indptr[cell] : self.indptr[cell + 1]] for cell in chosen])


def _nearest(centres: Floats, vectors: Halves) -> npt.NDArray[np.uint16]:
    nearest = np.empty(len(vectors), np.uint16)
    for start in range(0, len(vectors), BLOCK):
        part = vectors[start : start + BLOCK].astype(np.float32)
        nearest[start : start + BLOCK] = np.argmax(part @ centres.T, axis=1)
    return nearest
