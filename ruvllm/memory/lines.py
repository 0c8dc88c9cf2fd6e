"""What the lines of an exported brain are: one a row, in this order; what does not fit is refused."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import IO, Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from ruvllm.types import (
    EdgeType,
    Feedback,
    FinishReason,
    NodeType,
    QualitySource,
    Route,
    SignalKind,
    Tier,
    TierEstimate,
)

__all__ = [
    "BLOB_COLUMNS",
    "JSON_COLUMNS",
    "NODE_KEYS",
    "TABLES",
    "VERSION",
    "Table",
    "as_current",
    "is_id",
    "opened",
    "parsed",
    "require_sound",
]

VERSION = 5

MOST_GROWTH = 100  # times the size of a compressed file; texts shrink to a third or a tenth, vectors hardly
ALWAYS_UNPACKED = 64 << 20  # bytes that any file may unpack to

Text = Annotated[str, Meta(pattern=r"\S")]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Measure = Annotated[float, Meta(ge=0.0)]
Seconds = Annotated[float, Meta(ge=-1e15, le=1e15)]  # since the Unix epoch
Hash = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]

BLOB_COLUMNS = frozenset(("vector", "features", "present"))
"""Bytes in the brain, base64 in a line."""
JSON_COLUMNS = frozenset(("metadata", "source_ids", "used_ids", "route", "timings_ms", "estimates", "found"))
NODE_KEYS = ("superseded_by",)
"""Keys of a node's metadata under which the id of another node stands."""


class _Document(msgspec.Struct):
    id: int
    namespace: Text
    source: Text
    title: str | None
    sha256: str
    chunks: Count
    ingested: Seconds
    trust: Share


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
    ended: Seconds | None
    names: list[Text]
    mentions: list[Hash]
    vector: str | None


class _Edge(msgspec.Struct):
    src: int
    dst: int
    type: EdgeType
    weight: Share
    success: Count
    failure: Count
    last_used: Seconds
    created_by: str
    created: Seconds
    ended: Seconds | None
    decayed: Seconds


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
    said_node: int | None
    quality: Share | None
    quality_source: str
    judge_score: Share | None


class _Feedback(msgspec.Struct):
    interaction: str
    rating: int | None
    quality: float | None
    task_success: Literal[0, 1] | None
    correction: str | None
    correction_node: int | None
    updated: Seconds
    rater: str

    def __post_init__(self) -> None:
        success = None if self.task_success is None else bool(self.task_success)
        said = (self.rating, self.quality, success, self.correction)
        if any(value is not None for value in said):  # else sources were marked, which is on lines of its own
            Feedback(*said)


class _Credit(msgspec.Struct):
    interaction: str
    node: int
    credit: Share
    decided_by: str


class _Mark(msgspec.Struct):
    interaction: str
    node: int
    helped: Literal[0, 1]


class _EdgeMove(msgspec.Struct):
    interaction: str
    src: int
    dst: int
    type: EdgeType
    rater: str
    at: Seconds
    good: Literal[0, 1] | None
    moved: Annotated[float, Meta(ge=-1.0, le=1.0)]


class _CoRetrieval(msgspec.Struct):
    a: int
    b: int
    count: Count


class _Decision(msgspec.Struct):
    interaction: str
    tier: Text
    estimates: list[TierEstimate]
    features: str
    present: str
    feature_version: int
    checkpoint: int
    decided_by: str
    reason: str
    confidence: Share | None
    context_tokens: Count
    temperature: float | None
    top_p: float | None
    sampling_chance: float | None
    explored: Literal[0, 1]
    probed: Literal[0, 1]
    calibrates: Literal[0, 1]


class _TierOutcome(msgspec.Struct):
    interaction: str
    tier: Text
    shown: Literal[0, 1]
    quality: Share | None
    latency_ms: Measure | None
    cost: Measure | None
    tokens: Count | None
    answer: str | None
    source_ids: list[int]
    source: QualitySource | None
    rater: str | None
    at: Seconds


class _Signal(msgspec.Struct):
    interaction: str
    signal: SignalKind
    quality: Share
    at: Seconds


class _Session(msgspec.Struct):
    namespace: Text
    name: Text
    created: Seconds


class _Enrichment(msgspec.Struct):
    node: int
    made_by: Text
    version: Count
    found: list[Text]


class Table(NamedTuple):
    """Where the lines of one kind come from: in `order` they are the same whatever the ids are."""

    name: str
    shape: type[msgspec.Struct]
    order: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The table's columns; the last three fields of a node are rows of other tables."""
        fields = self.shape.__struct_fields__
        return fields[:-3] if self.name == "nodes" else fields


TABLES = {
    "document": Table("documents", _Document, "id"),
    "node": Table("nodes", _Node, "id"),
    "edge": Table("edges", _Edge, "src, dst, type"),
    "interaction": Table("interactions", _Interaction, "rowid"),
    "feedback": Table("feedback", _Feedback, "rowid"),
    "credit": Table("credits", _Credit, "interaction, node"),
    "mark": Table("marks", _Mark, "interaction, node"),
    "edge_move": Table("edge_moves", _EdgeMove, "interaction, src, dst, type"),
    "co_retrieval": Table("co_retrievals", _CoRetrieval, "a, b"),
    "decision": Table("decisions", _Decision, "interaction"),
    "tier_outcome": Table("tier_outcomes", _TierOutcome, "interaction, tier"),
    "signal": Table("signals", _Signal, "interaction"),
    "session": Table("sessions", _Session, "namespace, name"),
    "enrichment": Table("enrichments", _Enrichment, "node"),
}


def require_sound(kind: str, line: dict[str, Any]) -> None:
    """Raise ValueError, which names the field, when a line is not what `kind` has; KeyError for an unknown kind."""
    msgspec.convert(line, TABLES[kind].shape)


def as_current(kind: str, line: dict[str, Any], version: int) -> dict[str, Any]:
    """Return a line of an older version with what this one has more, as the migration of a brain fills it in."""
    if kind == "decision":
        return {"sampling_chance": None} | line
    if kind == "interaction":
        line = {"quality": None, "quality_source": "", "judge_score": None} | line
    if version > 1:
        return line
    more: dict[str, Any] = {}
    if kind == "document":
        more = {"trust": 1.0}
    elif kind == "node":
        more = {"ended": None, "names": [], "mentions": []}
    elif kind == "edge":
        more = {"created": line["last_used"], "ended": None, "decayed": 0.0}
    elif kind == "interaction":
        more = {"said_node": None}
    elif kind == "feedback":
        more = {"rater": "local"}
    return line | more


def is_id(value: Any) -> bool:
    """Return whether a value of a node's metadata under one of NODE_KEYS is the id of a node."""
    return isinstance(value, int) and not isinstance(value, bool)


def parsed(text: str) -> Any:
    """Return what a JSON text holds.

    Raises:
        ValueError: it is not JSON, or holds a number that cannot be stored.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error})") from error


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number that can be stored")


class _Unpacked(gzip.GzipFile):
    """A compressed file for reading that grows as texts do and no more: a few MiB can hold 1,000 times as much."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self._most = max(MOST_GROWTH * file.stat().st_size, ALWAYS_UNPACKED)

    def read1(self, size: int = -1) -> bytes:
        """Return the next bytes, as a text file asks for them."""
        chunk = super().read1(size)
        if self.tell() > self._most:
            raise gzip.BadGzipFile(f"it unpacks to more than {MOST_GROWTH} times its size")
        return chunk


def opened(file: Path, *, is_gzip: bool) -> IO[str]:
    """Open a text file for reading, compressed or not; a compressed one that swells is a BadGzipFile as it is read."""
    if is_gzip:
        return io.TextIOWrapper(_Unpacked(file), encoding="utf-8", newline="\n")
    return file.open(encoding="utf-8", newline="\n")
