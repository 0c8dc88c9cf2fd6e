"""What the lines of an exported brain may hold; a line that does not fit is refused before anything is made of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ruvllm.types import EdgeType, Feedback, FinishReason, NodeType, Route, Tier

__all__ = ["require_sound"]

Text = Annotated[str, Meta(pattern=r"\S")]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(ge=-1e15, le=1e15)]  # since the Unix epoch


class _Document(msgspec.Struct):
    id: int
    namespace: Text
    source: Text
    title: str | None
    sha256: str
    chunks: Count
    ingested: Seconds


class _Node(msgspec.Struct):
    id: int
    namespace: Text
    type: NodeType
    text: Text
    source: str | None
    metadata: dict[str, Any]
    created: Seconds
    last_used: Seconds
    use_count: Count
    tier: Tier
    trust: Share
    session: str | None
    probation: Literal[0, 1]
    document: int | None
    vector: str | None
    ended: Seconds | None = None


class _Edge(msgspec.Struct):
    src: int
    dst: int
    type: EdgeType
    weight: Share
    success: Count
    failure: Count
    last_used: Seconds
    created_by: str


class _Interaction(msgspec.Struct):
    id: str
    namespace: Text
    session: str | None
    created: Seconds
    query_node: int | None
    answer_node: int | None
    source_ids: list[int]
    used_ids: list[int]
    route: Route
    timings_ms: dict[str, float]
    confidence: float | None
    finish_reason: FinishReason


class _Feedback(msgspec.Struct):
    interaction: str
    rating: int | None
    quality: float | None
    task_success: Literal[0, 1] | None
    correction: str | None
    correction_node: int | None
    updated: Seconds

    def __post_init__(self) -> None:
        success = None if self.task_success is None else bool(self.task_success)
        Feedback(self.rating, self.quality, success, self.correction)


_SHAPES = {"document": _Document, "node": _Node, "edge": _Edge, "interaction": _Interaction, "feedback": _Feedback}


def require_sound(kind: str, line: dict[str, Any]) -> None:
    """Raise ValueError, which names the field, when a line is not what `kind` has; KeyError for an unknown kind."""
    msgspec.convert(line, _SHAPES[kind])
