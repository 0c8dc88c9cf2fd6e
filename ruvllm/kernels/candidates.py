"""The candidates of a question: how near they are, where a walk among them leads, what ranking sees of each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ruvllm.kernels.graph import Subgraph
from ruvllm.kernels.loaded import core

__all__ = ["candidate_features", "nearness", "walk_prior"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


def nearness(
    graph: Subgraph, vectors: Floats, known: Ids, question: Floats, *, num_strong: int
) -> tuple[Floats, Floats]:
    """Return how near each candidate is to a question, and to what it asks beyond the strongest, (n,) float32 each.

    The first is the inner product with the question, 0 without a vector. Each strong candidate s leaves of the question
    q - (q . v_s) v_s, made a unit vector; the second is the largest of 0 and the inner products of a candidate's vector
    with what those strong ones leave that it is linked to.

    Args:
        graph: n nodes, each link seen from both ends.
        vectors: (m, dim) float32.
        known: (m,) int64, ascending places in [0, n): whose vectors these are.
        question: (dim,) float32.
        num_strong: how many of the first candidates are the strongest, >= 0.

    Raises:
        ValueError: a wrong dtype or shape, a number out of range or not finite.
    """
    return core.nearness(vectors, known, question, graph.indptr, graph.indices, num_strong)


def walk_prior(
    graph: Subgraph,
    degrees: Ids,
    *,
    similarity: Floats,
    bonus: Floats,
    keyword: Floats,
    named: Floats,
    trust: Floats,
    type_weights: Floats,
    beside: Floats,
    relevance: float,
    forward: float,
    hubness: float,
    sharpness: float,
    keyword_weight: float,
    named_share: float,
    starts: int,
    damping: float,
    stay: float,
) -> Floats:
    """Return the chance, (n,) float32 summing to 1, that a walk from what a question names and resembles is at a node.

    It is `pagerank`, to 1e-4, over links of weight w exp(relevance z) (1 + in)^-hubness, times `forward` in a link's
    own direction, z being the standardised nearness of where it leads, clipped to [-3, 3]. The walk starts at the
    `starts` largest trust exp(sharpness s), s = nearness less the largest + keyword_weight (keyword - 1); nodes that
    are named have the share named_share of it, by named exp(s). Nearness is bonus + the mean of the similarities of a
    node, which counts 1, and of its neighbours, each of which counts trust beside.

    Args:
        graph: n nodes, each link seen from both ends.
        degrees: (n, 2) int64 links that leave and reach a node in the whole graph.
        similarity: (n,) cosine to the question.
        bonus: (n,) finite.
        keyword: (n,) BM25 relative to the best.
        named, trust: (n,) in [0, 1].
        type_weights: (num_types,) the factor of each type's links.
        beside: (num_types,) >= 0, what a neighbour along a link of each type counts.

    Raises:
        ValueError: no nodes, a wrong dtype or shape, a number out of range or not finite.
    """
    return core.walk_prior(
        similarity, bonus, keyword, named, trust, degrees, graph.indptr, graph.indices, graph.weights, graph.types,
        graph.directions, type_weights, beside, relevance, forward, hubness, sharpness, keyword_weight, named_share,
        starts, damping, stay,
    )  # fmt: skip


def candidate_features(
    graph: Subgraph,
    degrees: Ids,
    *,
    prior: Floats,
    similarity: Floats,
    keyword: Floats,
    fused: Floats,
    named: Floats,
    rest: Floats,
    speaker: Floats,
    place: Ids,
    way_of: npt.NDArray[np.uint8],
    num_ways: int,
    cites_in: int,
    order: int,
    floor: float,
) -> Floats:
    """Return (n, 13 + 2 num_ways) float32 features, each of about unit scale.

    With score = max(0, similarity - best + 1) + keyword / 2 and called = 2 where named > 0, else 0, the columns are
    log(prior + floor), 4 (similarity - best), 2 keyword, 2 keyword similarity, 4 fused, called; for each way the
    largest `called` and the largest `score` of the nodes there, at least 0; the largest, along `cites_in`, of their own
    largest score along it, and the same along the two ways of `order`; log(1 + out) / 2, log(1 + in) / 2, 4 rest,
    speaker, and the mean score of the other nodes of the same place.

    Args:
        graph, degrees, similarity, keyword, named: as `walk_prior` takes them.
        speaker: (n,) 1 where the question names who spoke.
        prior: (n,) in [0, 1].
        fused, rest: (n,) finite.
        place: (n,) int64, equal for nodes of one document.
        way_of: (num_types, 2) uint8, the way of a link by type and direction; one of num_ways or more counts nowhere.
        cites_in, order: the way of what cites a node; the first of two that lead along an order.

    Raises:
        ValueError: no nodes, a wrong dtype or shape, a number out of range or not finite.
    """
    return core.candidate_features(
        prior, similarity, keyword, fused, named, rest, speaker, place, degrees, graph.indptr, graph.indices,
        graph.types, graph.directions, way_of, num_ways, cites_in, order, floor,
    )  # fmt: skip
