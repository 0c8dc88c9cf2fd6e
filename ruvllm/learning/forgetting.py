"""What later versions of a router forgot: every version judged on every span of the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ruvllm.checkpoints import Checkpoints
from ruvllm.learning.router_training import looking_back, rows_of
from ruvllm.memory import LoggedOutcomes, Memory
from ruvllm.router.features import FEATURE_VERSION, NUM_FEATURES
from ruvllm.router.learnt import Learnt

__all__ = ["Forgetting", "forgetting", "forgetting_of"]

NEWEST_VERSIONS = 6
SPANS = 5  # of equally many rated requests
MIN_IN_SPAN = 10


@dataclass(frozen=True, slots=True)
class Forgetting:
    """The matrix R: of each version (row) the share of outcomes it puts on the right side of the floor, span by span.

    Attributes:
        forgotten: mean over the spans of how far the newest version lies below the best one; None with one version.
    """

    versions: tuple[int, ...]
    requests: tuple[int, ...]
    right: tuple[tuple[float, ...], ...]
    forgotten: float | None


def forgetting_of(memory: Memory, *, default_tier: str) -> Forgetting | None:
    """Return how the newest versions of a brain's router that know the same tiers do on its log.

    Args:
        default_tier: name of the safe default.
    """
    checkpoints = Checkpoints(memory.path / "checkpoints" / "router", form=f"router-{FEATURE_VERSION}")
    found: dict[int, Learnt] = {}
    for version in reversed(checkpoints.versions()[-NEWEST_VERSIONS:]):
        checkpoint = checkpoints.load(version)
        if checkpoint is None:
            continue
        try:
            learnt = Learnt.restored(checkpoint.params, checkpoint.arrays, checkpoint.about)
        except ValueError:
            continue
        if not found or learnt.tiers == next(iter(found.values())).tiers:
            found[version] = learnt
    if not found:
        return None
    names = [tier.name for tier in next(iter(found.values())).tiers]
    logged = memory.logged_outcomes(names, num_features=NUM_FEATURES, feature_version=FEATURE_VERSION)
    dims = {learnt.embedding_map.dim for learnt in found.values()}
    if not len(logged) or dims != {logged.vectors.shape[1]}:
        return None
    place = names.index(default_tier) if default_tier in names else len(names) - 1
    return forgetting(logged, found, quality_floor=memory.config.router.quality_floor, default_tier=place)


def forgetting(
    logged: LoggedOutcomes, versions: Mapping[int, Learnt], *, quality_floor: float, default_tier: int
) -> Forgetting | None:
    """Return how versions of a router do on a log, oldest spans first; None where there is too little to judge.

    The outcomes of like questions are those known today, for every version: what is judged is what each had learnt.

    Args:
        versions: by number, all of the tiers of the log.
    """
    rated = np.flatnonzero((~np.isnan(logged.quality)).any(axis=1))
    if len(rated) < SPANS * MIN_IN_SPAN or not versions:
        return None
    rows = rows_of(logged, rated)
    spans = np.array_split(np.arange(len(rows)), SPANS)
    known = ~np.isnan(rows.quality)
    table = []
    for _, learnt in sorted(versions.items()):
        quality = looking_back(rows, learnt, default_tier=default_tier).quality
        right = (quality >= quality_floor) == (rows.quality >= quality_floor)
        table.append(tuple(float(right[span][known[span]].mean()) for span in spans))
    matrix = np.array(table)
    lost = None if len(matrix) < 2 else float((matrix.max(axis=0) - matrix[-1]).mean())
    return Forgetting(tuple(sorted(versions)), tuple(len(span) for span in spans), tuple(table), lost)
