"""What is derived from the database and kept in memory, told together of every change."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import numpy as np

from ruvllm.memory.embedder_lock import EmbedderLock
from ruvllm.memory.filters import PassingIds
from ruvllm.memory.keywords import Keywords
from ruvllm.memory.linking import Linker
from ruvllm.memory.links import Links
from ruvllm.memory.nearest import Nearest
from ruvllm.memory.traits import Traits

__all__ = ["Derived"]

LOADERS = 2  # threads that read at first use


class Derived:
    """Vectors, keywords, links, names, traits and filters of a namespace. What fails throws its own state away."""

    def __init__(
        self,
        nearest: Nearest,
        keywords: Keywords,
        links: Links,
        linker: Linker,
        traits: Traits,
        passing: PassingIds,
    ) -> None:
        self._nearest = nearest
        self._keywords = keywords
        self._links = links
        self._linker = linker
        self._traits = traits
        self._passing = passing
        self.embedder_lock = EmbedderLock()
        self.changes = 0  # that were taken in; raised once searches see one

    def load(self) -> None:
        """Have everything in memory; at first use it is read side by side."""
        if self._nearest.state == "unloaded":
            loads = (self._nearest.load, self._linker.load, self._keywords.load, self._links.load, self._traits.load)
            with ThreadPoolExecutor(LOADERS, "ruvllm-load") as threads, suppress(RuntimeError):  # none at exit
                for load in loads:
                    threads.submit(load)
            for load in loads:  # what failed says so here, and what is there already takes no time
                load()

    def added(self, ids: Sequence[int], vectors: np.ndarray, *, are_linked: bool = True) -> None:
        """Take in nodes that were just committed and are to be searched; `vectors` is (n, native_dim) float32.

        Args:
            are_linked: whether any of them may have edges or names.
        """
        with ExitStack() as each:
            each.callback(self._passing.changed)
            each.callback(self._nearest.added, ids, vectors)
            each.callback(self._keywords.added, ids)
            each.callback(self._traits.added, ids)
            if are_linked:
                each.callback(self._links.added, ids)
                each.callback(self._linker.added, ids)
        self.changes += 1

    def removed(self, ids: Sequence[int]) -> None:
        """Forget nodes that were just deleted."""
        with ExitStack() as each:
            each.callback(self._passing.changed)
            each.callback(self._nearest.removed, ids)
            each.callback(self._keywords.removed, ids)
            each.callback(self._links.removed, ids)
            each.callback(self._linker.removed, ids)
            each.callback(self._traits.removed, ids)
        self.changes += bool(ids)

    def retrusted(self, ids: Sequence[int]) -> None:
        """Take in that the trust of nodes changed; those that are not searched are passed over."""
        if ids:
            self._traits.added(ids)
            self.changes += 1

    def reload(self) -> None:
        """Throw everything away; the next search reads it again from the database."""
        with ExitStack() as each:
            each.callback(self._passing.changed)
            each.callback(self._nearest.reload)
            each.callback(self._keywords.reload)
            each.callback(self._links.reload)
            each.callback(self._linker.reload)
            each.callback(self._traits.reload)
        self.changes += 1
