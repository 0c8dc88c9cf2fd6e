"""Why a hit was found: the way from what the question names or resembles to the node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ruvllm.attention import Candidates
from ruvllm.attention.features import EDGE_TYPES
from ruvllm.types import Explanation, Step

__all__ = ["Found", "explain"]

MAX_STEPS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What one search knew when it ranked."""

    candidates: Candidates
    prior: np.ndarray
    named: Mapping[int, float]
    strong: Sequence[int]
    keyword_rank: Mapping[int, int]


def explain(place: int, found: Found) -> Explanation:
    """Return how the walk came to the candidate at `place`: against the heaviest steps back to a node it started at."""
    graph, prior = found.candidates.graph, found.prior
    steps: list[Step] = []
    seen = {place}
    at = place
    while int(graph.ids[at]) not in found.named and int(graph.ids[at]) not in found.strong and len(steps) < MAX_STEPS:
        row = slice(graph.indptr[at], graph.indptr[at + 1])
        flow = prior[graph.indices[row]] * graph.weights[row]
        flow[np.isin(graph.indices[row], list(seen))] = 0.0
        if not len(flow) or flow.max() <= 0.0:
            break
        entry = int(graph.indptr[at] + flow.argmax())
        before = int(graph.indices[entry])
        outgoing = bool(graph.directions[entry])  # as seen from where the step starts
        type = EDGE_TYPES[graph.types[entry]]
        steps.append(Step(int(graph.ids[before]), int(graph.ids[at]), type, float(graph.weights[entry]), outgoing))
        seen.add(before)
        at = before
    return Explanation(tuple(reversed(steps)), _reason(at, found))


def _reason(place: int, found: Found) -> str:
    """Return in words why the walk started where it did."""
    node = int(found.candidates.graph.ids[place])
    reasons = []
    if node in found.named:
        reasons.append("the question names it")
    if node in found.keyword_rank:
        reasons.append(f"rank {found.keyword_rank[node]} by words")
    reasons.append(f"cosine {found.candidates.similarity[place]:.2f}")
    return ", ".join(reasons)
