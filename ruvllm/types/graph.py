"""Nodes and edges, and what lies between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = [
    "PRIVATE",
    "Edge",
    "EdgeType",
    "Explanation",
    "Neighbourhood",
    "Node",
    "NodeType",
    "Step",
    "Tier",
    "says_private",
]


PRIVATE = "private"  # key of metadata: see `says_private`
NOT_PRIVATE = ("", "false", "no", "off", "0")


def says_private(metadata: Mapping[str, Any]) -> bool:
    """Return whether no endpoint may be shown a text: `metadata["private"]` is anything but a way to say no.

    Front matter has no booleans, so that true is the text "true" there.
    """
    return str(metadata.get(PRIVATE) or "").strip().lower() not in NOT_PRIVATE


class NodeType(StrEnum):
    """What a memory node is."""

    QUERY = "Query"
    ANSWER = "Answer"
    DOCUMENT = "Document"
    FACT = "Fact"
    AGENT_STEP = "AgentStep"
    CONCEPT = "Concept"
    ENTITY = "Entity"


class EdgeType(StrEnum):
    """How one node relates to another."""

    CITES = "Cites"
    FOLLOWS = "Follows"
    SAME_TOPIC = "SameTopic"
    AGENT_STEP = "AgentStep"
    DERIVED = "Derived"
    CONTAINS = "Contains"
    SHARED_NAME = "SharedName"


class Tier(StrEnum):
    """Where a node lives: searched (hot) or archived (cold)."""

    HOT = "hot"
    COLD = "cold"


@dataclass(frozen=True, slots=True)
class Node:
    """One piece of memory.

    `metadata` of an ingested chunk carries title, heading ("Guide > Install"), position (0-based place in its
    document) and whatever the document's front matter said. Times are seconds since the Unix epoch, UTC.
    """

    id: int
    type: NodeType
    text: str
    namespace: str = "default"
    source: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    created: float = 0.0
    last_used: float = 0.0
    use_count: int = 0
    tier: Tier = Tier.HOT
    trust: float = 1.0
    session: str | None = None
    on_probation: bool = False

    @property
    def is_private(self) -> bool:
        """Whether no endpoint is shown the text; see `says_private`."""
        return says_private(self.metadata)

    def _repr_html_(self) -> str:
        from ruvllm.viz import node_html

        return node_html(self)


@dataclass(frozen=True, slots=True)
class Edge:
    """A typed, weighted, directed link between two nodes; `weight` in [0, 1]."""

    src: int
    dst: int
    type: EdgeType
    weight: float = 0.5
    success: int = 0
    failure: int = 0
    last_used: float = 0.0
    created_by: str = "user"


@dataclass(frozen=True, slots=True)
class Step:
    """One edge of a path, walked from `start` to `end`; `forward` when that is the edge's own direction."""

    start: int
    end: int
    type: EdgeType
    weight: float
    forward: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a node was found: `reason` is why the search looked at the node where `path` starts; no path, at itself."""

    path: tuple[Step, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Some nodes with the edges among them, heaviest first.

    `hops` maps each node's id to its distance from the node `around`; all are 0 when there is no such node.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    hops: Mapping[int, int]
    around: int | None = None
