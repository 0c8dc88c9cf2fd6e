"""Which model answered, what a router thought of each, and what they did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ruvllm.types.checks import is_number, require_name, require_share

__all__ = ["Decision", "QualitySource", "Route", "TierEstimate", "TierOutcome"]

QualitySource = Literal["user", "task", "judge"]
"""Who says how good an answer was: somebody who read it, the task it served, or a model."""


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
        require_name(self.tier, "tier")
        if not is_number(self.score):
            raise ValueError(f"score must be a finite float ({self.score!r})")
        require_share(self.propensity, "propensity")
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
        require_name(self.tier, "tier")
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
            require_share(self.confidence, "confidence")

    @property
    def chosen(self) -> TierEstimate:
        """The estimate of the chosen tier."""
        return next(estimate for estimate in self.estimates if estimate.tier == self.tier)


def _require_measures(one: TierEstimate | TierOutcome) -> None:
    if one.quality is not None:
        require_share(one.quality, "quality")
    for name in ("latency_ms", "cost"):
        value = getattr(one, name)
        if value is not None and not (is_number(value) and value >= 0.0):
            raise ValueError(f"{name} must be >= 0 ({value!r})")
