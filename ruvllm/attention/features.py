"""What graph attention sees: a question's candidates as nodes with features, and a PageRank prior over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ruvllm import kernels
from ruvllm.types import EdgeType

__all__ = ["EDGE_TYPES", "FEATURES", "QUESTION_FEATURES", "Candidates", "node_features", "pagerank_prior"]

Floats = npt.NDArray[np.float32]

EDGE_TYPES = tuple(EdgeType)
"""Edge types in the order of their codes in the graph."""

_GROUPS: dict[str, tuple[EdgeType, ...]] = {
    "cites": (EdgeType.CITES,),
    "shared": (EdgeType.SHARED_NAME, EdgeType.SAME_TOPIC),
    "order": (EdgeType.FOLLOWS, EdgeType.AGENT_STEP),
    "part": (EdgeType.CONTAINS, EdgeType.DERIVED),
}
_WAYS = [(name, way) for name in _GROUPS for way in ("out", "in")]
_WAY_OF = np.full((len(EDGE_TYPES), 2), len(_WAYS), np.uint8)  # place in _WAYS by type and direction; the end: in none
for _place, (_name, _way) in enumerate(_WAYS):
    for _type in _GROUPS[_name]:
        _WAY_OF[EDGE_TYPES.index(_type), ("out", "in").index(_way)] = _place
_CITES_IN, _ORDER = _WAYS.index(("cites", "in")), slice(_WAYS.index(("order", "out")), _WAYS.index(("order", "in")) + 1)

FEATURES: tuple[str, ...] = (
    "log_prior",
    "similarity",
    "keyword",
    "both",
    "fused",
    "named",
    *(f"{name}_{way}_{what}" for name, way in _WAYS for what in ("named", "score")),
    "cites_in_twice",
    "order_twice",
    "log_out",
    "log_in",
    "rest",
    "speaker",
    "place",
)
"""The columns of `node_features`. "out" is what the node leads to, "in" what leads to it."""

_COLUMN = {name: column for column, name in enumerate(FEATURES)}
_NEAR = slice(_COLUMN["cites_out_named"], _COLUMN["cites_in_twice"])

QUESTION_FEATURES = ("one", "names", "words", "best_similarity", "gap", "spread")


# What follows was found by random search on one half of 2Wiki, HotpotQA (each with and without titles), XQuAD, PubMedQA
# and LoCoMo together, rounded, and held on the other half.
_TYPE_WEIGHT = {
    EdgeType.CITES: 1.0,
    EdgeType.DERIVED: 1.0,
    EdgeType.FOLLOWS: 0.6,
    EdgeType.AGENT_STEP: 0.6,
    EdgeType.CONTAINS: 0.5,
    EdgeType.SAME_TOPIC: 0.2,
    EdgeType.SHARED_NAME: 0.1,
}
TYPE_WEIGHTS = np.array([_TYPE_WEIGHT[type] for type in EDGE_TYPES], np.float32)
"""What a walk follows when nothing was learnt: the factor of each type's edges."""

DAMPING = 0.65
STAY_WEIGHT = 1.0  # of an edge from each node to itself: weak links move little
FORWARD = 2.4  # how much rather an edge is followed in its own direction than against it
_BY_DIRECTION = np.array([FORWARD, 1.0], np.float32)
HUBNESS = 0.8  # an edge counts (1 + edges that reach its end)^-HUBNESS: what all mention says little
RELEVANCE = 0.25  # how strongly a walk prefers nodes near the question: exp(RELEVANCE z), z the standardised cosine
STARTS = 12  # best candidates at which the walk may start
SHARPNESS = 11.5  # of the start: exp(SHARPNESS score)
SPOKEN = 0.1  # added to the cosine where the question names who spoke
KEYWORD_WEIGHT = 0.6  # of BM25 relative to the best, beside the cosine, in that score
NAMED_SHARE = 0.4  # of the start that nodes have which the question calls by name

FLOOR = 1e-4  # of a prior, so that its logarithm is finite


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The nodes that may answer a question, n of them, and the edges among them.

    Attributes:
        graph: subgraph of these nodes, edges seen from both ends.
        degrees: (n, 2) edges that leave and reach a node in the whole graph.
        similarity: (n,) cosine to the question.
        keyword: (n,) BM25 relative to the best, in [0, 1].
        fused: (n,) 1 / (2 + rank) for those that vectors and words rank first together, else 0.
        named: (n,) weight of those the question calls by name, in [0, 1].
        rest: (n,) of neighbours of the strongest nodes: cosine to what the question asks beyond those.
        speaker: (n,) 1 where the question names who spoke.
        place: (n,) int64, equal for nodes of one document.
        trust: (n,) in [0, 1]; nothing spreads from a node without trust.
    """

    graph: kernels.Subgraph
    degrees: npt.NDArray[np.int64]
    similarity: Floats
    keyword: Floats
    fused: Floats
    named: Floats
    rest: Floats
    speaker: Floats
    place: npt.NDArray[np.int64]
    trust: Floats
    num_words: int

    def __len__(self) -> int:
        return len(self.similarity)


def pagerank_prior(candidates: Candidates, type_bias: Floats | None = None) -> Floats:
    """Return the chance, (n,) summing to 1, that a walk from what the question names and resembles is at a node.

    Args:
        type_bias: (num_types,) added to the logarithm of each type's weight.
    """
    graph, near = candidates.graph, _nearness(candidates)
    relevance = np.exp(RELEVANCE * np.clip((near - near.mean()) / (near.std() + 1e-6), -3.0, 3.0))
    hubness = (1.0 + candidates.degrees[:, 1]) ** -HUBNESS
    appeal = (relevance * hubness).astype(np.float32)
    type_weights = TYPE_WEIGHTS if type_bias is None else TYPE_WEIGHTS * np.exp(np.clip(type_bias, -2.0, 2.0))
    ranks, _ = kernels.pagerank(
        graph.indptr,
        graph.indices,
        graph.weights * appeal[graph.indices] * _BY_DIRECTION[graph.directions],
        _start(candidates),
        damping=DAMPING,
        stay=STAY_WEIGHT,
        types=graph.types,
        type_weights=type_weights,
    )
    return ranks


def _nearness(candidates: Candidates) -> Floats:
    """Return (n,) float32, the cosine to the question, and more where it names who spoke."""
    return candidates.similarity + np.float32(SPOKEN) * candidates.speaker


def _start(candidates: Candidates) -> Floats:
    """Return where the walk starts, (n,) summing to 1: at the best by score, and at what the question names."""
    near = _nearness(candidates)
    score = near - near.max() + KEYWORD_WEIGHT * (candidates.keyword - 1.0)
    start = np.exp(SHARPNESS * score) * candidates.trust
    if not start.any():
        start = np.ones_like(start)
    if len(start) > STARTS:
        start[start < np.partition(start, -STARTS)[-STARTS]] = 0.0
    start /= start.sum()
    named = candidates.named * np.exp(score)
    if named.any():
        start = (1.0 - NAMED_SHARE) * start + NAMED_SHARE * named / named.sum()
    return np.asarray(start, np.float32)


def node_features(candidates: Candidates, prior: Floats) -> Floats:
    """Return (n, len(FEATURES)) float32, each column of about unit scale."""
    graph, n = candidates.graph, len(candidates)
    score = (candidates.similarity - candidates.similarity.max() + 1.0).clip(0.0) + 0.5 * candidates.keyword
    named = (candidates.named > 0.0).astype(np.float32)
    columns: dict[str, Floats] = {
        "log_prior": np.log(prior + FLOOR),
        "similarity": 4.0 * (candidates.similarity - candidates.similarity.max()),
        "keyword": 2.0 * candidates.keyword,
        "both": 2.0 * candidates.keyword * candidates.similarity,
        "fused": 4.0 * candidates.fused,
        "named": 2.0 * named,
        "log_out": 0.5 * np.log1p(candidates.degrees[:, 0]).astype(np.float32),
        "log_in": 0.5 * np.log1p(candidates.degrees[:, 1]).astype(np.float32),
        "rest": 4.0 * candidates.rest,
        "speaker": candidates.speaker,
        "place": _best_of_place(candidates.place, score),
    }
    ways = _WAY_OF[graph.types, graph.directions]
    near = _near(graph, ways, 2.0 * named, score)
    best = near[:, :, 1]  # score
    twice = _near(graph, ways, best[:, _CITES_IN], best[:, _ORDER].max(axis=1))
    columns["cites_in_twice"] = twice[:, _CITES_IN, 0]
    columns["order_twice"] = twice[:, _ORDER, 1].max(axis=1)
    features = np.empty((n, len(FEATURES)), np.float32)
    features[:, _NEAR] = near.reshape(n, -1)
    for name, values in columns.items():
        features[:, _COLUMN[name]] = values
    return features


def _near(graph: kernels.Subgraph, ways: npt.NDArray[np.uint8], *values: Floats) -> Floats:
    """Return (n, len(_WAYS), len(values)), the largest values of the nodes that each leads to or is led to by."""
    stacked = np.stack(values, axis=1)
    return kernels.neighbour_maxima(graph.indptr, graph.indices, ways, stacked, num_groups=len(_WAYS))


def question_features(candidates: Candidates) -> Floats:
    """Return (len(QUESTION_FEATURES),) float32, what sort of question it is."""
    best = np.sort(candidates.similarity)[::-1]
    return np.array(
        [
            1.0,
            min(int(np.count_nonzero(candidates.named)), 4) / 2.0,
            float(np.log1p(candidates.num_words)) / 2.0,
            best[0],
            4.0 * (best[0] - best[min(4, len(best) - 1)]),
            4.0 * float(candidates.similarity.std()),
        ],
        np.float32,
    )


def _best_of_place(place: npt.NDArray[np.int64], score: Floats) -> Floats:
    """Return for each node the mean score of the candidates in its document, beside itself."""
    _, where, counts = np.unique(place, return_inverse=True, return_counts=True)
    total = np.bincount(where, score)
    others = counts[where] - 1
    return np.asarray((total[where] - score) / np.maximum(others, 1), np.float32)
