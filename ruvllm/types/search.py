"""What searches are asked and return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ruvllm.types.graph import Explanation, Node

__all__ = ["Filter", "Hit", "Hits"]

Filter = Mapping[str, Any]
"""Field -> what it must be; a node passes when every field does.

Fields are type, source, session, namespace (only the brain's own has nodes), created and last_used (seconds since the
Unix epoch, or an ISO-8601 str, UTC unless it says otherwise), and every other name is a key of the metadata, such as
tags. What a field must be is

- a value, or a list of values of which any will do; None is a field that is missing
- a mapping of operators, all of which must hold: eq, ne, in (a list), exists (True or False), lt, lte, gt, gte, for
  numbers among numbers and strings among strings (ISO dates compare as strings)

A list in the metadata passes when any of its items does; the comparisons of one mapping must hold for the same item.
`{"and": [filter, ...]}`, `{"or": [filter, ...]}` and `{"not": filter}` combine filters.
"""


@dataclass(frozen=True, slots=True)
class Hit:
    """A node that a search returned; `score` orders the hits, `similarity` is the cosine to the query (if known).

    `hops` is how many links it lies from what the search started at.
    """

    node: Node
    score: float
    similarity: float | None = None
    keyword_rank: int | None = None
    explanation: Explanation | None = None
    hops: int = 0


class Hits(list[Hit]):
    """What a search returned, best first: a list that is shown as a table."""

    def __repr__(self) -> str:
        lines = (f"{rank:3} {hit.score:.4f} {hit.node.text[:80]!r}" for rank, hit in enumerate(self, start=1))
        return "\n".join((f"{len(self)} hits", *lines))

    def _repr_html_(self) -> str:
        from ruvllm.viz import hits_html

        return hits_html(self)
