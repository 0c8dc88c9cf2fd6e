"""What the last searches knew of the nodes they returned: an answer's sources are credited by it a moment later."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np

from ruvllm.types import Node

__all__ = ["Returned", "Seen"]

KEPT_SEARCHES = 2048  # the newest, as many as wait to be written at a busy moment; at 10 nodes of 1 KB each 20 MB

Returned = dict[int, tuple[Node, np.ndarray]]
"""Node id -> the node, and its row of `attention.features.node_features`, (len(FEATURES),) float32."""


class Seen:
    """Searches by question and vector. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._searches: dict[tuple[str, bytes], Returned] = {}  # the oldest first

    def note(self, query: str, vector: np.ndarray, hits: Iterable[tuple[Node, np.ndarray]]) -> None:
        """Keep what a search with the (native_dim,) float32 `vector` returned."""
        returned = {node.id: (node, features) for node, features in hits}
        with self._lock:
            self._searches.pop(key := (query, vector.tobytes()), None)
            self._searches[key] = returned
            while len(self._searches) > KEPT_SEARCHES:
                del self._searches[next(iter(self._searches))]

    def take(self, query: str, vector: np.ndarray) -> Returned | None:
        """Return and forget what the newest search for this question returned; None when that is not known."""
        with self._lock:
            return self._searches.pop((query, vector.tobytes()), None)
