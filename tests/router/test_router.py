"""Decisions of the router in force: what is logged, what sessions keep, when the probe is asked, what is swapped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.questions import DIM, TIERS, kind, outcomes
from ruvllm.router.features import FEATURE_VERSION, NUM_FEATURES, ProbeView, RouterInputs
from ruvllm.router.fitted import FittedRouter, fit
from ruvllm.router.model import CONTEXT_BINS
from ruvllm.router.outcome_memory import OutcomeMemory
from ruvllm.router.outcomes import TierInfo
from ruvllm.router.policy import Policy
from ruvllm.router.router import Router
from ruvllm.types import Constraints, Decision

POLICY = Policy(quality_floor=0.6, confidence_threshold=0.2, explore=0.0, safe_default=1)


@pytest.fixture(scope="module")
def fitted() -> FittedRouter:
    """What 400 questions teach."""
    return fit(outcomes())


def router_of(fitted: FittedRouter, **changed: object) -> Router:
    router = Router(TIERS, fitted.memory, replace(POLICY, **changed))  # type: ignore[arg-type]
    router.adopt(fitted.learnt, 1)
    return router


def ask(router: Router, number: int, i: int = 0, **more: object) -> Decision:
    texts, vectors = kind(number)
    return router.decide(RouterInputs(texts[i], vector=vectors[i]), Constraints(), **more)  # type: ignore[arg-type]


def test_easy_questions_go_to_the_small_tier_and_hard_ones_to_the_large(fitted: FittedRouter) -> None:
    router = router_of(fitted)
    assert [ask(router, 0, i).tier for i in range(10)].count("small") >= 9
    assert [ask(router, 3, i).tier for i in range(10)].count("large") >= 9


def test_without_anything_learnt_the_safe_default_answers() -> None:
    decision = ask(Router(TIERS, OutcomeMemory(TIERS, DIM), POLICY), 0)
    assert (decision.tier, decision.decided_by, decision.checkpoint) == ("large", "safe default", 0)
    assert decision.confidence is None


def test_a_decision_holds_all_it_was_made_by(fitted: FittedRouter) -> None:
    decision = ask(router_of(fitted), 0)
    logged = np.frombuffer(decision.features, "<f4")
    assert len(logged) == NUM_FEATURES + 7 * len(TIERS) and np.isfinite(logged).all()
    assert decision.feature_version == FEATURE_VERSION and decision.checkpoint == 1
    assert [estimate.tier for estimate in decision.estimates] == ["small", "large"]


def test_turns_of_a_session_carry_a_state(fitted: FittedRouter) -> None:
    router = router_of(fitted)
    first = ask(router, 1, session="alice")
    second = ask(router, 1, session="alice")
    assert first.estimates[0].quality != second.estimates[0].quality
    assert ask(router, 1, session="bob").estimates == first.estimates


def test_a_session_starts_anew_when_a_router_is_adopted(fitted: FittedRouter) -> None:
    router = router_of(fitted)
    first = ask(router, 1, session="alice")
    router.adopt(fitted.learnt, 2)
    assert ask(router, 1, session="alice").estimates == first.estimates


def test_the_probe_is_asked_only_when_it_may_matter(fitted: FittedRouter) -> None:
    calls = []

    def probe() -> ProbeView:
        calls.append(1)
        return ProbeView(0.5, 0.2, 1.0, -2.0, 10)

    assert not ask(router_of(fitted, quality_floor=0.01), 0, probe=probe).probed and not calls
    near = ask(router_of(fitted), 1).estimates[0].quality
    assert ask(router_of(fitted, quality_floor=near), 1, probe=probe).probed and calls


def test_a_probe_that_fails_is_no_probe(fitted: FittedRouter) -> None:
    near = ask(router_of(fitted), 1).estimates[0].quality
    assert not ask(router_of(fitted, quality_floor=near), 1, probe=lambda: None).probed


def test_a_request_may_raise_the_floor(fitted: FittedRouter) -> None:
    texts, vectors = kind(0)
    inputs = RouterInputs(texts[0], vector=vectors[0])
    router = router_of(fitted)
    assert router.decide(inputs, Constraints(min_quality=0.1)).tier == "small"
    assert "no tier is expected" in router.decide(inputs, Constraints(min_quality=1.0)).reason


def test_a_certificate_ends_when_the_router_changes(fitted: FittedRouter) -> None:
    router = router_of(fitted, certified=True)
    router.certify(0.5)
    assert ask(router, 0).decided_by == "certificate"
    router.adopt(fitted.learnt, 2)
    assert ask(router, 0).tier == "large" and router.policy.threshold is None


def test_a_router_of_other_tiers_is_not_adopted(fitted: FittedRouter) -> None:
    others = (TierInfo("a", 1, 0.1), TierInfo("b", 2, 0.2))
    with pytest.raises(ValueError, match="about these tiers"):
        Router(others, OutcomeMemory(others, DIM), POLICY).adopt(fitted.learnt, 1)


def test_one_tier_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        Router(TIERS[:1], OutcomeMemory(TIERS[:1], DIM), POLICY)


def test_the_context_is_chosen_once_enough_answers_told_what_they_used(fitted: FittedRouter) -> None:
    router = Router(TIERS, fitted.memory, POLICY)
    router.adopt(fitted.learnt, 1)
    assert ask(router, 0).context_tokens == 0
    router.adopt(replace(fitted.learnt, context_labels=500), 2)
    assert ask(router, 0).context_tokens in CONTEXT_BINS
