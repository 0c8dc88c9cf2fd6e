"""From estimates to a tier: the cheapest that holds the floor, within what a request allows, and how it was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ruvllm.router.budget import FREE, Terms
from ruvllm.router.outcomes import TierInfo
from ruvllm.types import Constraints

__all__ = ["Choice", "Policy", "choose", "permitted"]

FIRST_OUTCOMES = 20  # known outcomes of a tier from which on it is explored no more than the others
FIRST_SHARE = 0.2  # of the requests that are explored while some tier has fewer


@dataclass(frozen=True, slots=True)
class Policy:
    """How tiers are chosen; see `RouterConfig`, of which this is the part that decides.

    Attributes:
        safe_default: place of the tier that answers what the router is not sure of.
        max_latency_ms: of requests that say nothing about it; None for no limit.
        cost_budget: mean cost of all requests, see `Budget`; None for no limit.
        threshold: certified: the cheapest tier whose quality estimate clears it answers, else the largest one. None
            when no certificate is in force.
    """

    quality_floor: float = 0.5
    confidence_threshold: float = 0.5
    hysteresis: float = 0.05
    explore: float = 0.02
    safe_default: int = 0
    max_latency_ms: float | None = None
    cost_budget: float | None = None
    certified: bool = False
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """A tier's place, the chance with which each tier was chosen, and why this one was.

    `wanted` is who would have answered without exploration and budget.
    """

    tier: int
    propensity: tuple[float, ...]
    decided_by: str
    reason: str
    wanted: int
    explored: bool = False


def permitted(
    tiers: Sequence[TierInfo], latency_ms: Sequence[float], constraints: Constraints
) -> tuple[list[int], str]:
    """Return the places of the tiers that a request allows, ascending, and what could not be kept ("" mostly).

    Privacy is always kept. Where no tier keeps the latency or cost, the one that comes nearest to it is left.

    Raises:
        ValueError: privacy leaves no tier.
    """
    places = [i for i, t in enumerate(tiers) if t.is_local or constraints.privacy != "local"]
    if not places:
        raise ValueError("constraints.privacy is 'local', and no tier is")
    if constraints.max_cost is not None:
        kept = [i for i in places if tiers[i].cost <= constraints.max_cost]
        if not kept:
            cheapest = min(places, key=lambda i: tiers[i].cost)
            return [cheapest], f"no tier costs {constraints.max_cost:g} or less; this is the cheapest"
        places = kept
    if constraints.max_latency_ms is not None:
        kept = [i for i in places if latency_ms[i] <= constraints.max_latency_ms]
        if not kept:
            fastest = min(places, key=lambda i: latency_ms[i])
            return [fastest], f"no tier is expected within {constraints.max_latency_ms:g} ms; this is the fastest"
        places = kept
    return places, ""


def choose(
    tiers: Sequence[TierInfo],
    quality: Sequence[float],
    latency_ms: Sequence[float],
    confidence: float | None,
    policy: Policy,
    constraints: Constraints,
    rng: np.random.Generator,
    *,
    counts: Sequence[int] | None = None,
    previous: int | None = None,
    terms: Terms = FREE,
) -> Choice:
    """Return the tier that answers.

    Args:
        tiers: the cheapest first. quality, latency_ms: what is expected of each.
        confidence: that the choice meets the floor; None when nothing was learnt yet: then the safe default answers.
        counts: known outcomes of each tier, which exploration evens out; None where that does not matter.
        previous: the tier of the session's turn before.
        terms: what the budget leaves; certified mode knows no budget.

    Raises:
        ValueError: privacy leaves no tier.
    """
    if policy.max_latency_ms is not None and constraints.max_latency_ms is None and not policy.certified:
        constraints = replace(constraints, max_latency_ms=policy.max_latency_ms)
    places, broken = permitted(tiers, latency_ms, constraints)
    if policy.certified:
        tier, reason = _certified(quality, policy)
        asks_more = constraints.min_quality is not None and constraints.min_quality > policy.quality_floor
        if tier in places and (tier == len(tiers) - 1 or not asks_more):
            return _certain(tier, len(tiers), "certificate" if policy.threshold is not None else "safe default", reason)
        reason = f"{broken or 'the constraints exclude what the certificate is about'}: nothing is promised"
        return _certain(places[-1], len(tiers), "constraints", reason)
    floor = policy.quality_floor if constraints.min_quality is None else constraints.min_quality
    wanted, decided_by, reason = _best(places, quality, confidence, policy, floor, previous)
    tier = wanted
    if terms != FREE:
        places = [i for i in places if tiers[i].cost <= terms.purse] or places[:1]
        tier = _worth(wanted, places, tiers, quality, terms.price)
        if tier != wanted:
            decided_by, reason = "budget", f"the budget leaves no more than {tiers[tier].name}"
    reason = broken or reason
    if policy.explore == 0.0 or len(places) == 1:
        return replace(_certain(tier, len(tiers), decided_by, reason), wanted=wanted)
    young = [] if counts is None else [i for i in places if counts[i] < FIRST_OUTCOMES]
    drawn_from = young or places
    share = max(policy.explore, FIRST_SHARE) if young else policy.explore
    propensity = [0.0] * len(tiers)
    propensity[tier] = 1.0 - share
    for i in drawn_from:
        propensity[i] += share / len(drawn_from)
    chances = tuple(propensity)
    if rng.random() < share:
        drawn = drawn_from[int(rng.integers(len(drawn_from)))]
        return Choice(drawn, chances, "exploration", "drawn to learn from it", wanted, explored=True)
    return Choice(tier, chances, decided_by, reason, wanted)


def _worth(
    wanted: int, places: Sequence[int], tiers: Sequence[TierInfo], quality: Sequence[float], price: float
) -> int:
    """Return of `wanted` and what is cheaper the tier whose quality - price cost is best; the cheapest if none is."""
    if price == 0.0 and wanted in places:
        return wanted
    offered = [i for i in places if i <= wanted] or places[:1]
    return max(offered, key=lambda i: quality[i] - price * tiers[i].cost)


def _certified(quality: Sequence[float], policy: Policy) -> tuple[int, str]:
    """A certificate is about the policy it was computed for: nothing but its threshold decides."""
    largest = len(quality) - 1
    if policy.threshold is None:
        return largest, "no certificate is in force: the largest tier answers"
    clear = next((i for i in range(largest) if quality[i] >= policy.threshold), largest)
    if clear != largest:
        return clear, f"expected quality {quality[clear]:.2f} clears the certified {policy.threshold:.2f}"
    return largest, f"no smaller tier clears the certified {policy.threshold:.2f}"


def _best(
    places: Sequence[int],
    quality: Sequence[float],
    confidence: float | None,
    policy: Policy,
    floor: float,
    previous: int | None,
) -> tuple[int, str, str]:
    """Return the tier without exploration, who decided, and why."""
    default = policy.safe_default if policy.safe_default in places else places[-1]
    if confidence is None:
        return default, "safe default", "nothing was learnt yet"
    if confidence < policy.confidence_threshold:
        return default, "safe default", f"confidence {confidence:.2f} is below {policy.confidence_threshold:.2f}"
    enough = [i for i in places if quality[i] >= floor]
    if not enough:
        best = max(places, key=lambda i: quality[i])
        return best, "router", f"no tier is expected to reach {floor:.2f}; this is the best ({quality[best]:.2f})"
    tier = enough[0]
    if previous is not None and previous in places and _stays(previous, tier, quality, floor, policy.hysteresis):
        return previous, "router", "the session's tier still serves"
    return tier, "router", f"the cheapest tier expected to reach {floor:.2f} ({quality[tier]:.2f})"


def _stays(previous: int, tier: int, quality: Sequence[float], floor: float, hysteresis: float) -> bool:
    """A session changes over only when its tier falls short by the hysteresis, or a cheaper one clears it by that."""
    if previous < tier:
        return quality[previous] >= floor - hysteresis
    return tier < previous and quality[tier] < floor + hysteresis


def _certain(tier: int, num_tiers: int, decided_by: str, reason: str) -> Choice:
    return Choice(tier, tuple(float(i == tier) for i in range(num_tiers)), decided_by, reason, tier)
