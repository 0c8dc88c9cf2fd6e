"""How the router of a brain does, read from its log: what each floor gives, what its word is worth, who answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ruvllm.learning.forgetting import Forgetting
from ruvllm.learning.whatif import DAY_S, MAX_NEVER, Routed, mean_of, never_tried, targets
from ruvllm.memory import LoggedDecision
from ruvllm.router.measures import brier, ece
from ruvllm.router.off_policy import Estimate, TooFewSamples
from ruvllm.router.policy import Policy
from ruvllm.viz import CurvePoint, curve_svg, matrix_svg

__all__ = ["Frontier", "Reliability", "RouterReport", "Shares", "pictures", "router_report"]

FLOORS = tuple(round(0.1 * i, 1) for i in range(1, 10))
BINS = 10  # of a reliability diagram, of equal mass
MIN_IN_BIN = 10
SPANS = 14  # of time at most
MIN_IN_SPAN = 10
Z = 1.96  # standard errors of a 95 % interval


@dataclass(frozen=True, slots=True)
class Frontier:
    """Quality and cost of one way to choose: a floor of the router, or one tier for everything."""

    name: str
    floor: float | None
    quality: Estimate
    cost: Estimate


@dataclass(frozen=True, slots=True)
class Reliability:
    """Expected and real quality of rated answers.

    `bins`, of equal mass, hold the mean expected and real quality and half the 95 % interval of the latter.
    """

    rated: int
    ece: float
    brier: float
    bins: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Shares:
    """The share of each tier in the requests of one span of time, which begins `days` after the first request."""

    days: float
    requests: int
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RouterReport:
    """What a log says about its router.

    Attributes:
        quality_floor: today's.
        refused: names of the floors and tiers that the log is worth too little to judge.
        reliability: None with fewer than ten rated answers.
        decided_by, explored, probed, calibrates: how many requests.
        least_propensity: the smallest chance with which a tier was chosen.
    """

    tiers: tuple[str, ...]
    requests: int
    quality_floor: float
    frontier: tuple[Frontier, ...]
    refused: tuple[str, ...]
    reliability: Reliability | None
    shares: tuple[Shares, ...]
    decided_by: dict[str, int]
    explored: int
    probed: int
    calibrates: int
    least_propensity: float


def router_report(decisions: Sequence[LoggedDecision], rows: Routed, policy: Policy) -> RouterReport:
    """Return the report on requests of `decisions_of`, with what `routed_log` knows of them."""
    made = [one.decision for one in decisions if one.decision is not None]
    names = tuple(tier.name for tier in rows.tiers)
    frontier, refused = _frontier(rows, policy)
    return RouterReport(
        tiers=names,
        requests=len(made),
        quality_floor=policy.quality_floor,
        frontier=frontier,
        refused=refused,
        reliability=_reliability(rows),
        shares=_shares(decisions, names),
        decided_by=dict(Counter(one.decided_by for one in made).most_common()),
        explored=sum(one.explored for one in made),
        probed=sum(one.probed for one in made),
        calibrates=sum(one.calibrates for one in made),
        least_propensity=min(one.chosen.propensity for one in made),
    )


def _frontier(rows: Routed, policy: Policy) -> tuple[tuple[Frontier, ...], tuple[str, ...]]:
    """Return what floors, today's among them, and single tiers give, and the names of those that cannot be judged."""
    floors = sorted({*FLOORS, policy.quality_floor})
    asked: list[tuple[str, float | None, npt.NDArray[np.int64]]] = [
        (f"floor {floor:g}", floor, targets(rows, replace(policy, quality_floor=floor, certified=False)))
        for floor in floors
    ]
    asked += [(f"always {tier.name}", None, np.full(len(rows), i)) for i, tier in enumerate(rows.tiers)]
    found, refused = [], []
    for name, floor, chosen in asked:
        if never_tried(rows, chosen) > MAX_NEVER:
            refused.append(name)
            continue
        try:
            found.append(Frontier(name, floor, mean_of(rows, chosen, "quality"), mean_of(rows, chosen, "cost")))
        except TooFewSamples:
            refused.append(name)
    return tuple(found), tuple(refused)


def _reliability(rows: Routed) -> Reliability | None:
    real = rows.real["quality"]
    known = np.isfinite(real)
    expected, outcome = rows.quality[known], real[known]
    if len(expected) < MIN_IN_BIN:
        return None
    order = np.argsort(expected, kind="stable")
    bins = []
    for part in np.array_split(order, min(BINS, len(order) // MIN_IN_BIN)):
        error = Z * float(outcome[part].std() / np.sqrt(len(part)))
        bins.append((float(expected[part].mean()), float(outcome[part].mean()), error))
    return Reliability(len(expected), ece(expected, outcome), brier(expected, outcome), tuple(bins))


def _shares(decisions: Sequence[LoggedDecision], names: Sequence[str]) -> tuple[Shares, ...]:
    """Return the tiers' shares over spans of equal length; spans in which nobody asked are left out."""
    created = np.array([one.created for one in decisions])
    tiers = np.array([one.decision.tier for one in decisions if one.decision is not None])
    days = (created - created[0]) / DAY_S
    count = max(1, min(SPANS, len(days) // MIN_IN_SPAN))
    length = days[-1] / count
    span = np.minimum(days / length if length else np.zeros_like(days), count - 1).astype(np.int64)
    found = []
    for i in np.unique(span).tolist():
        of_span = tiers[span == i]
        shares = tuple(float((of_span == name).mean()) for name in names)
        found.append(Shares(float(i * length), len(of_span), shares))
    return tuple(found)


# -- pictures --------------------------------------------------------------------------------------------------------


def pictures(report: RouterReport, forgot: Forgetting | None = None) -> dict[str, str]:
    """Return the plots as SVG text by name: "frontier", "reliability" and "forgetting" where known, and "shares"."""
    drawn = {}
    if report.frontier:
        drawn["frontier"] = _draw_frontier(report)
    if report.reliability is not None:
        drawn["reliability"] = _draw_reliability(report.reliability)
    if forgot is not None:
        drawn["forgetting"] = _draw_forgetting(forgot)
    points = [
        CurvePoint(name, one.days, share)
        for one in report.shares
        for name, share in zip(report.tiers, one.shares, strict=True)
    ]
    drawn["shares"] = curve_svg(
        points,
        title="Who answered",
        x_label="days since the first request",
        y_label="share of requests",
        y_holds=(0.0, 1.0),
    )
    return drawn


def _draw_frontier(report: RouterReport) -> str:
    points = []
    for one in report.frontier:
        at = one.cost.value, one.quality.value, (one.quality.low, one.quality.high)
        points.append(CurvePoint(one.name if one.floor is None else "by quality floor", *at))
        if one.floor == report.quality_floor:
            points.append(CurvePoint(f"today's floor, {one.floor:g}", *at))
    return curve_svg(
        points, title="What the quality floor buys", x_label="mean cost of a request", y_label="mean quality"
    )


def _draw_forgetting(forgot: Forgetting) -> str:
    lost = "" if forgot.forgotten is None else f"; forgotten: {100.0 * forgot.forgotten:.1f} points"
    return matrix_svg(
        forgot.right,
        rows=[str(version) for version in forgot.versions],
        columns=[f"{count} requests" for count in forgot.requests],
        title=f"Outcomes put on the right side of the floor{lost}",
        row_label="version",
        column_label="spans of the log, oldest first",
    )


def _draw_reliability(known: Reliability) -> str:
    points = [CurvePoint("as expected", x, x) for x in (0.0, 1.0)]
    points += [
        CurvePoint("rated answers", x, y, (max(y - error, 0.0), min(y + error, 1.0))) for x, y, error in known.bins
    ]
    return curve_svg(
        points,
        title=f"Expected and real quality: ECE {known.ece:.3f}, Brier {known.brier:.3f}, {known.rated:,} rated answers",
        x_label="expected quality",
        y_label="quality as rated",
    )
