"""Searches of a memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ruvllm.attention.engine import Inputs
from ruvllm.memory.arguments import checked_count
from ruvllm.memory.embedder_lock import with_one_embedder
from ruvllm.memory.face.opened import OpenedBrain
from ruvllm.memory.filters import seconds_of
from ruvllm.memory.phrases import find_phrase
from ruvllm.memory.plain_search import plain_search
from ruvllm.memory.rows import checked_text
from ruvllm.types import Filter, Hits, Node
from ruvllm.types.checks import is_number

__all__ = ["Searches"]

MAX_HOPS = 4


class Searches(OpenedBrain):
    """How a memory is searched."""

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        filter: Filter | None = None,
        session: str | None = None,
        hops: int | None = None,
        explain: bool = False,
        as_of: float | str | None = None,
        query_vector: np.ndarray | None = None,
    ) -> Hits:
        """Return the `k` best nodes for `query`, best first.

        Vectors, words and the names in the question give seeds; what is linked to the strongest of them is looked at,
        too; graph attention ranks it all, times trust. A document fills at most its share of the hits, and of nodes
        that say the same one is a hit, while others have something to say.

        Args:
            query: a question or words.
            k: nodes wanted; fewer come back when fewer are there.
            filter: field -> value, or a list of values of which any will do; see `ruvllm.types.Filter`.
            session: its own answers, which are still on probation, are searched too (its questions only when the
                filter names a type: a question answers nothing).
            hops: edges followed from what the question names, in [0, 4]; the configured number when None.
            explain: give each hit the path that led to it and the reason.
            as_of: a past time, in seconds or ISO 8601: what held then is searched, by the links that held then, with
                today's weights; what was replaced since is found in its old wording. Reads the graph of that time.
            query_vector: (native_dim,) float32 embedding of `query`, when the caller has it already.

        Raises:
            ValueError: the query is empty, k is below 1, hops out of range, or a vector is not finite.
        """
        return self._searched(
            query,
            k,
            filter=filter,
            session=session,
            hops=hops,
            with_paths=explain,
            as_of=as_of,
            query_vector=query_vector,
        )

    def search_with_concept_boost(
        self, query: str, k: int = 10, *, boost: float = 1.5, filter: Filter | None = None, session: str | None = None
    ) -> Hits:
        """Return what `search` does with every concept `boost` times above itself and the best of what it contains.

        Raises:
            ValueError: the boost is below 1 or not finite.
        """
        if not (is_number(boost) and boost >= 1.0):
            raise ValueError(f"boost must be >= 1 ({boost!r})")
        return self._searched(query, k, filter=filter, session=session, concept_boost=boost)

    @with_one_embedder
    def _searched(
        self,
        query: str,
        k: int,
        *,
        filter: Filter | None,
        session: str | None,
        hops: int | None = None,
        with_paths: bool = False,
        as_of: float | str | None = None,
        concept_boost: float = 1.0,
        query_vector: np.ndarray | None = None,
    ) -> Hits:
        checked_text(query, "query")
        k = checked_count(k, "k")
        if session is not None:
            checked_text(session, "session")
        if filter is not None and not isinstance(filter, Mapping):
            raise TypeError(f"filter must be a mapping of field to value, not {type(filter).__name__}")
        if hops is not None and (isinstance(hops, bool) or hops not in range(MAX_HOPS + 1)):
            raise ValueError(f"hops must be a whole number in [0, {MAX_HOPS}] ({hops!r})")
        moment = None if as_of is None else seconds_of(as_of, "as_of")
        if not self._space.is_known():
            return Hits()
        native = self.encode([query])[0] if query_vector is None else self._checked_vector(query_vector)
        self._derived.load()
        hits = self._search.search(
            query,
            native,
            self._space.project(native[np.newaxis])[0],
            k,
            filter=filter or None,
            session=session,
            hops=hops,
            concept_boost=concept_boost,
            with_paths=with_paths,
            as_of=moment,
        )
        if not self.read_only:
            self._usage.note([hit.node.id for hit in hits])
        return hits

    @with_one_embedder
    def search_plainly(
        self, query: str, k: int = 10, *, filter: Filter | None = None, query_vector: np.ndarray | None = None
    ) -> Hits:
        """Return the `k` best nodes by words, and by `query_vector` where it is given: without graph, index and model.

        What `search` falls back to where a part of it fails; a session's own answers are not among it.

        Raises:
            ValueError: the query is empty, or k is below 1.
        """
        checked_text(query, "query")
        k = checked_count(k, "k")
        if self._space.known() is None:
            return Hits()
        vector = None
        if query_vector is not None:
            vector = self._space.project(self._checked_vector(query_vector)[np.newaxis])[0]
        return plain_search(
            self._store,
            self._keywords,
            self._nearest,
            self.namespace,
            query,
            vector,
            k,
            filter=filter or None,
            config=self.config.retrieval,
        )

    @property
    def lacks_index(self) -> bool:
        """Whether there are enough vectors to want an index and none is in use yet: searches are exact and slower."""
        return len(self._nearest) >= self.config.index.exact_below and self._nearest.state != "ready"

    def find(self, phrase: str, k: int = 10, *, prefix: bool = False) -> list[Node]:
        """Return at most `k` nodes that hold the words of `phrase` next to each other, best first; no model is needed.

        Args:
            phrase: words, compared by their stems: "polar bear" also finds "polar bears".
            prefix: the last word may go on: "rescue sl" finds "rescue sled".

        Raises:
            ValueError: the phrase is empty, or k is below 1.
        """
        return find_phrase(
            self._store, self.namespace, checked_text(phrase, "phrase"), checked_count(k, "k"), prefix=prefix
        )

    def rarity(self, terms: np.ndarray) -> np.ndarray:
        """Return how rare terms (n,) uint64 of `text.terms` are in this memory, (n,) float32: BM25's weight of each."""
        if not isinstance(terms, np.ndarray) or terms.dtype != np.uint64 or terms.ndim != 1:
            raise TypeError(f"terms must be a (n,) uint64 array, not {type(terms).__name__}")
        index = self._keywords.load()
        return index.scores_of(terms, terms, np.arange(len(terms) + 1, dtype=np.int64))

    @with_one_embedder
    def candidates(self, query: str, *, query_vector: np.ndarray | None = None) -> tuple[np.ndarray, Inputs] | None:
        """Return the node ids that a search looks at, (n,), and what the engine is given for them; None without any."""
        checked_text(query, "query")
        if not self._space.is_known():
            return None
        native = self.encode([query])[0] if query_vector is None else self._checked_vector(query_vector)
        return self._search.inputs(query, native, self._space.project(native[np.newaxis])[0], 10)
