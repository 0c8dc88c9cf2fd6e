"""The 128 numbers a route is chosen by: named, versioned, each with its range and what it is computed from.

Where a slot differs from the first sketch of the design: `typicality` stands for the vector's norm, which is 1 for
every encoder here; the four roles share their neighbours, so how near those are, how far quality spreads among them and
how far the largest tier leads stand once, and each role has two views by meaning (few near, many) and one by words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from ruvllm.router.embedding_map import NUM_CLUSTERS, NUM_COMPONENTS, EmbeddingMap
from ruvllm.router.outcome_memory import Evidence
from ruvllm.router.text_traits import TEXT_TRAITS, text_traits

__all__ = [
    "FEATURES",
    "FEATURE_VERSION",
    "GROUPS",
    "NUM_FEATURES",
    "ROLES",
    "Feature",
    "Features",
    "Limits",
    "Machine",
    "ProbeView",
    "Retrieved",
    "RouterInputs",
    "feature_rows",
    "features",
]

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

FEATURE_VERSION: Final = 2
"""Raised whenever a slot, or what is told of a tier beside the slots, is another number for some input."""

NUM_FEATURES: Final = 128
LIMIT: Final = 4.0  # of a scaled feature, on either side

ROLES: Final = ("smallest", "default", "best", "largest")
"""Tiers that outcomes are told for; `best` is the one whose neighbours did best, the cheaper of equals. With two tiers
roles coincide, and all are filled."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One slot. Its value is (raw - centre) / scale, clipped to [low, high].

    Attributes:
        source: what the raw number is computed from.
    """

    name: str
    group: str
    low: float
    high: float
    source: str
    centre: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Retrieved:
    """The m nodes that retrieval found, best first; m may be 0.

    Attributes:
        similarities: (m,) cosines to the question.
        hops: (m,) int, steps from a node that was found directly: 0 for one of those.
        weights: (m,) >= 0, how attention weighs them.
        is_concept: (m,) bool, whether a node was derived from others.
        num_edges: among them.
        vectors: (m, dim) unit rows; None when not at hand.
    """

    similarities: Floats
    hops: npt.NDArray[np.int64]
    weights: Floats
    is_concept: Flags
    num_edges: int = 0
    vectors: Floats | None = None


@dataclass(frozen=True, slots=True)
class ProbeView:
    """The question as the smallest local tier reads it, and its first answer token.

    Attributes:
        top_probability: of the likeliest first token, in [0, 1].
        margin: its lead over the second, in [0, 1].
        entropy: of the first token, in nats.
        mean_logprob: of the question's own tokens, in nats.
        num_tokens: of the question that were read.
    """

    top_probability: float
    margin: float
    entropy: float
    mean_logprob: float
    num_tokens: int


class Limits(Protocol):
    """What a request may take; None means no limit."""

    @property
    def max_latency_ms(self) -> float | None: ...
    @property
    def max_cost(self) -> float | None: ...
    @property
    def privacy(self) -> Literal["any", "local"]: ...
    @property
    def min_quality(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Machine:
    """The state of this machine.

    Attributes:
        free_memory: share in [0, 1].
        load: runnable threads a core, >= 0.
        num_cores: >= 1.
        has_accelerator: whether a GPU can be used.
    """

    free_memory: float
    load: float
    num_cores: int
    has_accelerator: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class RouterInputs:
    """What a request has when it is routed; None for what does not exist.

    Attributes:
        text: the question, choices included.
        turn_index: turns before this one in the session.
        user_questions: questions this user asked before.
        vector: (native_dim,) float32.
        evidence: of one question, from `OutcomeMemory.near`.
        default_tier: the safe default; the largest when None.
    """

    text: str
    turn_index: int = 0
    user_questions: int = 0
    vector: Floats | None = None
    retrieved: Retrieved | None = None
    evidence: Evidence | None = None
    default_tier: int | None = None
    probe: ProbeView | None = None
    constraints: Limits | None = None
    machine: Machine | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The slots of one request.

    Attributes:
        values: (128,) float32, finite, each within its range; mostly in [-2, 2]. An absent one is 0.
        present: (128,) bool, whether the input exists.
    """

    values: Floats
    present: Flags


# name, centre, scale, source
_Slots = Sequence[tuple[str, float, float, str]]

_EMBEDDING: Final[_Slots] = (
    *((f"component_{i}", 0.0, 1.0, f"principal component {i}, of variance 1") for i in range(NUM_COMPONENTS)),
    ("typicality", 0.3, 0.15, "cosine of the vector to the mean of the brain's"),
    ("vector_entropy", 0.88, 0.02, "entropy of the vector's squared entries over log(dim)"),
    *((f"cluster_{i}", 0.3, 0.2, f"cosine of the vector to centre {i} of the brain") for i in range(NUM_CLUSTERS)),
)

_RETRIEVAL: Final[_Slots] = (
    ("log_retrieved", 2.0, 1.0, "log(1 + nodes found)"),
    ("similarity_mean", 0.4, 0.15, "mean cosine"),
    ("similarity_std", 0.1, 0.06, "standard deviation of the cosines"),
    ("similarity_min", 0.3, 0.15, "smallest cosine"),
    ("similarity_max", 0.6, 0.15, "largest cosine"),
    ("similarity_median", 0.4, 0.15, "median cosine"),
    ("similarity_gap", 0.05, 0.08, "largest cosine minus the second"),
    ("similarity_lead", 0.2, 0.1, "largest cosine minus the mean"),
    ("similarity_entropy", 0.9, 0.1, "entropy of the softmax of 10 x cosines, over log(nodes)"),
    ("close_share", 0.3, 0.3, "share of nodes with a cosine above 0.5"),
    ("hops_mean", 0.3, 0.5, "mean hops"),
    ("hops_max", 1.0, 1.0, "largest number of hops"),
    ("direct_share", 0.7, 0.3, "share of nodes found directly"),
    ("density", 0.1, 0.15, "edges over pairs of nodes"),
    ("log_edges_a_node", 0.5, 0.5, "log(1 + edges / nodes)"),
    ("coherence", 0.4, 0.2, "mean cosine between nodes"),
    ("coherence_min", 0.1, 0.2, "smallest cosine between nodes"),
    *((f"weight_{i}", 0.4 / (i + 1), 0.2, f"share of attention on its number {i + 1}") for i in range(5)),
    ("weight_entropy", 0.8, 0.2, "entropy of the attention over log(nodes)"),
    ("weight_similarity", 0.5, 0.2, "cosine averaged by attention"),
    ("top_weight_similarity", 0.5, 0.2, "cosine of the node with most attention"),
    ("concept_share", 0.2, 0.3, "share of nodes that are concepts"),
    ("concept_weight", 0.2, 0.3, "share of attention on concepts"),
    ("concept_similarity", 0.3, 0.3, "largest cosine of a concept; 0 without one"),
)

_OUTCOMES: Final[_Slots] = (
    *(
        slot
        for role in ROLES
        for slot in (
            (f"{role}_near_quality", 0.6, 0.2, f"quality of the {role} tier on the few nearest logged questions"),
            (f"{role}_broad_quality", 0.6, 0.15, f"quality of the {role} tier on many near logged questions"),
            (f"{role}_lexical_quality", 0.6, 0.2, f"quality of the {role} tier on those that share rare words"),
            (f"{role}_log_latency", 7.0, 1.5, f"log of milliseconds of the {role} tier on near logged questions"),
            (f"{role}_log_count", 3.0, 1.2, f"log(1 + effective number of outcomes of the {role} tier)"),
        )
    ),
    ("nearest_similarity", 0.6, 0.15, "cosine of the nearest logged question"),
    ("nearest_lexical", 0.25, 0.15, "share of its own BM25 score that the nearest by words reaches"),
    ("largest_lead", 0.1, 0.1, "quality of the largest tier minus the smallest's, over the three views"),
    ("quality_spread", 0.4, 0.1, "standard deviation of quality among near questions, mean over tiers"),
)

_PROBE: Final[_Slots] = (
    ("probe_top_probability", 0.5, 0.25, "probability of the likeliest first token"),
    ("probe_log_odds", 0.0, 2.0, "log odds of it"),
    ("probe_margin", 0.3, 0.25, "its lead over the second"),
    ("probe_entropy", 2.0, 1.5, "entropy of the first token, nats"),
    ("probe_log_perplexity", 3.0, 1.0, "minus the mean log probability of the question's tokens"),
    ("probe_certainty", 0.3, 0.3, "exp(-entropy)"),
    ("probe_log_tokens", 3.5, 0.7, "log(1 + tokens read)"),
    ("probe_is_sure", 0.5, 0.5, "probability of the likeliest first token above a half"),
)

_CONSTRAINTS: Final[_Slots] = (
    ("log_latency_budget", 7.0, 1.5, "log of the milliseconds allowed"),
    ("log_cost_budget", -7.0, 3.0, "log of the cost allowed"),
    ("min_quality", 0.7, 0.2, "quality asked for"),
    ("is_private", 0.5, 0.5, "the question may not leave this machine"),
    ("free_memory", 0.5, 0.25, "share of memory that is free"),
    ("load", 0.5, 0.5, "runnable threads a core"),
    ("log_cores", 2.0, 1.0, "log(cores)"),
    ("has_accelerator", 0.5, 0.5, "a GPU can be used"),
)

_TABLES: Final[Mapping[str, _Slots]] = {
    "query": TEXT_TRAITS,
    "embedding": _EMBEDDING,
    "retrieval": _RETRIEVAL,
    "outcomes": _OUTCOMES,
    "probe": _PROBE,
    "constraints": _CONSTRAINTS,
}

FEATURES: Final = tuple(
    Feature(name, group, -LIMIT, LIMIT, source, centre, scale)
    for group, slots in _TABLES.items()
    for name, centre, scale, source in slots
)
"""The slots, in order."""

GROUPS: Final[Mapping[str, slice]] = MappingProxyType(
    {
        "query": slice(0, 32),
        "embedding": slice(32, 60),
        "retrieval": slice(60, 88),
        "outcomes": slice(88, 112),
        "probe": slice(112, 120),
        "constraints": slice(120, 128),
    }
)

_CENTRE: Final = np.array([feature.centre for feature in FEATURES], np.float32)
_SCALE: Final = np.array([feature.scale for feature in FEATURES], np.float32)


def features(inputs: RouterInputs, embedding_map: EmbeddingMap | None = None) -> Features:
    """Return the features of one request.

    Args:
        embedding_map: None when there is none yet; the embedding slots are absent then.

    Raises:
        ValueError: an array of the wrong shape, a vector with a NaN, a default tier that is none.
    """
    raw = np.full((1, NUM_FEATURES), np.nan, np.float32)  # NaN where a slot is absent
    raw[0, GROUPS["query"]] = text_traits(
        inputs.text, turn_index=inputs.turn_index, user_questions=inputs.user_questions
    )
    if inputs.vector is not None and embedding_map is not None:
        raw[:, GROUPS["embedding"]] = embedding_map.place(np.asarray(inputs.vector)[np.newaxis])
    if inputs.retrieved is not None:
        raw[0, GROUPS["retrieval"]] = _of_retrieved(inputs.retrieved)
    if inputs.evidence is not None:
        raw[:, GROUPS["outcomes"]] = _of_evidence(inputs.evidence.rows(), inputs.default_tier)
    if inputs.probe is not None:
        raw[0, GROUPS["probe"]] = _of_probe(inputs.probe)
    raw[0, GROUPS["constraints"]] = _of_constraints(inputs.constraints, inputs.machine)
    values, present = _scaled(raw)
    return Features(values[0], present[0])


def feature_rows(
    texts: Sequence[str],
    vectors: Floats | None = None,
    evidence: Evidence | None = None,
    embedding_map: EmbeddingMap | None = None,
    *,
    probes: Sequence[ProbeView] | None = None,
    default_tier: int | None = None,
) -> tuple[Floats, Flags]:
    """Return values and presence, both (n, 128), of n questions of which nothing else is known.

    Args:
        vectors: (n, native_dim).
        evidence: of n questions, from `OutcomeMemory.near_many` or `near_rows`.
    """
    raw = np.full((len(texts), NUM_FEATURES), np.nan, np.float32)
    for row, text in zip(raw, texts, strict=True):
        row[GROUPS["query"]] = text_traits(text)
    if vectors is not None and embedding_map is not None:
        raw[:, GROUPS["embedding"]] = embedding_map.place(vectors)
    if evidence is not None:
        raw[:, GROUPS["outcomes"]] = _of_evidence(evidence, default_tier)
    for row, probe in zip(raw, probes or (), strict=probes is not None):
        row[GROUPS["probe"]] = _of_probe(probe)
    return _scaled(raw)


def _scaled(raw: Floats) -> tuple[Floats, Flags]:
    present = ~np.isnan(raw)
    values = np.clip((raw - _CENTRE) / _SCALE, -LIMIT, LIMIT)
    return np.where(present, values, np.float32(0.0)), present


def _of_retrieved(found: Retrieved) -> Floats:
    raw = np.full(len(_RETRIEVAL), np.nan, np.float32)
    m = len(found.similarities)
    for name in ("hops", "weights", "is_concept"):
        if getattr(found, name).shape != (m,):
            raise ValueError(f"{name} must have one entry a node, ({m},) ({getattr(found, name).shape})")
    if found.vectors is not None and (found.vectors.ndim != 2 or len(found.vectors) != m):
        raise ValueError(f"vectors must have one row a node, ({m}, dim) ({found.vectors.shape})")
    raw[0] = np.log1p(m)
    if not m:
        return raw
    cosines = np.sort(found.similarities)[::-1]
    soft = np.exp(10.0 * (found.similarities - cosines[0]))
    total = float(found.weights.sum())
    weights = found.weights / total if total > 0.0 else np.full(m, 1.0 / m, np.float32)
    top = np.zeros(5, np.float32)
    top[: min(m, 5)] = np.sort(weights)[::-1][:5]
    concepts = np.asarray(found.is_concept, np.bool_)
    raw[1:] = (
        cosines.mean(),
        cosines.std(),
        cosines[-1],
        cosines[0],
        np.median(cosines),
        cosines[0] - cosines[1] if m > 1 else np.nan,
        cosines[0] - cosines.mean(),
        _relative_entropy(soft / soft.sum()),
        (cosines > 0.5).mean(),
        found.hops.mean(),
        found.hops.max(),
        (found.hops == 0).mean(),
        found.num_edges / (m * (m - 1) / 2) if m > 1 else np.nan,
        np.log1p(found.num_edges / m),
        *_coherence(found.vectors),
        *top,
        _relative_entropy(weights),
        weights @ found.similarities,
        found.similarities[weights.argmax()],
        concepts.mean(),
        weights[concepts].sum(),
        found.similarities[concepts].max() if concepts.any() else 0.0,
    )
    return raw


def _coherence(vectors: Floats | None) -> tuple[float, float]:
    """Return mean and smallest cosine between different rows; NaN when there are no two."""
    if vectors is None or len(vectors) < 2:
        return np.nan, np.nan
    cosines = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
    return float(cosines.mean()), float(cosines.min())


def _relative_entropy(shares: Floats) -> float:
    """Return the entropy of shares that sum to 1 over that of equal ones; NaN of fewer than two."""
    if len(shares) < 2:
        return np.nan
    return float(-(shares * np.log(shares + 1e-12)).sum() / np.log(len(shares)))


def _of_evidence(evidence: Evidence, default_tier: int | None) -> Floats:
    """Return the (n, 24) outcome slots of n questions; NaN where a tier has no outcome or the memory is empty."""
    n, num_tiers = evidence.broad_quality.shape
    default = num_tiers - 1 if default_tier is None else default_tier
    if not 0 <= default < num_tiers:
        raise ValueError(f"default_tier must be a tier in [0, {num_tiers}) ({default_tier})")
    columns = np.empty((n, num_tiers, 5), np.float32)
    columns[..., 0], columns[..., 1] = evidence.near_quality, evidence.broad_quality
    columns[..., 2], columns[..., 3] = evidence.lexical_quality, np.log(evidence.latency_ms)
    columns[..., 4] = np.log1p(evidence.count)
    means = columns[..., :3].mean(axis=2)  # (n, T), NaN where a tier has no outcome
    is_known = means == means
    columns[~is_known, 4] = np.nan
    best = np.where(is_known, means, -np.inf).argmax(axis=1)
    raw = np.empty((n, len(_OUTCOMES)), np.float32)
    for place, tier in enumerate((0, default, best, num_tiers - 1)):
        raw[:, 5 * place : 5 * place + 5] = columns[np.arange(n), tier]
    raw[:, 20], raw[:, 21] = evidence.nearest_similarity, evidence.nearest_lexical
    raw[:, 22] = means[:, -1] - means[:, 0]
    num_known = is_known.sum(axis=1)
    raw[:, 23] = np.where(is_known, evidence.spread, 0.0).sum(axis=1) / np.maximum(num_known, 1)
    raw[num_known == 0, 20:] = np.nan
    return raw


def _of_probe(probe: ProbeView) -> tuple[float, ...]:
    top = float(np.clip(probe.top_probability, 1e-6, 1.0 - 1e-6))
    return (
        probe.top_probability,
        float(np.log(top / (1.0 - top))),
        probe.margin,
        probe.entropy,
        -probe.mean_logprob,
        float(np.exp(-probe.entropy)),
        float(np.log1p(max(probe.num_tokens, 0))),
        float(probe.top_probability > 0.5),
    )


def _of_constraints(limits: Limits | None, machine: Machine | None) -> Floats:
    raw = np.full(len(_CONSTRAINTS), np.nan, np.float32)
    if limits is not None:
        if limits.max_latency_ms is not None:
            raw[0] = np.log(max(limits.max_latency_ms, 1.0))
        if limits.max_cost is not None:
            raw[1] = np.log(max(limits.max_cost, 1e-9))
        if limits.min_quality is not None:
            raw[2] = limits.min_quality
        raw[3] = limits.privacy == "local"
    if machine is not None:
        raw[4:] = machine.free_memory, machine.load, np.log(max(machine.num_cores, 1)), machine.has_accelerator
    return raw
