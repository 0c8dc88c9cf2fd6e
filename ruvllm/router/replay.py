"""What earlier training saw, kept as a bounded sample of equal shares a tier, with the logits it gave then.

Source: Buzzega et al. 2020, Dark Experience for General Continual Learning (arXiv:2004.07211).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ruvllm.kernels import Reservoir

if TYPE_CHECKING:
    from ruvllm.router.training import Lessons

__all__ = ["Replayed", "replayed"]

Floats = npt.NDArray[np.float32]

CAPACITY = 2000  # sequences: 1 MB


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """A sample of earlier lessons and the logits the network had for them, (n, steps, T) each."""

    lessons: Lessons
    quality_logit: Floats
    tier_logit: Floats


def replayed(
    lessons: Lessons, quality_logit: Floats, tier_logit: Floats, *, capacity: int = CAPACITY, seed: int = 0
) -> Replayed:
    """Return a sample of `capacity` sequences, stratified by the tier that answered last, so that no tier leaves it."""
    known = ~np.isnan(lessons.quality[np.arange(len(lessons)), lessons.last_turns()])
    labels = np.where(known.any(axis=-1), known.argmax(axis=-1), -1).astype(np.int64)
    reservoir = Reservoir(capacity, seed=seed)
    reservoir.add_many(len(lessons), labels=labels)
    rows = np.sort(reservoir.items)
    return Replayed(lessons.take(rows), quality_logit[rows], tier_logit[rows])
