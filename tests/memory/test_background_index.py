"""ruvllm/memory/background_index.py: vectors are found from the moment they come, inserted or not."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from ruvllm.config import IndexConfig
from ruvllm.memory import HnswIndex
from ruvllm.memory.background_index import BackgroundIndex

from .fakes import unit_vectors

DIM = 16
VECTORS = unit_vectors(400, DIM)
LABELS = np.arange(400) + 1000
OLD = slice(0, 200)
NEW = slice(200, 400)


@pytest.fixture
def may_insert(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Insertion by a thread waits for it."""
    event, add = threading.Event(), HnswIndex.add

    def held_add(self: HnswIndex, *arguments: Any, **options: Any) -> None:
        if "num_threads" in options:
            assert event.wait(30)
        add(self, *arguments, **options)

    monkeypatch.setattr(HnswIndex, "add", held_add)
    return event


@pytest.fixture
def index(may_insert: threading.Event) -> BackgroundIndex:
    """Half of the vectors are inserted, the others wait."""
    inner = HnswIndex(DIM, IndexConfig(m=16, ef_construction=200))
    inner.add(LABELS[OLD], VECTORS[OLD])
    index = BackgroundIndex(inner, num_threads=2)
    index.add(LABELS[NEW], VECTORS[NEW])
    return index


def nearest(query: np.ndarray, k: int) -> list[int]:
    return [int(label) for label in LABELS[np.argsort(-(VECTORS @ query))[:k]]]


@pytest.mark.parametrize("is_inserted", [False, True])
def test_what_waits_is_found_like_what_is_inserted(
    index: BackgroundIndex, may_insert: threading.Event, is_inserted: bool
) -> None:
    if is_inserted:
        may_insert.set()
        index.settle()
    labels, cosines = index.search_batch(VECTORS[::50], 5)
    may_insert.set()
    assert labels.tolist() == [nearest(query, 5) for query in VECTORS[::50]]
    np.testing.assert_allclose(cosines, -np.sort(-(VECTORS[::50] @ VECTORS.T))[:, :5], atol=1e-5)


def test_what_is_inserted_meanwhile_is_found_once(index: BackgroundIndex, may_insert: threading.Event) -> None:
    waiting = index._waiting
    may_insert.set()
    index.settle()
    index._waiting = waiting  # as a search sees it that began before
    labels, _ = index.search(VECTORS[300], 400)
    assert sorted(labels) == LABELS.tolist()


def test_more_than_there_are_is_all_of_them(index: BackgroundIndex, may_insert: threading.Event) -> None:
    labels, cosines = index.search(VECTORS[0], 1000)
    may_insert.set()
    assert sorted(labels) == LABELS.tolist()
    assert np.isfinite(cosines).all()


def test_what_is_removed_is_found_no_more(index: BackgroundIndex, may_insert: threading.Event) -> None:
    may_insert.set()
    index.remove([1000, 1399, 5])
    assert len(index) == 398
    assert not {1000, 1399} & set(index.search(VECTORS[399], 400)[0].tolist())


def test_what_cannot_be_inserted_is_still_found_and_tried_again(monkeypatch: Any, caplog: Any) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError("no room")

    index = BackgroundIndex(HnswIndex(DIM, IndexConfig()), num_threads=2)
    with monkeypatch.context() as patch:
        patch.setattr(HnswIndex, "add", fail)
        index.add(LABELS[OLD], VECTORS[OLD])
        index.settle()
    assert "could not be inserted" in caplog.text
    assert (len(index), index.search(VECTORS[7], 1)[0].tolist()) == (0, [1007])
    index.add(LABELS[NEW], VECTORS[NEW])
    index.settle()
    assert len(index) == 400
