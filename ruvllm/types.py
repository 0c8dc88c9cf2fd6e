"""The nouns of the package: small frozen records that the floors pass to each other."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

import numpy as np

__all__ = [
    "Constraints",
    "Decision",
    "DocumentFailure",
    "Edge",
    "EdgeType",
    "Embedder",
    "Explanation",
    "Feedback",
    "Filter",
    "FinishReason",
    "GenerationOptions",
    "Hit",
    "Hits",
    "IngestReport",
    "Interaction",
    "Message",
    "Neighbourhood",
    "Node",
    "NodeType",
    "Privacy",
    "QualitySource",
    "Request",
    "Response",
    "Route",
    "SignalKind",
    "Source",
    "Step",
    "Tier",
    "TierEstimate",
    "TierOutcome",
    "Turn",
]

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

FinishReason = Literal["stop", "length", "cancelled", "extract", "deadline"]

Privacy = Literal["any", "local"]

QualitySource = Literal["user", "task", "judge"]
"""Who says how good an answer was: somebody who read it, the task it served, or a model."""


SignalKind = Literal["rephrase", "abandon"]
"""What somebody did after an answer: asked again in other words, or did so and then went away."""


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


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message as the model's template sees it."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How to sample: penalty, temperature, top_k, top_p, min_p, in this order.

    Temperature 0 is greedy, `top_k` 0 keeps every token, `min_p` those with at least this share of the likeliest one's
    probability (CTranslate2 has no such cut and refuses one). With a `json_schema` the answer is a value of it, unless
    `max_new_tokens` cuts it off; an engine that cannot promise that refuses.
    """

    max_new_tokens: int = 160
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    json_schema: Mapping[str, Any] | None = None
    min_p: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_p <= 1.0:
            raise ValueError(f"min_p must be in [0, 1] ({self.min_p})")
        if self.json_schema is not None and not isinstance(self.json_schema, Mapping):
            raise TypeError(f"json_schema must be a mapping, not {type(self.json_schema).__name__}")
        if isinstance(self.stop, str):
            raise TypeError(f"stop must be a tuple of strings, not a str: stop=({self.stop!r},)")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be >= 1 ({self.max_new_tokens})")
        if not 0.0 <= self.temperature <= 2.0:
            raise ValueError(f"temperature must be in [0, 2] ({self.temperature})")
        if self.top_k < 0:
            raise ValueError(f"top_k must be >= 0, 0 keeps every token ({self.top_k})")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p must be in (0, 1] ({self.top_p})")
        if not self.repetition_penalty > 0.0:
            raise ValueError(f"repetition_penalty must be > 0 ({self.repetition_penalty})")
        if any(not s for s in self.stop):
            raise ValueError("stop must not hold an empty string")


@dataclass(frozen=True, slots=True)
class Constraints:
    """What one request asks of the model that answers it; None leaves it to the configuration.

    `max_latency_ms` is for the whole answer. `max_cost` is in the router's unit: a thousand tokens, prompt and answer
    together, by a model of a billion parameters. With privacy "local" the question reaches no endpoint, whatever else
    is asked. `min_quality` in [0, 1] stands in the place of `router.quality_floor`.
    """

    max_latency_ms: float | None = None
    max_cost: float | None = None
    privacy: Privacy = "any"
    min_quality: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_latency_ms", "max_cost"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value > 0.0):
                raise ValueError(f"{name} must be > 0 ({value!r})")
        if self.privacy not in ("any", "local"):
            raise ValueError(f"privacy must be 'any' or 'local' ({self.privacy!r})")
        if self.min_quality is not None:
            _require_share(self.min_quality, "min_quality")


def _new_id() -> str:
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Request:
    """One question: within a session or alone, over all sources or a `filter` of them, `k` sources at most.

    `timeout_s` counts from `asked`, by the monotonic clock; `key` is who asks, for the limits.
    """

    query: str
    session: str | None = None
    k: int | None = None
    filter: Filter | None = None
    options: GenerationOptions | None = None
    constraints: Constraints | None = None
    timeout_s: float | None = None
    key: str = "local"
    asked: float = field(default_factory=time.monotonic, compare=False)
    id: str = field(default_factory=_new_id, compare=False)  # its response's, too


@dataclass(frozen=True, slots=True)
class Route:
    """Which model answered and with what settings, and who decided so.

    `tier` is the model's name among the configured ones. `confidence` is how likely the router held it that the answer
    meets the quality asked for, `quality` what it expected; None where no router decided. `checkpoint` is the version
    of the router, 0 for the untrained one, and `reason` says why in words. `student` is the id of the student that
    answered in its tier's place, "" where it was the tier's own model.
    """

    model: str
    context_tokens: int
    temperature: float
    top_p: float
    decided_by: str = "default"
    tier: str = ""
    confidence: float | None = None
    quality: float | None = None
    checkpoint: int = 0
    reason: str = ""
    student: str = ""


@dataclass(frozen=True, slots=True)
class TierEstimate:
    """What a router thought of one tier: `score` orders the tiers, `propensity` is the chance that it was chosen.

    The rest is what was expected of its answer, None where nothing is known: quality in [0, 1], milliseconds, and cost
    in the router's unit.
    """

    tier: str
    score: float
    propensity: float
    quality: float | None = None
    latency_ms: float | None = None
    cost: float | None = None

    def __post_init__(self) -> None:
        _require_name(self.tier, "tier")
        if not _is_number(self.score):
            raise ValueError(f"score must be a finite float ({self.score!r})")
        _require_share(self.propensity, "propensity")
        _require_measures(self)


@dataclass(frozen=True, slots=True)
class TierOutcome:
    """What one tier really did on a request; None is what is not known, and not 0.

    Args:
        quality: in [0, 1], said by `source`.
        latency_ms: the time it generated, loading not counted.
        cost: in the router's unit.
        tokens: that it generated.
        answer: what it said, where its answer is not the one that the user saw; `source_ids` are the nodes that it was
            made of.
    """

    tier: str
    quality: float | None = None
    latency_ms: float | None = None
    cost: float | None = None
    tokens: int | None = None
    source: QualitySource | None = None
    answer: str | None = None
    source_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _require_name(self.tier, "tier")
        _require_measures(self)
        if self.tokens is not None and (isinstance(self.tokens, bool) or self.tokens < 0):
            raise ValueError(f"tokens must be >= 0 ({self.tokens!r})")
        if self.source not in (None, "user", "task", "judge"):
            raise ValueError(f"source must be 'user', 'task' or 'judge' ({self.source!r})")
        if (self.source is None) != (self.quality is None):
            raise ValueError(f"quality and its source must be given together ({self.quality!r}, {self.source!r})")


@dataclass(frozen=True, slots=True)
class Decision:
    """Which tier a router chose for a request, and all that it chose by: what the log keeps and training reads.

    Attributes:
        estimates: one for each tier there was, the cheapest first; the propensities add up to 1.
        tier: the chosen one.
        features: float32 little-endian, the layout of `feature_version`.
        present: which features existed, one bit each (numpy.packbits).
        checkpoint: version of the router, 0 for the untrained one.
        confidence: how likely the chosen tier meets the quality asked for.
        context_tokens: longest prompt; 0 leaves it to the reader's size.
        temperature, top_p: None leaves them to the configuration; what a request states holds in any case.
        sampling_chance: with which both were drawn, to learn from it; None where they were not.
        explored: the choice was drawn to learn from it.
        probed: the smallest local tier looked at the question first.
        calibrates: a coin that fell before any answer says that every tier answers, for calibration.
    """

    estimates: tuple[TierEstimate, ...]
    tier: str
    features: bytes
    present: bytes
    feature_version: int
    checkpoint: int = 0
    decided_by: str = "router"
    reason: str = ""
    confidence: float | None = None
    context_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    sampling_chance: float | None = None
    explored: bool = False
    probed: bool = False
    calibrates: bool = False

    def __post_init__(self) -> None:
        names = [estimate.tier for estimate in self.estimates]
        if len(set(names)) != len(names):
            raise ValueError(f"estimates must be of different tiers ({', '.join(names)})")
        if self.tier not in names:
            raise ValueError(f"tier must be one of {', '.join(names)} ({self.tier!r})")
        if not self.chosen.propensity > 0.0:
            raise ValueError(f"propensity of the chosen tier must be > 0 ({self.chosen.propensity})")
        total = sum(estimate.propensity for estimate in self.estimates)
        if abs(total - 1.0) > 1e-3:
            raise ValueError(f"propensities must add up to 1 ({total})")
        if len(self.features) % 4 or len(self.present) != -(-len(self.features) // 32):
            raise ValueError(f"present has {len(self.present)} bytes for {len(self.features)} bytes of features")
        if self.confidence is not None:
            _require_share(self.confidence, "confidence")

    @property
    def chosen(self) -> TierEstimate:
        """The estimate of the chosen tier."""
        return next(estimate for estimate in self.estimates if estimate.tier == self.tier)


@dataclass(frozen=True, slots=True)
class Source:
    """A retrieved passage that was shown to the model as `[number]`."""

    number: int
    node_id: int
    source: str | None
    title: str | None
    text: str
    score: float
    used: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """An answer with everything needed to check it.

    `finish_reason` is "extract" when no model answered or its own probability was too low: then `text` quotes the best
    passage and `draft` holds what the model had said; it is "deadline" when the time was over and `text` is as much as
    there was until then. `confidence` is the geometric mean token probability in [0, 1], None where the engine does not
    tell probabilities. `timings_ms` maps stage -> milliseconds. `warnings` says what was degraded and why, each
    beginning with the stage: "retrieve: ...". `quality` in [0, 1] is the judge's, which `quality_source` names; None
    without one. `cached` says that the answer was given before.
    """

    id: str
    query: str
    text: str
    sources: tuple[Source, ...]
    route: Route
    confidence: float | None
    finish_reason: FinishReason
    session: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    draft: str | None = None
    quality: float | None = None
    quality_source: str = ""
    cached: bool = False

    def _repr_html_(self) -> str:
        from ruvllm.viz import response_html

        return response_html(self)


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a user said about one answer; something must be said, the rest may be missing.

    `rating` 1..5; `quality` in [0, 1]; `rater` who says it; `marks` maps the node id of a shown source to whether it
    helped.
    """

    rating: int | None = None
    quality: float | None = None
    task_success: bool | None = None
    correction: str | None = None
    rater: str = "local"
    marks: Mapping[int, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rating is not None and (isinstance(self.rating, bool) or self.rating not in (1, 2, 3, 4, 5)):
            raise ValueError(f"rating must be a whole number from 1 to 5 ({self.rating!r})")
        if self.quality is not None:
            _require_share(self.quality, "quality")
        if self.task_success is not None and not isinstance(self.task_success, bool):
            raise TypeError(f"task_success must be True or False ({self.task_success!r})")
        if self.correction is not None and not isinstance(self.correction, str):
            raise TypeError(f"correction must be a str, not {type(self.correction).__name__}")
        if self.correction is not None and not self.correction.strip():
            raise ValueError("correction must not be empty")
        _require_name(self.rater, "rater")
        if not isinstance(self.marks, Mapping):
            raise TypeError(f"marks must be a mapping, not {type(self.marks).__name__}")
        for node, helped in self.marks.items():
            if isinstance(node, bool) or not isinstance(node, int) or not isinstance(helped, bool):
                raise TypeError(f"marks must map node ids to True or False ({node!r}: {helped!r})")
        said = (self.rating, self.quality, self.task_success, self.correction)
        if not self.marks and all(value is None for value in said):
            raise ValueError("feedback needs at least one of rating, quality, task_success, correction, marks")


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier exchange of a session, oldest first where several come."""

    query: str
    answer: str
    created: float


@dataclass(frozen=True, slots=True, eq=False)
class Interaction:
    """One answered request as memory keeps it; vectors are native (unprojected) unit vectors, or None."""

    id: str
    query: str
    answer: str
    namespace: str
    session: str | None
    created: float
    source_ids: tuple[int, ...]
    used_ids: tuple[int, ...]
    route: Route
    confidence: float | None
    finish_reason: FinishReason
    timings_ms: Mapping[str, float]
    query_vector: np.ndarray | None = None
    answer_vector: np.ndarray | None = None
    outcome: TierOutcome | None = None  # of the tier that answered
    decision: Decision | None = None  # None where there was no choice
    quality: float | None = None  # in [0, 1], a judge's; None without one
    quality_source: str = ""
    judge_score: float | None = None  # in [0, 1], before calibration: what a calibration learns from
    prompt: tuple[Message, ...] = ()  # what the model was sent; empty where none was asked
    shown_texts: tuple[str, ...] = ()  # of source_ids, as they stand in the prompt
    failures: tuple[str, ...] = ()  # what went wrong on the way to the answer


@dataclass(frozen=True, slots=True)
class DocumentFailure:
    """A document that could not be ingested, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest did; every document is counted once."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    chunks: int = 0
    failures: tuple[DocumentFailure, ...] = ()
    seconds: float = 0.0

    def _repr_html_(self) -> str:
        from ruvllm.viz import report_html

        return report_html(self)


class Embedder(Protocol):
    """Text to unit vectors of the model's own dimension; those of different ids cannot be compared."""

    id: str
    native_dim: int

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, native_dim) float32 unit vectors; empty text is a ValueError."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text is, special tokens not counted."""
        ...


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _require_share(value: object, name: str) -> None:
    if not (_is_number(value) and 0.0 <= value <= 1.0):  # type: ignore[operator]
        raise ValueError(f"{name} must be in [0, 1] ({value!r})")


def _require_name(value: object, name: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a name that is not empty ({value!r})")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"{name} holds a lone surrogate ({value!r})")


def _require_measures(one: TierEstimate | TierOutcome) -> None:
    if one.quality is not None:
        _require_share(one.quality, "quality")
    for name in ("latency_ms", "cost"):
        value = getattr(one, name)
        if value is not None and not (_is_number(value) and value >= 0.0):
            raise ValueError(f"{name} must be >= 0 ({value!r})")
