"""What another quality floor would have meant for the requests of a log, by doubly robust estimation.

Policy and outcome model are what the router expected of each tier when it decided: both were made before the outcome
was known, so that no row judges what it taught.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ruvllm.inference.open import is_remote
from ruvllm.memory import LoggedDecision, Memory
from ruvllm.router.features import FEATURE_VERSION, NUM_FEATURES
from ruvllm.router.logged import constraints_of, seen
from ruvllm.router.off_policy import MIN_EFFECTIVE, Estimate, TooFewSamples, doubly_robust, effective_sample_size
from ruvllm.router.outcomes import TierInfo
from ruvllm.router.policy import Policy, choose
from ruvllm.types import Constraints, Decision

__all__ = [
    "MAX_NEVER",
    "Routed",
    "WhatIf",
    "as_it_was",
    "decisions_of",
    "mean_of",
    "never_tried",
    "routed_log",
    "targets",
    "what_if",
]

Floats = npt.NDArray[np.float64]
Tiers = npt.NDArray[np.int64]

NEWEST = 100_000  # requests of a log that are looked at
DAY_S = 86_400.0
MAX_NEVER = 0.05  # share of the requests for which nothing but the model speaks
SLOW = 0.95  # the quantile of latency
LEVELS = 100  # latencies at which their distribution is estimated
RATIOS = 21  # of real to expected latency that place those
RESAMPLES = 500
CHUNK = 50  # resamples at a time


@dataclass(frozen=True, slots=True, eq=False)
class Routed:
    """`n` requests that a trained router sent to one of T tiers, oldest first.

    Attributes:
        quality, latency_ms, cost: (n, T) what was expected of each tier.
        confidence: (n,). limits: of each request. sessions: None where there was none.
        real: quality, latency_ms and cost by name, (n, T): what tiers did, NaN where that is not known.
        tier: (n,) the chosen one. chances: (n, T), with which each was.
        calibrates: (n,) bool, every tier answers.
    """

    tiers: tuple[TierInfo, ...]
    quality: Floats
    latency_ms: Floats
    cost: Floats
    confidence: Floats
    limits: tuple[Constraints, ...]
    sessions: tuple[str | None, ...]
    real: dict[str, Floats]
    tier: Tiers
    chances: Floats
    calibrates: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tier)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Means over the log with 95 % intervals under a policy; `shares` are those of the tiers."""

    quality: Estimate
    cost: Estimate
    latency_p95_ms: Estimate
    shares: tuple[float, ...]


# -- the log ---------------------------------------------------------------------------------------------------------


def decisions_of(memory: Memory, days: float, now: float | None = None) -> list[LoggedDecision]:
    """Return the requests of the last `days` that were routed, oldest first.

    Raises:
        ValueError: there is none.
    """
    if not days > 0.0:
        raise ValueError(f"days must be > 0 ({days})")
    since = (time.time() if now is None else now) - days * DAY_S
    found = [one for one in reversed(memory.route_log(NEWEST)) if one.decision is not None and one.created >= since]
    if not found:
        raise ValueError(f"nothing was routed in the last {days:g} days")
    return found


def routed_log(memory: Memory, decisions: Sequence[LoggedDecision]) -> Routed:
    """Return those requests that a trained router decided, among the tiers of the newest one, with their outcomes.

    Forgotten questions are left out.
    """
    newest = decisions[-1].decision
    assert newest is not None
    names = [one.tier for one in newest.estimates]
    logged = memory.logged_outcomes(names, num_features=NUM_FEATURES, feature_version=FEATURE_VERSION, limit=NEWEST)
    place = {id: i for i, id in enumerate(logged.ids)}
    kept = [
        (place[one.id], one.session, one.decision)
        for one in decisions
        if one.id in place and one.decision is not None and _is_known(one.decision, names)
    ]
    rows = np.array([i for i, *_ in kept], np.int64)
    taken = [decision for *_, decision in kept]
    tier = np.array([names.index(one.tier) for one in taken], np.int64)

    def expected(name: str) -> Floats:
        told = [[getattr(estimate, name) for estimate in one.estimates] for one in taken]
        return np.array(told, np.float64).reshape(len(taken), len(names))

    limits = []
    for one in taken:
        was = seen(one)
        limits.append(constraints_of(was.features, was.present))
    return Routed(
        tiers=tuple(TierInfo(e.tier, None, e.cost or 0.0, not is_remote(e.tier)) for e in newest.estimates),
        quality=expected("quality"),
        latency_ms=expected("latency_ms"),
        cost=expected("cost"),
        confidence=np.array([one.confidence for one in taken], np.float64),
        limits=tuple(limits),
        sessions=tuple(session for _, session, _ in kept),
        real={
            "quality": logged.quality[rows].astype(np.float64),
            "latency_ms": np.where(logged.latency_ms[rows] > 0.0, logged.latency_ms[rows], np.nan).astype(np.float64),
            "cost": logged.cost[rows].astype(np.float64),
        },
        tier=tier,
        chances=expected("propensity"),
        calibrates=np.array([one.calibrates for one in taken], np.bool_),
    )


def _is_known(decision: Decision, names: Sequence[str]) -> bool:
    """Return whether a trained router chose among these tiers, with all that this asks of its estimates."""
    known = all(None not in (one.quality, one.latency_ms, one.cost) for one in decision.estimates)
    is_trained = decision.checkpoint > 0 and decision.confidence is not None
    is_same = [one.tier for one in decision.estimates] == list(names) and decision.feature_version == FEATURE_VERSION
    return known and is_trained and is_same


# -- the policy ------------------------------------------------------------------------------------------------------


def targets(rows: Routed, policy: Policy) -> Tiers:
    """Return the tier that a policy chooses for each request, without exploration; sessions keep theirs as always."""
    settled, rng = replace(policy, explore=0.0), np.random.default_rng(0)  # draws nothing
    chosen = np.empty(len(rows), np.int64)
    last: dict[str, int] = {}
    told = zip(rows.quality.tolist(), rows.latency_ms.tolist(), rows.confidence.tolist(), strict=True)
    for i, (quality, latency, confidence) in enumerate(told):
        session = rows.sessions[i]
        previous = None if session is None else last.get(session)
        choice = choose(rows.tiers, quality, latency, confidence, settled, rows.limits[i], rng, previous=previous)
        chosen[i] = choice.tier
        if session is not None:
            last[session] = choice.tier
    return chosen


def what_if(rows: Routed, policy: Policy) -> WhatIf:
    """Return what a policy would have given on the requests of a log.

    Where every tier answers, the outcome of its own choice counts, as sure as it is known.

    Raises:
        ValueError: the log is worth fewer than 100 requests of this policy, in any of the three, or the policy sends
            requests where no draw ever could.
    """
    chosen = targets(rows, policy)
    shares = np.bincount(chosen, minlength=len(rows.tiers)) / max(len(rows), 1)
    never = never_tried(rows, chosen)
    if never > MAX_NEVER:
        raise ValueError(
            f"quality_floor {policy.quality_floor:g} cannot be judged: {never:.0%} of the requests would go "
            f"where the log never could (router.explore draws tiers to learn from)"
        )
    try:
        cost, latency, quality = mean_of(rows, chosen, "cost"), _slow(rows, chosen), mean_of(rows, chosen, "quality")
    except TooFewSamples as few:
        rated = int(np.isfinite(rows.real["quality"]).any(axis=1).sum())
        raise ValueError(
            f"quality_floor {policy.quality_floor:g} cannot be judged: {few} "
            f"({len(rows)} requests that a trained router decided, {rated} of them rated)"
        ) from few
    return WhatIf(quality, cost, latency, tuple(shares.tolist()))


def never_tried(rows: Routed, chosen: Tiers) -> float:
    """Return the share of requests that `chosen` sends where no draw ever could: of those only the model speaks."""
    never = (rows.chances[np.arange(len(rows)), chosen] <= 0.0) & ~rows.calibrates
    return float(never.mean()) if len(rows) else 0.0


def as_it_was(rows: Routed) -> tuple[float, float, float]:
    """Return what was measured: mean quality of what was rated, mean cost, p95 of the latency; NaN where nothing is."""
    at = np.arange(len(rows)), rows.tier
    quality, cost, latency = (rows.real[name][at] for name in ("quality", "cost", "latency_ms"))
    known = [values[~np.isnan(values)] for values in (quality, cost, latency)]
    q, c, slow = (values if len(values) else np.array([np.nan]) for values in known)
    return float(q.mean()), float(c.mean()), float(np.quantile(slow, SLOW))


def mean_of(rows: Routed, chosen: Tiers, name: str) -> Estimate:
    """Return the doubly robust mean of quality or cost when `chosen` had answered.

    Raises:
        TooFewSamples: see `what_if`.
    """
    target = np.eye(len(rows.tiers))[chosen]
    tier, propensity, reward = _tried(rows, chosen, name)
    return doubly_robust(target, tier, propensity, reward, getattr(rows, name))


def _tried(rows: Routed, chosen: Tiers, name: str) -> tuple[Tiers, Floats, Floats]:
    """Return the tier whose outcome counts of each row, its propensity, and the outcome."""
    tier = np.where(rows.calibrates, chosen, rows.tier)
    at = np.arange(len(rows))
    propensity = np.where(rows.calibrates, 1.0, rows.chances[at, rows.tier])
    return tier, propensity, rows.real[name][at, tier]


def _slow(rows: Routed, chosen: Tiers) -> Estimate:
    """Return the latency that 95 % would have kept: where the doubly robust distribution function reaches 0.95.

    The outcome model of a latency is what was expected of it times the ratios of real to expected ones in the log.
    """
    tier, propensity, latency = _tried(rows, chosen, "latency_ms")
    known = np.isfinite(latency)
    tier, propensity, latency, chosen = tier[known], propensity[known], latency[known], chosen[known]
    weights = (tier == chosen) / propensity
    effective = effective_sample_size(weights)
    if effective < MIN_EFFECTIVE:
        raise TooFewSamples(effective)
    at = np.arange(len(tier))
    expected = rows.latency_ms[known]
    ratios = np.sort(latency / expected[at, tier])
    likely = expected[at, chosen]
    possible = np.outer(likely, np.quantile(ratios, np.linspace(0.0, 1.0, RATIOS))).ravel()
    levels = np.quantile(np.concatenate([latency[tier == chosen], possible]), np.linspace(0.5, 1.0, LEVELS))
    said = np.searchsorted(ratios, levels / likely[:, np.newaxis], side="right") / len(ratios)  # (n, LEVELS)
    parts = said + weights[:, np.newaxis] * ((latency[:, np.newaxis] <= levels) - said)

    def reached(means: Floats) -> Floats:
        risen = np.maximum.accumulate(np.atleast_2d(means), axis=1)
        return np.array([np.interp(SLOW, row, levels) for row in risen])

    n, rng = len(parts), np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES // CHUNK):
        copies = np.array([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(CHUNK)], np.float64)
        found.append(reached(copies @ parts / n))
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5])
    return Estimate(float(reached(parts.mean(axis=0))[0]), float(low), float(high), effective)
