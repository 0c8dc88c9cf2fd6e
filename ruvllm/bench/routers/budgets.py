"""`ruvllm bench budgets`: whether limits of mean cost and of latency are kept on recorded outcomes, and what they take.

Every row is one request, in seeded random orders; what is expected of it was learnt from the other nine folds. Real
cost and latency are those of the file, told after each answer. The floor is out of reach, so that the policy buys as
much quality as the limits allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.routers import splits
from ruvllm.bench.routers.table import Table, choose_models, make_table, read_questions, with_scores
from ruvllm.bench.setup import Settings, open_tools
from ruvllm.router.budget import Budget, Lateness
from ruvllm.router.fitted import fit
from ruvllm.router.losses import LATENCY_QUANTILE
from ruvllm.router.outcomes import TierInfo
from ruvllm.router.policy import Policy, choose
from ruvllm.types import Constraints

__all__ = ["run"]

SHARES = (0.1, 0.25, 0.5, 0.75)  # budgets between what the cheapest model costs and what the policy would spend
QUANTILES = (0.25, 0.5, 0.75)  # of the latencies that the policy would have, as limits
OVERSHOOT = 0.01  # that is allowed
SLOWER = 2.0  # times that everything takes when a machine is busy
ORDERS = 20
PRICES = np.concatenate([[0.0], np.geomspace(1e-6, 1e2, 400)])  # of the dearest tier's cost, tried in hindsight
UNLIMITED = Policy(quality_floor=1.0, confidence_threshold=0.0, explore=0.0)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """What was expected of n requests and what T tiers really did, (n, T) each; NaN where that is not known."""

    tiers: tuple[TierInfo, ...]
    quality: Floats
    latency_ms: Floats
    real_quality: Floats
    real_cost: Floats
    real_latency_ms: Floats


@dataclass(frozen=True, slots=True)
class _Kept:
    """What one order came to: cost over its budget, quality, and the shares of answers that were late or hopeless."""

    overshoot: float = 0.0
    quality: float = 0.0
    late: float = 0.0
    hopeless: float = 0.0


def run(
    files: Sequence[Path], settings: Settings, *, models: Sequence[str] | None = None, orders: int = ORDERS
) -> Report:
    """Return how far budgets of mean cost are overspent, how many answers miss limits of latency, and the quality left.

    Args:
        files: of `bench routers`, with costs, latencies or both.
        models: those to route between; all when None.

    Raises:
        ValueError: the files have neither.
    """
    questions = read_questions(files)
    names = choose_models(questions, models)
    with open_tools(settings) as tools:
        table = make_table(with_scores(questions, names), names, tools.embedder)
    has_cost = bool(np.isfinite(table.outcomes.cost).all()) and table.cost_unit is not None
    has_latency = bool(np.isfinite(table.outcomes.latency_ms).all())
    if not (has_cost or has_latency):
        raise ValueError("files must tell cost or latency_ms of every model on every row")
    rows = _expected(table, settings)
    found = [Row("requests", len(rows.quality), "")]
    if has_cost:
        found += _cost_rows(rows, str(table.cost_unit), orders, settings.seed)
    if has_latency:
        found += _latency_rows(rows, orders, settings.seed)
    return make_report("budgets", found)


def _expected(table: Table, settings: Settings) -> _Rows:
    outcomes = table.outcomes
    quality, latency_ms = (np.empty(outcomes.quality.shape) for _ in range(2))
    folds = splits.by_question(table, settings.seed)
    for number, split in enumerate(folds):
        settings.on_progress("folds", number, len(folds))
        router, asked = fit(outcomes.take(split.train), seed=settings.seed), outcomes.take(split.test)
        told = router.predict(asked.texts, asked.vectors)
        quality[split.test], latency_ms[split.test] = told.quality, told.latency_ms
    settings.on_progress("folds", len(folds), len(folds))
    real = (column.astype(np.float64) for column in (outcomes.quality, outcomes.cost, outcomes.latency_ms))
    return _Rows(outcomes.tiers, quality, latency_ms, *real)


# -- cost ------------------------------------------------------------------------------------------------------------


def _cost_rows(rows: _Rows, unit: str, orders: int, seed: int) -> list[Row]:
    free = rows.quality.argmax(axis=1)
    at = np.arange(len(free))
    least, most = float(rows.real_cost[:, 0].mean()), float(rows.real_cost[at, free].mean())
    worst, best = float(rows.real_quality[:, 0].mean()), float(rows.real_quality[at, free].mean())
    found = [
        Row("mean cost without a budget", most, unit, peers={"quality": best}),
        Row(f"mean cost of {rows.tiers[0].name}", least, unit, peers={"quality": worst}),
    ]
    for share in SHARES:
        limit = least + share * (most - least)
        kept = [_spend(rows, limit, seed + order) for order in range(orders)]
        over = 100.0 * np.array([one.overshoot for one in kept])
        name = f"budget of {limit:.3g}"
        found += [
            Row(
                f"{name}: overspent, mean of {orders} orders",
                float(over.mean()),
                "%",
                peers={"worst order": float(over.max())},
                target=100.0 * OVERSHOOT,
                met=bool(over.mean() <= 100.0 * OVERSHOOT),
            ),
            Row(
                f"{name}: quality",
                float(np.mean([one.quality for one in kept])),
                "",
                peers={"one price, chosen in hindsight": _in_hindsight(rows, limit)},
            ),
        ]
    return found


def _spend(rows: _Rows, limit: float, seed: int) -> _Kept:
    """Return what comes of a budget in one order of the requests."""
    rng, budget = np.random.default_rng(seed), Budget(limit, rows.tiers)
    spent = earned = 0.0
    order = rng.permutation(len(rows.quality)).tolist()
    for i in order:
        quality = rows.quality[i].tolist()
        choice = choose(
            rows.tiers, quality, [0.0] * len(quality), 1.0, UNLIMITED, Constraints(), rng, terms=budget.terms()
        )
        cost = float(rows.real_cost[i, choice.tier])
        budget.charge(quality, choice.wanted, choice.tier)
        budget.settle(choice.tier, choice.tier, cost)
        spent, earned = spent + cost, earned + float(rows.real_quality[i, choice.tier])
    return _Kept(overshoot=spent / (limit * len(order)) - 1.0, quality=earned / len(order))


def _in_hindsight(rows: _Rows, limit: float) -> float:
    """Return the quality of the least price that would have kept the budget on these very rows."""
    costs = np.array([tier.cost for tier in rows.tiers])
    at = np.arange(len(rows.quality))
    for price in PRICES / costs[-1]:
        chosen = (rows.quality - price * costs).argmax(axis=1)
        if rows.real_cost[at, chosen].mean() <= limit:
            return float(rows.real_quality[at, chosen].mean())
    return float(rows.real_quality[:, 0].mean())


# -- latency ---------------------------------------------------------------------------------------------------------


def _latency_rows(rows: _Rows, orders: int, seed: int) -> list[Row]:
    at = np.arange(len(rows.quality))
    free = rows.quality.argmax(axis=1)
    limits = np.quantile(rows.real_latency_ms[at, free], QUANTILES).tolist()
    found = [Row("quality without a limit", float(rows.real_quality[at, free].mean()), "")]
    for limit in limits:
        kept = [_hurry(rows, limit, seed + order, Lateness()) for order in range(orders)]
        plain = [_hurry(rows, limit, seed + order, None) for order in range(orders)]
        name = f"limit of {limit:.0f} ms"
        found += [
            _late_row(name, kept, plain),
            Row(f"{name}: no tier was expected within it", 100.0 * float(np.mean([one.hopeless for one in kept])), "%"),
            Row(f"{name}: quality", float(np.mean([one.quality for one in kept])), ""),
        ]
    kept = [_hurry(rows, limits[-1], seed + order, Lateness(), slower=SLOWER) for order in range(orders)]
    plain = [_hurry(rows, limits[-1], seed + order, None, slower=SLOWER) for order in range(orders)]
    return [
        *found,
        _late_row(f"limit of {limits[-1]:.0f} ms, {SLOWER:g} times as slow from the middle on", kept, plain),
    ]


def _late_row(name: str, kept: Sequence[_Kept], plain: Sequence[_Kept]) -> Row:
    late = 100.0 * np.array([one.late for one in kept])
    allowed = 100.0 * (1.0 - LATENCY_QUANTILE + OVERSHOOT)
    return Row(
        f"{name}: later, of the answers expected within it",
        float(late.mean()),
        "%",
        peers={
            "worst order": float(late.max()),
            "without correction": 100.0 * float(np.mean([one.late for one in plain])),
        },
        target=allowed,
        met=bool(late.mean() <= allowed),
    )


def _hurry(rows: _Rows, limit: float, seed: int, lateness: Lateness | None, *, slower: float = 1.0) -> _Kept:
    """Return what comes of a limit of latency in one order of the requests, with what was late told or not.

    Args:
        slower: times that everything takes in the second half.
    """
    rng, limits = np.random.default_rng(seed), Constraints(max_latency_ms=limit)
    late = hopeful = earned = 0.0
    order = rng.permutation(len(rows.quality)).tolist()
    for place, i in enumerate(order):
        factor = 1.0 if lateness is None else lateness.factor
        expected = (factor * rows.latency_ms[i]).tolist()
        tier = choose(rows.tiers, rows.quality[i].tolist(), expected, 1.0, UNLIMITED, limits, rng).tier
        earned += float(rows.real_quality[i, tier])
        if expected[tier] > limit:
            continue
        is_late = bool(rows.real_latency_ms[i, tier] * (slower if 2 * place >= len(order) else 1.0) > limit)
        hopeful, late = hopeful + 1.0, late + is_late
        if lateness is not None:
            lateness.observe(is_late)
    return _Kept(quality=earned / len(order), late=late / max(hopeful, 1.0), hopeless=1.0 - hopeful / len(order))
