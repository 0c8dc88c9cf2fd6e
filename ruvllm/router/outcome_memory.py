"""What tiers did on the logged questions most like a new one."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self, TypeVar

import numpy as np
import numpy.typing as npt

from ruvllm import kernels
from ruvllm.router.cells import Cells
from ruvllm.router.outcomes import Outcomes, TierInfo
from ruvllm.router.word_index import WordIndex

__all__ = ["Evidence", "OutcomeMemory"]

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
_Number = TypeVar("_Number", bound=np.generic)

# Chosen on mmlu_2models and looked at on llmrouter_9models; APGR is flat around them.
K: Final = 100  # neighbours by meaning
K_NEAR: Final = 20
K_LEXICAL: Final = 50  # neighbours by words
TEMPERATURE: Final = 0.2  # a neighbour by meaning weighs exp((cosine - 1) / TEMPERATURE)
POWER: Final = 2.0  # one by words weighs similarity^POWER
SHRINK: Final = np.array([[0.3], [1.0], [0.01]], np.float32)  # weight of the tier's mean beside near, broad, lexical
SUCCESS: Final = 0.5  # quality from which on an answer counts as good
TINY: Final = np.float32(1e-20)

CELLS_FROM: Final = 4096  # so many rows are all compared; of more, those in the nearest cells
COMPARED: Final = 768
MAX_TAIL: Final = 256  # newest rows that are in no cell yet and always compared
DROPPED: Final = 0.1  # share of the rows that go, the oldest, when the memory is full
BLOCK: Final = 256  # questions at a time: (BLOCK, K, T) floats


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the neighbours of a question say about each of T tiers; of n questions, with a first axis of n.

    What no neighbour tells is the tier's mean over all rows, and NaN where a tier has no outcome at all. Means are
    shrunk: the less alike the neighbours are, the nearer to the tier's mean.

    Attributes:
        near_quality: (T,) float32, mean quality over the K_NEAR nearest by meaning.
        broad_quality: (T,) over the K nearest by meaning.
        lexical_quality: (T,) over the K_LEXICAL that share most rare words and pairs of words.
        success: (T,) share of the K nearest by meaning whose quality is at least SUCCESS.
        latency_ms: (T,) geometric mean over the K nearest by meaning.
        count: (T,) how many outcomes, equally weighted, broad_quality is worth; 0 without any.
        spread: (T,) standard deviation of quality among the K nearest by meaning.
        nearest_similarity: cosine of the nearest row; 0 when there is none.
        nearest_lexical: share of the question's own BM25 score that the nearest row reaches; 0 when none shares a word.
    """

    near_quality: Floats
    broad_quality: Floats
    lexical_quality: Floats
    success: Floats
    latency_ms: Floats
    count: Floats
    spread: Floats
    nearest_similarity: Floats
    nearest_lexical: Floats

    @classmethod
    def nothing(cls, num_tiers: int) -> Self:
        """Return the evidence for one question where nothing is known."""
        unknown, nothing = np.full(num_tiers, np.nan, np.float32), np.zeros(num_tiers, np.float32)
        nowhere = np.zeros((), np.float32)
        return cls(unknown, unknown, unknown, unknown, unknown, nothing, unknown, nowhere, nowhere)

    def rows(self) -> Evidence:
        """Return the evidence of one question as that of n = 1."""
        return Evidence(*(np.asarray(getattr(self, name))[np.newaxis] for name in Evidence.__slots__))

    def row(self, i: int) -> Evidence:
        """Return the evidence of question `i` of n."""
        return Evidence(*(getattr(self, name)[i] for name in Evidence.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """The rows as one lookup sees them. Later rows are written behind `count`, into the same arrays or larger ones."""

    vectors: npt.NDArray[np.float16]
    values: Floats  # (rows, 3T): quality, success and log latency of each tier, NaN where not known
    count: int
    first: int  # id of row 0: rows keep their ids when older ones are dropped
    totals: npt.NDArray[np.float64]  # (2, 3T): sum and number of what is known of each column
    cells: Cells | None


class OutcomeMemory:
    """Questions with what tiers did on them, found by meaning and by words.

    Lookups run beside each other and beside one thread that adds; each sees all rows of some moment. Vectors are kept
    as float16. When it is full, the oldest tenth goes.

    Args:
        tiers: the T tiers, the cheapest first.
        native_dim: of the vectors.
        capacity: rows kept at most, >= 10.
    """

    def __init__(self, tiers: Sequence[TierInfo], native_dim: int, *, capacity: int = 100_000) -> None:
        if native_dim < 1:
            raise ValueError(f"native_dim must be >= 1 ({native_dim})")
        if capacity < 10:
            raise ValueError(f"capacity must be >= 10 ({capacity})")
        self.tiers = tuple(tiers)
        self.native_dim = native_dim
        self.capacity = capacity
        self._column = {tier.name: column for column, tier in enumerate(self.tiers)}
        self._changing = threading.Lock()
        self._ids: dict[str | int, int] = {}
        self._words = WordIndex()
        self._view = _View(
            np.empty((0, native_dim), np.float16),
            np.empty((0, 3 * len(self.tiers)), np.float32),
            count=0,
            first=0,
            totals=np.zeros((2, 3 * len(self.tiers))),
            cells=None,
        )

    @classmethod
    def from_outcomes(cls, outcomes: Outcomes, *, capacity: int | None = None) -> Self:
        """Return a memory of these outcomes; row i of them is its row i, under the key i."""
        memory = cls(outcomes.tiers, outcomes.vectors.shape[1], capacity=capacity or max(100_000, len(outcomes)))
        keys = list(range(len(outcomes)))
        memory.extend(keys, outcomes.texts, outcomes.vectors, outcomes.quality, outcomes.latency_ms)
        return memory

    def __len__(self) -> int:
        return self._view.count

    def counts(self) -> list[int]:
        """Return how many known qualities each tier has."""
        return list(map(int, self._view.totals[1, : len(self.tiers)].tolist()))

    def totals(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return how many known qualities each tier has, and their sum, (T,) each."""
        sums, numbers = self._view.totals[:, : len(self.tiers)]
        return numbers, sums

    @property
    def nbytes(self) -> int:
        """How much memory it takes, in bytes, but for the keys' own text."""
        view = self._view
        arrays = view.vectors.nbytes + view.values.nbytes
        return arrays + (view.cells.nbytes if view.cells else 0) + self._words.nbytes + 120 * len(self._ids)

    # -- changes -----------------------------------------------------------------------------------------------------

    def add(
        self,
        key: str | int,
        text: str,
        vector: Floats,
        quality: Floats | Mapping[str, float],
        latency_ms: Floats | Mapping[str, float] | None = None,
    ) -> None:
        """Remember what tiers did on a question. For a key that is known, what is not NaN replaces what was there.

        Args:
            key: names the request; feedback that comes later joins by it.
            vector: (native_dim,), finite and not zero.
            quality: (T,) in [0, 1], NaN where not known; or by name of the tier.
            latency_ms: (T,) > 0, NaN where not known; or by name.

        Raises:
            ValueError: a wrong shape, a value out of range, a tier that is not one of these.
        """
        outcomes = [self._by_tier(quality, "quality"), self._by_tier(latency_ms, "latency_ms")]
        self.extend([key], [text], np.asarray(vector)[np.newaxis], outcomes[0][np.newaxis], outcomes[1][np.newaxis])

    def _by_tier(self, value: Floats | Mapping[str, float] | None, name: str) -> Floats:
        if not isinstance(value, Mapping):
            return np.full(len(self.tiers), np.nan, np.float32) if value is None else np.asarray(value, np.float32)
        row = np.full(len(self.tiers), np.nan, np.float32)
        for tier, known in value.items():
            if tier not in self._column:
                raise ValueError(f"{name} names a tier that is not one of {', '.join(self._column)} ({tier!r})")
            row[self._column[tier]] = known
        return row

    def extend(
        self,
        keys: Sequence[str | int],
        texts: Sequence[str],
        vectors: Floats,
        quality: Floats,
        latency_ms: Floats,
    ) -> None:
        """Do what `add` does for many questions: (n, native_dim) vectors, (n, T) outcomes. All are added, or none."""
        vectors = _unit(vectors, self.native_dim)
        quality, latency_ms = np.asarray(quality, np.float32), np.asarray(latency_ms, np.float32)
        shape = (len(texts), len(self.tiers))
        if not (len(keys) == len(vectors) == len(texts)):
            raise ValueError(f"keys, texts and vectors must be as many ({len(keys)}, {len(texts)}, {len(vectors)})")
        for name, value in (("quality", quality), ("latency_ms", latency_ms)):
            if value.shape != shape:
                raise ValueError(f"{name} must have one entry a tier, {shape} ({value.shape})")
        if ((quality < 0.0) | (quality > 1.0)).any():
            raise ValueError("quality must be in [0, 1], or NaN where it is not known")
        if ((latency_ms <= 0.0) | np.isinf(latency_ms)).any():
            raise ValueError("latency_ms must be finite and > 0, or NaN where it is not known")
        values = _values(quality, latency_ms)
        with self._changing:
            is_new = np.zeros(len(keys), np.bool_)
            seen: set[str | int] = set()
            for i, key in enumerate(keys):
                is_new[i] = key not in self._ids and key not in seen
                seen.add(key)
            new = np.flatnonzero(is_new)
            for start in range(0, len(new), self.capacity):
                part = new[start : start + self.capacity]
                self._append([keys[i] for i in part], [texts[i] for i in part], vectors[part])
            for i, key in enumerate(keys):
                if key in self._ids:  # else dropped again, being older than `capacity` others
                    self._set(self._ids[key] - self._view.first, values[i])
            self._group()

    def correct(self, key: str | int, quality: Floats, latency_ms: Floats) -> None:
        """Let what is known of a request be this and nothing else, (T,) each; of an unknown key nothing is."""
        values = _values(np.asarray(quality, np.float32)[np.newaxis], np.asarray(latency_ms, np.float32)[np.newaxis])
        with self._changing:
            if key in self._ids:
                self._put(self._ids[key] - self._view.first, values[0])

    def _append(self, keys: Sequence[str | int], texts: Sequence[str], vectors: Floats) -> None:
        """Add rows without outcomes."""
        if not keys:
            return
        if self._view.count + len(keys) > self.capacity:
            excess = self._view.count + len(keys) - self.capacity
            self._drop(min(max(excess, int(DROPPED * self.capacity)), self._view.count))
        view = self._view
        end = view.count + len(keys)
        if end > len(view.vectors):
            size = min(max(end, len(view.vectors) * 5 // 4, 64), self.capacity)
            view = replace(
                view,
                vectors=_grown(view.vectors, view.count, size),
                values=_grown(view.values, view.count, size),
            )
        view.vectors[view.count : end] = vectors
        view.values[view.count : end] = np.nan
        self._words.add(view.first + view.count, texts)
        self._ids.update(zip(keys, range(view.first + view.count, view.first + end), strict=True))
        self._view = replace(view, count=end)

    def _set(self, row: int, values: Floats) -> None:
        """Let what is not NaN replace what was there."""
        self._put(row, np.where(np.isnan(values), self._view.values[row], values))

    def _put(self, row: int, new: Floats) -> None:
        view = self._view
        old = view.values[row].copy()
        view.values[row] = new
        self._view = replace(view, totals=view.totals + _totals(new[np.newaxis]) - _totals(old[np.newaxis]))

    def _drop(self, count: int) -> None:
        """Forget the oldest rows."""
        view = self._view
        self._words.remove(np.arange(view.first, view.first + count))
        self._ids = {key: row for key, row in self._ids.items() if row >= view.first + count}
        kept = slice(count, view.count)
        self._view = _View(
            view.vectors[kept].copy(),
            view.values[kept].copy(),
            count=view.count - count,
            first=view.first + count,
            totals=_totals(view.values[kept]),
            cells=view.cells.without_first(count) if view.cells is not None and len(view.cells) > count else None,
        )

    def _group(self) -> None:
        """Put rows into cells when many are in none; find new centres when the memory has doubled since."""
        view = self._view
        in_cells = len(view.cells) if view.cells is not None else 0
        if view.count < CELLS_FROM or view.count - in_cells <= MAX_TAIL:
            return
        vectors = view.vectors[: view.count]
        if view.cells is None or view.count > 2 * len(view.cells.centres) ** 2:
            self._view = replace(view, cells=Cells.fit(vectors, np.random.default_rng(0)))
        else:
            self._view = replace(view, cells=view.cells.extended(vectors))

    # -- lookups -----------------------------------------------------------------------------------------------------

    def near(self, vector: Floats, text: str, *, without: int | None = None) -> Evidence:
        """Return what the neighbours of a question say about each tier.

        Args:
            vector: (native_dim,), finite and not zero.
            without: a row that is left out of everything but the count of rows that hold a word, so that a row of this
                memory can be asked about as if it were new.

        Raises:
            ValueError: a vector of the wrong shape or with a NaN; `without` is no row.
        """
        vectors = _unit(np.asarray(vector)[np.newaxis], self.native_dim)
        view = self._view
        if without is not None and not 0 <= without < view.count:
            raise ValueError(f"without must be a row in [0, {view.count}) ({without})")
        return self._evidence(view, vectors, [text], None if without is None else np.array([without])).row(0)

    def near_many(self, vectors: Floats, texts: Sequence[str]) -> Evidence:
        """Return the evidence for n questions that are not rows of this memory; arrays (n, T) and (n,)."""
        vectors = _unit(vectors, self.native_dim)
        if len(vectors) != len(texts):
            raise ValueError(f"vectors and texts must be as many ({len(vectors)}, {len(texts)})")
        return self._in_blocks(self._view, vectors, texts, None)

    def near_rows(self, texts: Sequence[str], rows: Rows | None = None) -> Evidence:
        """Return for rows of this memory the evidence of all other rows; arrays (n, T) and (n,).

        Args:
            texts: (n,) of the rows: the memory keeps terms only.
            rows: (n,) int64; all rows when None.

        Raises:
            ValueError: a row that is not there; another number of texts.
        """
        view = self._view
        rows = np.arange(view.count) if rows is None else np.asarray(rows, np.int64)
        if len(texts) != len(rows):
            raise ValueError(f"texts must have one entry a row ({len(texts)} for {len(rows)})")
        if len(rows) and (rows.min() < 0 or rows.max() >= view.count):
            raise ValueError(f"rows must be in [0, {view.count})")
        return self._in_blocks(view, kernels.widen_rows(view.vectors[: view.count], rows), texts, rows)

    def _in_blocks(self, view: _View, vectors: Floats, texts: Sequence[str], rows: Rows | None) -> Evidence:
        parts = []
        for start in range(0, max(len(texts), 1), BLOCK):
            part = slice(start, start + BLOCK)
            parts.append(self._evidence(view, vectors[part], texts[part], None if rows is None else rows[part]))
        return Evidence(*(np.concatenate([getattr(part, name) for part in parts]) for name in Evidence.__slots__))

    def _evidence(self, view: _View, vectors: Floats, texts: Sequence[str], without: Rows | None) -> Evidence:
        rows, cosines = _nearest(view, vectors, without)  # (n, k), -inf where there is none
        word_rows, similarities = self._sharing_words(view, texts, without)  # (n, k'), 0 where there is none
        num_near, k = min(K_NEAR, rows.shape[1]), rows.shape[1]
        weights = np.zeros((len(texts), 3, k + word_rows.shape[1]), np.float32)  # near, broad, lexical
        weights[:, 1, :k] = np.exp((cosines - np.float32(1.0)) / np.float32(TEMPERATURE))
        weights[:, 0, :num_near] = weights[:, 1, :num_near]
        weights[:, 2, k:] = similarities**POWER
        values = view.values[np.concatenate([rows, word_rows], axis=1)]  # (n, k + k', 3T)
        means, spread, count = _weighted(values, weights, _means(view, len(texts), without))  # (n, 3, 3T)
        is_quality, is_success, is_latency = (slice(i * len(self.tiers), (i + 1) * len(self.tiers)) for i in range(3))
        return Evidence(
            near_quality=means[:, 0, is_quality],
            broad_quality=means[:, 1, is_quality],
            lexical_quality=means[:, 2, is_quality],
            success=means[:, 1, is_success],
            latency_ms=np.exp(means[:, 1, is_latency]),
            count=count[:, 1, is_quality],
            spread=spread[:, 1, is_quality],
            nearest_similarity=_first(cosines),
            nearest_lexical=_first(similarities),
        )

    def _sharing_words(self, view: _View, texts: Sequence[str], without: Rows | None) -> tuple[Rows, Floats]:
        """Return rows and similarities (n, K_LEXICAL); similarity 0 where there is none."""
        shape = (len(texts), K_LEXICAL)
        rows, similarities = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        if not view.count:
            return rows[:, :0], similarities[:, :0]
        for i, text in enumerate(texts):
            own = None if without is None else view.first + int(without[i])
            ids, found = self._words.search(text, K_LEXICAL, without=own)
            inside = (ids >= view.first) & (ids < view.first + view.count)  # others came or went since
            ids, found = ids[inside] - view.first, found[inside]
            rows[i, : len(ids)], similarities[i, : len(ids)] = ids, found
        return rows, similarities


def _nearest(view: _View, vectors: Floats, without: Rows | None) -> tuple[Rows, Floats]:
    """Return rows and cosines (n, at most K) of the nearest by meaning, best first; cosine -inf where there is none."""
    k = K if without is None else K + 1
    rows, cosines = _compared(view, vectors, k)
    if without is None:
        return rows, cosines
    is_own = rows == without[:, np.newaxis]
    order = np.argsort(is_own, axis=1, kind="stable")  # the own row last, if it is there
    cosines = np.where(is_own, -np.inf, cosines)
    return np.take_along_axis(rows, order, 1)[:, :K], np.take_along_axis(cosines, order, 1)[:, :K]


def _compared(view: _View, vectors: Floats, k: int) -> tuple[Rows, Floats]:
    if not view.count:
        return np.empty((len(vectors), 0), np.int64), np.empty((len(vectors), 0), np.float32)
    present = view.vectors[: view.count]
    if view.cells is None:
        return kernels.exact_search(present, vectors, k)
    rows, cosines = np.zeros((len(vectors), k), np.int64), np.full((len(vectors), k), -np.inf, np.float32)
    newest = np.arange(len(view.cells), view.count)
    for i, vector in enumerate(vectors):
        candidates = np.concatenate([view.cells.rows_near(vector, COMPARED), newest])
        found, scores = kernels.exact_search(present, vector, k, rows=candidates)
        rows[i, : len(found)], cosines[i, : len(found)] = found, scores
    return rows, cosines


def _weighted(values: Floats, weights: Floats, means: Floats) -> tuple[Floats, Floats, Floats]:
    """Return mean (shrunk to `means`), standard deviation and effective number of values, each (n, 3, c).

    The effective number is (sum w)^2 / sum w^2 (Kish 1965). A NaN among the values has no weight.

    Args:
        values: (n, k, c) of k neighbours.
        weights: (n, 3, k) of each, for three views.
        means: (n, c) over all rows.
    """
    c = values.shape[2]
    is_known = values == values
    values = np.where(is_known, values, np.float32(0.0))
    table = np.concatenate([is_known, values, values * values], axis=2, dtype=np.float32)
    sums = weights @ table  # (n, 3, k) @ (n, k, 3c) -> (n, 3, 3c)
    total = sums[..., :c]
    mean, square = sums[..., c : 2 * c] / (total + TINY), sums[..., 2 * c :] / (total + TINY)
    count = np.square(total) / (np.square(weights) @ table[..., :c] + TINY)
    shrunk = (total * mean + SHRINK * means[:, np.newaxis]) / (total + SHRINK)
    return shrunk, np.sqrt(np.maximum(square - mean * mean, 0.0)), count


def _first(similarities: Floats) -> Floats:
    """Return the first column, (n,); 0 where there is none."""
    if not similarities.shape[1]:
        return np.zeros(len(similarities), np.float32)
    return np.where(np.isfinite(similarities[:, 0]), similarities[:, 0], np.float32(0.0))


def _totals(columns: Floats) -> npt.NDArray[np.float64]:
    """Return sum and number of what is known of (n, c) values, (2, c)."""
    return np.stack([np.nansum(columns, axis=0, dtype=np.float64), np.isfinite(columns).sum(axis=0)])


def _means(view: _View, num_questions: int, without: Rows | None) -> Floats:
    """Return the mean of each column over all rows, (n, 3T), without question i's own row; NaN where none is known."""
    sums, numbers = view.totals[:, np.newaxis]
    if without is not None:
        own = view.values[without]
        sums, numbers = sums - np.nan_to_num(own), numbers - np.isfinite(own)
    means = np.where(numbers > 0.0, sums / np.maximum(numbers, 1.0), np.nan).astype(np.float32)
    return np.broadcast_to(means, (num_questions, means.shape[1]))


def _values(quality: Floats, latency_ms: Floats) -> Floats:
    """Return what a view holds of outcomes, (n, T) each."""
    success = np.where(np.isnan(quality), quality, quality >= SUCCESS)
    return np.concatenate([quality, success, np.log(latency_ms)], axis=1, dtype=np.float32)


def _grown(array: npt.NDArray[_Number], count: int, size: int) -> npt.NDArray[_Number]:
    larger = np.empty((size, array.shape[1]), array.dtype)
    larger[:count] = array[:count]
    return larger


def _unit(vectors: Floats, dim: int) -> Floats:
    """Return (n, dim) float32 unit rows."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise ValueError(f"a vector must have {dim} dimensions (shape {vectors.shape[1:]})")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 0.0).all()):
        raise ValueError("a vector holds a NaN or an infinity, or is zero")
    return np.asarray(vectors / norms, np.float32)
