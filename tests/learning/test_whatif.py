"""What another floor would have given is near what it does give; a log that is worth too little is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from memory.fakes import WordEmbedder
from router.questions import KINDS, TIERS

from learning.routed_brains import POLICY, RIGHT, brain, requests
from ruvllm.learning.whatif import Routed, as_it_was, decisions_of, routed_log, targets, what_if
from ruvllm.memory import Memory
from ruvllm.types import TierOutcome

COSTS = np.array([tier.cost for tier in TIERS])


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Routed, np.ndarray]:
    """A log of 1,500 requests, 40 % of them explored, and the kind of each question."""
    folder = brain(tmp_path_factory.mktemp("brains") / "b", 1500)
    with Memory(folder, embedder=WordEmbedder(), read_only=True) as memory:
        decisions = decisions_of(memory, 30.0, now=0.0)
        kinds = [next(i for i, name in enumerate(KINDS) if name in str(one.query)) for one in decisions]
        return routed_log(memory, decisions), np.array(kinds)


@pytest.mark.parametrize("floor", [0.1, 0.5, 0.93])
def test_estimates_hold_what_the_floor_really_gives(log: tuple[Routed, np.ndarray], floor: float) -> None:
    rows, kinds = log
    policy = replace(POLICY, quality_floor=floor)
    found, chosen = what_if(rows, policy), targets(rows, policy)
    wide = 1.5  # of half an interval: 95 % would miss one in twenty
    for one, truth in ((found.quality, np.array(RIGHT)[kinds, chosen].mean()), (found.cost, COSTS[chosen].mean())):
        assert abs(one.value - truth) <= wide * (one.high - one.low) / 2.0
    draws = np.exp(np.random.default_rng(0).normal(np.array([4.0, 6.0])[chosen], 0.1, (200, len(rows))))
    slow = float(np.quantile(draws, 0.95))
    assert abs(found.latency_p95_ms.value / slow - 1.0) < 0.05
    assert found.latency_p95_ms.low <= found.latency_p95_ms.value <= found.latency_p95_ms.high


def test_the_plain_mean_would_be_wrong(log: tuple[Routed, np.ndarray]) -> None:
    rows, kinds = log
    chosen = targets(rows, replace(POLICY, quality_floor=0.1))
    truth = float(np.array(RIGHT)[kinds, chosen].mean())
    assert abs(as_it_was(rows)[0] - truth) > 0.03


def test_a_higher_floor_costs_more(log: tuple[Routed, np.ndarray]) -> None:
    low, high = (what_if(log[0], replace(POLICY, quality_floor=floor)) for floor in (0.1, 0.93))
    assert high.cost.low > low.cost.high and high.quality.value > low.quality.value
    assert sum(low.shares) == pytest.approx(1.0) and low.shares[0] > high.shares[0]


def test_sessions_keep_their_tier_as_they_do_in_use(log: tuple[Routed, np.ndarray]) -> None:
    policy = replace(POLICY, quality_floor=0.9)
    free = targets(replace(log[0], sessions=(None,) * len(log[0])), policy)
    kept = targets(log[0], replace(policy, hysteresis=1.0))
    alone = np.array([session is None for session in log[0].sessions])
    assert (free == kept)[alone].all() and not (free == kept).all()


def test_a_log_that_never_tried_it_is_refused(log: tuple[Routed, np.ndarray]) -> None:
    rows = log[0]
    other = 1 - targets(rows, replace(POLICY, quality_floor=0.93))
    with pytest.raises(ValueError, match=r"quality_floor 0\.93 cannot be judged: the log is worth 0 requests"):
        what_if(replace(rows, tier=other), replace(POLICY, quality_floor=0.93))


def test_ratings_that_are_missing_are_not_failures(log: tuple[Routed, np.ndarray]) -> None:
    rows, kinds = log
    some = np.random.default_rng(0).random(rows.real["quality"].shape) < 0.5
    fewer = {**rows.real, "quality": np.where(some, rows.real["quality"], np.nan)}
    found = what_if(replace(rows, real=fewer), POLICY)
    truth = float(np.array(RIGHT)[kinds, targets(rows, POLICY)].mean())
    assert abs(found.quality.value - truth) < 0.06 and found.cost == what_if(rows, POLICY).cost


def test_where_every_tier_answers_its_own_choice_counts(log: tuple[Routed, np.ndarray]) -> None:
    rows = log[0]
    full = {name: np.tile([0.25, 0.75], (len(rows), 1)) for name in rows.real}
    rows = replace(rows, calibrates=np.ones(len(rows), np.bool_), real=full)
    found, chosen = what_if(rows, POLICY), targets(rows, POLICY)
    assert found.quality.effective == len(rows)
    assert found.quality.value == pytest.approx(np.array([0.25, 0.75])[chosen].mean())


def test_what_an_untrained_router_decided_is_left_out(tmp_path: Path) -> None:
    first, *others = requests(12)
    untrained = replace(first, decision=replace(first.decision, checkpoint=0))  # type: ignore[type-var]
    with Memory(tmp_path / "b", embedder=WordEmbedder()) as memory:
        for one in (untrained, *others):
            memory.record(one)
        memory.record(replace(first, id="b", decision=None, outcome=TierOutcome("small")))
        decisions = decisions_of(memory, 30.0, now=0.0)
        assert (len(decisions), len(routed_log(memory, decisions))) == (12, 11)


def test_an_empty_month_is_named(tmp_path: Path) -> None:
    with (
        Memory(brain(tmp_path / "b", 3), embedder=WordEmbedder()) as memory,
        pytest.raises(ValueError, match="nothing was routed in the last 2 days"),
    ):
        decisions_of(memory, 2.0)
