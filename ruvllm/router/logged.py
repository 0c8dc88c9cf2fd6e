"""What a logged decision was made by, read back: `Router.decide` wrote it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ruvllm.router.features import FEATURE_VERSION, FEATURES, NUM_FEATURES
from ruvllm.router.model import NUM_EVIDENCE, TierInputs
from ruvllm.types import Constraints, Decision

__all__ = ["Seen", "constraints_of", "seen"]

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

SLACK = 1e-5  # of a limit that is read back from a float32: what just kept it still does
_SLOT = {feature.name: i for i, feature in enumerate(FEATURES)}


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The features of a decision, (128,) float32 and bool, and what was known of its T tiers."""

    features: Floats
    present: Flags
    told: TierInputs


def seen(decision: Decision) -> Seen:
    """Return what a decision was made by.

    Raises:
        ValueError: its features are of another version, or not those of a router.
    """
    if decision.feature_version != FEATURE_VERSION:
        raise ValueError(
            f"decision has features of version {decision.feature_version}; this ruvllm reads version {FEATURE_VERSION}"
        )
    row, num_tiers = np.frombuffer(decision.features, "<f4"), len(decision.estimates)
    expected = NUM_FEATURES + num_tiers * (2 + NUM_EVIDENCE)
    if len(row) != expected or not np.isfinite(row).all():
        raise ValueError(f"decision must hold {expected} finite numbers for {num_tiers} tiers ({len(row)})")
    values, quality, latency_ms, evidence = np.split(row, NUM_FEATURES + num_tiers * np.arange(3))
    present = np.unpackbits(np.frombuffer(decision.present, np.uint8), count=NUM_FEATURES).astype(np.bool_)
    return Seen(values, present, TierInputs(quality, latency_ms, evidence.reshape(num_tiers, NUM_EVIDENCE)))


def constraints_of(features: Floats, present: Flags) -> Constraints:
    """Return the limits that a request set, as far as features tell: one beyond their range is none."""

    def limit(name: str) -> float | None:
        i = _SLOT[name]
        slot = FEATURES[i]
        return float(features[i] * slot.scale + slot.centre) if present[i] and features[i] < slot.high else None

    latency, cost, quality = (limit(name) for name in ("log_latency_budget", "log_cost_budget", "min_quality"))
    is_private = _SLOT["is_private"]
    return Constraints(
        max_latency_ms=None if latency is None else float(np.exp(latency)) * (1.0 + SLACK),
        max_cost=None if cost is None else float(np.exp(cost)) * (1.0 + SLACK),
        privacy="local" if present[is_private] and features[is_private] > 0.0 else "any",
        min_quality=None if quality is None else float(np.clip(quality, 0.0, 1.0)),
    )
