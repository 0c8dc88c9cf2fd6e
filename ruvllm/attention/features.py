"""What graph attention sees: a question's candidates as nodes with features, and a PageRank prior over them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ruvllm import kernels
from ruvllm.types import EdgeType

__all__ = [
    "EDGE_TYPES",
    "FEATURES",
    "QUESTION_FEATURES",
    "Candidates",
    "node_features",
    "pagerank_prior",
    "question_features",
    "type_weights",
]

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
_SAME_TOPIC = EDGE_TYPES.index(EdgeType.SAME_TOPIC)
_CITES_IN, _ORDER = _WAYS.index(("cites", "in")), _WAYS.index(("order", "out"))  # and the way in comes next

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
HUBNESS = 0.8  # an edge counts (1 + edges that reach its end)^-HUBNESS: what all mention says little
RELEVANCE = 0.25  # how strongly a walk prefers nodes near the question: exp(RELEVANCE z), z the standardised cosine
STARTS = 12  # best candidates at which the walk may start
SHARPNESS = 11.5  # of the start: exp(SHARPNESS score)
KEYWORD_WEIGHT = 0.6  # of BM25 relative to the best, beside the cosine, in that score
NAMED_SHARE = 0.4  # of the start that nodes have which the question calls by name

# Chosen one by one on one half of the same sets, CLINC150 and Banking77 (LoCoMo by dialogues), the other half in sight.
BESIDE = np.array([0.3 if type in _GROUPS["order"] else 0.0 for type in EDGE_TYPES], np.float32)
"""What the cosine of what stands right before or after a text counts beside its own, by type of the edge."""

SPOKEN, DATED = 0.12, 0.2  # added to the cosine where the question names who spoke, and when
AMONG_TURNS = 0.25  # of the weight of SameTopic where all candidates are turns, which are mostly alike as small talk is
SAYS_LITTLE = 0.08  # taken off the cosine for each e-fold by which a turn is shorter than LONG
SHORT, LONG = 50, 400  # characters added to each text, so that one word is not endlessly short; longer counts as long

# What says nearly the same as the question needs no name to be found, and short utterances share their words. Chosen on
# CLINC150, where 25 candidates share them (median; 1 to 9 on the sets above), so that the sets above lose nothing.
NEAR, NEAREST = 0.7, 0.9  # largest cosine: names count less and less from the one on, and nothing from the other
SHARED = 15  # candidates whose words count in full, though as many have them; from NEAREST on one
SHARED_RELEVANCE = 0.5  # BM25 relative to the best, of which a candidate has the question's words

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
        dated: (n,) 1 where the question names the date.
        place: (n,) int64, equal for nodes of one document.
        length: (n,) characters of a turn of a dialogue; inf for other texts, of which brevity says nothing.
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
    dated: Floats
    place: npt.NDArray[np.int64]
    length: Floats
    trust: Floats
    num_words: int

    def __len__(self) -> int:
        return len(self.similarity)


def type_weights(bias: Floats) -> Floats:
    """Return what a walk follows, the factor of each type's edges, where `bias`, (num_types,), was learnt of them."""
    return np.asarray(TYPE_WEIGHTS * np.exp(np.clip(bias, -2.0, 2.0)), np.float32)


def pagerank_prior(candidates: Candidates, followed: Floats = TYPE_WEIGHTS) -> Floats:
    """Return the chance, (n,) summing to 1, that a walk from what the question names and resembles is at a node.

    Args:
        followed: (num_types,) the factor of each type's edges.
    """
    left = min((NEAREST - min(float(candidates.similarity.max()), NEAREST)) / (NEAREST - NEAR), 1.0)
    sharing = int(np.count_nonzero(candidates.keyword > SHARED_RELEVANCE))
    turns = np.count_nonzero(np.isfinite(candidates.length)) / len(candidates)
    bonus = SPOKEN * candidates.speaker + DATED * candidates.dated
    if turns:
        bonus -= SAYS_LITTLE * left * np.log((LONG + SHORT) / (np.minimum(candidates.length, LONG) + SHORT))
        followed = followed.copy()
        followed[_SAME_TOPIC] *= 1.0 - (1.0 - AMONG_TURNS) * turns
    return kernels.walk_prior(
        candidates.graph,
        candidates.degrees,
        similarity=candidates.similarity,
        bonus=bonus,
        keyword=candidates.keyword,
        named=candidates.named,
        trust=candidates.trust,
        type_weights=followed,
        beside=BESIDE,
        relevance=RELEVANCE,
        forward=FORWARD,
        hubness=HUBNESS,
        sharpness=SHARPNESS,
        keyword_weight=KEYWORD_WEIGHT * min(max(SHARED * left, 1.0) / max(sharing, 1), 1.0),
        named_share=NAMED_SHARE * left,
        starts=STARTS,
        damping=DAMPING,
        stay=STAY_WEIGHT,
    )


def node_features(candidates: Candidates, prior: Floats) -> Floats:
    """Return (n, len(FEATURES)) float32, each column of about unit scale, as `kernels.candidate_features` says."""
    return kernels.candidate_features(
        candidates.graph,
        candidates.degrees,
        prior=prior,
        similarity=candidates.similarity,
        keyword=candidates.keyword,
        fused=candidates.fused,
        named=candidates.named,
        rest=candidates.rest,
        speaker=candidates.speaker,
        place=candidates.place,
        way_of=_WAY_OF,
        num_ways=len(_WAYS),
        cites_in=_CITES_IN,
        order=_ORDER,
        floor=FLOOR,
    )


def question_features(candidates: Candidates) -> Floats:
    """Return (len(QUESTION_FEATURES),) float32, what sort of question it is."""
    similarity = candidates.similarity
    best = np.sort(similarity)[:-6:-1]
    centred = similarity - similarity.sum() / len(similarity)
    return np.array(
        [
            1.0,
            min(int(np.count_nonzero(candidates.named)), 4) / 2.0,
            float(np.log1p(candidates.num_words)) / 2.0,
            best[0],
            4.0 * (best[0] - best[-1]),
            4.0 * math.sqrt(centred.dot(centred) / len(centred)),  # as std(), in a third of the time
        ],
        np.float32,
    )
