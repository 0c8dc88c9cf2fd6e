"""Evidence-deleted twins: one question, with its evidence among what memory finds, and without."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ruvllm.config import Config
from ruvllm.memory import Memory
from ruvllm.types import Embedder, Hit, Node, Source

__all__ = ["Twins", "brain_of", "twins_of"]

NameOf = Callable[[Node], str]


@dataclass(frozen=True, slots=True)
class Twins:
    """What a question finds in a brain, and in the same brain less its evidence; best first."""

    given: tuple[Source, ...]
    deleted: tuple[Source, ...]


@contextmanager
def brain_of(documents: Sequence[Mapping[str, Any]], embedder: Embedder, config: Config) -> Iterator[Memory]:
    """Yield a brain of the documents in a temporary folder."""
    with (
        tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder,
        Memory(folder, embedder=embedder, config=config) as memory,
    ):
        memory.ingest(documents)
        yield memory


def twins_of(memory: Memory, question: str, evidence: frozenset[str], name_of: NameOf, *, k: int) -> Twins:
    """Return the `k` best sources of both twins.

    The evidence is struck from what the search finds, and what comes after it moves up: each brain is read once.
    """
    vector = memory.encode([question])[0]
    hits = memory.search(question, 2 * k + len(evidence), query_vector=vector)
    left = [hit for hit in hits if name_of(hit.node) not in evidence]
    return Twins(_sources(hits[:k]), _sources(left[:k]))


def _sources(hits: Sequence[Hit]) -> tuple[Source, ...]:
    nodes = [hit.node for hit in hits]
    titles = [str(node.metadata.get("title") or "") or None for node in nodes]
    return tuple(
        Source(i, node.id, node.source, title, node.text, hit.score)
        for i, (hit, node, title) in enumerate(zip(hits, nodes, titles, strict=True), 1)
    )
