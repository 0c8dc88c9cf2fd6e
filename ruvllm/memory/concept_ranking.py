"""Where concepts stand among what they contain: above it when that is asked for, in nobody's way otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np

from ruvllm.memory.store import Store
from ruvllm.types import EdgeType

__all__ = ["Contained", "boosted", "read_contained", "told"]

Contained = list[tuple[int, np.ndarray]]
"""Of each concept among candidates: its place, and the places of its members, both in the candidates' ids."""


def read_contained(store: Store, ids: np.ndarray, concepts: Iterable[int]) -> Contained:
    """Return what the concepts at some places in `ids`, (n,) int64, contain of the rest."""
    members: dict[int, list[int]] = {int(ids[i]): [] for i in concepts}
    place = {node: i for i, node in enumerate(ids.tolist())}
    rows = store.rows(
        "SELECT src, dst FROM edges WHERE src IN (SELECT value FROM json_each(?)) AND type = ? AND ended IS NULL",
        (json.dumps(list(members)), EdgeType.CONTAINS.value),
    )
    for concept, member in rows:
        if member in place:
            members[concept].append(place[member])
    return [(place[concept], np.array(each, np.int64)) for concept, each in members.items()]


def boosted(scores: np.ndarray, contained: Contained, boost: float) -> np.ndarray:
    """Return scores, (n,), in which a concept stands `boost` times above itself and the best of what it contains."""
    raised = scores.copy()
    for concept, members in contained:
        raised[concept] = boost * max(float(scores[concept]), float(scores[members].max(initial=0.0)))
    return raised


def told(scores: np.ndarray, similarity: np.ndarray, contained: Contained, most: int) -> np.ndarray:
    """Return scores, (n,), in which a concept keeps its own only where it answers better than any of what it contains.

    That is where its cosine to the question is the larger one: the question is about the whole. Of those the `most`
    best keep their score. All others come last: a passage that was asked for gives way to no summary of it.
    """
    speaking: list[int] = []
    last: list[int] = []
    for concept, members in contained:
        speaks = similarity[concept] > similarity[members].max(initial=-1.0)
        (speaking if speaks else last).append(concept)
    speaking.sort(key=lambda i: (-scores[i], i))
    last += speaking[most:]
    passages = np.delete(scores, [concept for concept, _ in contained])
    lowest = float(passages[passages > 0.0].min(initial=float(scores.max())))
    kept = scores.copy()
    kept[last] *= 0.5 * lowest / max(float(scores[last].max(initial=0.0)), 1e-30)
    return kept
