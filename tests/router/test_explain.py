"""Contributions sum to the score, a counterfactual changes the choice, and what cannot be explained is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.questions import TIERS, kind, outcomes
from ruvllm.router.explain import EVIDENCE, Counterfactual, Explanation, explain
from ruvllm.router.features import FEATURES, GROUPS, NUM_FEATURES, Machine, RouterInputs
from ruvllm.router.fitted import FittedRouter, fit
from ruvllm.router.learnt import Learnt, estimates
from ruvllm.router.logged import seen
from ruvllm.router.model import NUM_EVIDENCE, TierInputs
from ruvllm.router.policy import Policy, choose
from ruvllm.router.router import Router
from ruvllm.types import Constraints, Decision

POLICY = Policy(quality_floor=0.6, confidence_threshold=0.2, explore=0.0, safe_default=1)
CHEAP = Constraints(max_cost=0.2)


@pytest.fixture(scope="module")
def fitted() -> FittedRouter:
    """What 400 questions teach."""
    return fit(outcomes())


def decided(fitted: FittedRouter, turns: int = 1) -> list[Decision]:
    """Return the decisions of one session about a question of each kind in turn."""
    router = Router(TIERS, fitted.memory, POLICY)
    router.adopt(fitted.learnt, 7)
    found = []
    for turn in range(turns):
        texts, vectors = kind(turn % 4)
        inputs = RouterInputs(texts[turn], turn, turn, vectors[turn], machine=Machine(0.5, 0.2, 8))
        found.append(router.decide(inputs, Constraints(), session="alice"))
    return found


def explained(fitted: FittedRouter, turns: int = 1, policy: Policy = POLICY) -> Explanation:
    *earlier, decision = decided(fitted, turns)
    return explain(decision, fitted.learnt, 7, policy, earlier=earlier)


@pytest.mark.parametrize("turns", [1, 4, 18])  # a session of 18 has started anew at its seventeenth turn
def test_contributions_sum_to_the_score(fitted: FittedRouter, turns: int) -> None:
    why, last = explained(fitted, turns), decided(fitted, turns)[-1]
    assert sum(one.amount for one in why.contributions) == pytest.approx(why.score, abs=1e-6)
    assert sum(why.groups.values()) == pytest.approx(why.score, abs=1e-6)
    assert why.quality == pytest.approx(last.chosen.quality, abs=1e-6) and why.tier == last.tier


def test_a_turn_that_was_drawn_is_no_habit_of_its_session(fitted: FittedRouter) -> None:
    policy = replace(POLICY, explore=0.5, hysteresis=1.0)  # whoever answered last stays
    router = Router(TIERS, fitted.memory, policy, seed=0)
    router.adopt(fitted.learnt, 7)
    texts, vectors = kind(0)
    inputs = [RouterInputs(texts[i], i, i, vectors[i], machine=Machine(0.5, 0.2, 8)) for i in range(2)]
    sessions = [[router.decide(one, Constraints(), session=f"{i}") for one in inputs] for i in range(40)]
    drawn = [(first, last) for first, last in sessions if first.explored and not last.explored]
    assert any(first.tier != last.tier for first, last in drawn)
    assert all(explain(last, fitted.learnt, 7, policy, earlier=[one]).policy_tier == last.tier for one, last in drawn)


def test_the_score_is_the_logit_that_the_network_gives(fitted: FittedRouter) -> None:
    (decision,) = decided(fitted)
    was, model = seen(decision), fitted.learnt.model
    _, judged = model.step(was.features, model.initial_state(), was.told)
    tier = [one.tier for one in decision.estimates].index(decision.tier)
    assert explained(fitted).score == pytest.approx(float(judged.quality_logit[tier]), abs=1e-4)


def test_contributions_are_those_of_what_was_there_the_largest_first(fitted: FittedRouter) -> None:
    why = explained(fitted)
    sizes = [abs(one.amount) for one in why.contributions]
    assert sizes == sorted(sizes, reverse=True)
    assert {"component_0", "free_memory", "near_quality"} < {one.name for one in why.contributions}
    assert not [one for one in why.contributions if one.group in ("probe", "retrieval")]


def test_each_contribution_follows_from_its_own_number(fitted: FittedRouter) -> None:
    """A network that looks at one feature alone: the others add nothing, and that one adds its exact difference."""
    learnt, model = fitted.learnt, fitted.learnt.model
    (decision,) = decided(fitted)
    place = [feature.name for feature in FEATURES].index("free_memory")
    params = learnt.trained.params.copy()
    dense = params[: 64 * NUM_FEATURES].reshape(64, NUM_FEATURES)
    dense[:, np.arange(NUM_FEATURES) != place] = 0.0
    dense[:, place] = 0.5
    whole = np.ones((64, NUM_FEATURES), np.bool_)
    other = replace(learnt, trained=replace(learnt.trained, params=params, w_support=whole))
    assert model.cell.layout["w"][0].start == 0
    taken = _taken_again(decision, other)
    why = explain(taken, other, 7, POLICY)
    assert {one.name for one in why.contributions if one.group in GROUPS and abs(one.amount) > 1e-6} <= {"free_memory"}


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_the_counterfactual_changes_the_choice(fitted: FittedRouter, turns: int) -> None:
    *earlier, decision = decided(fitted, turns)
    change = explain(decision, fitted.learnt, 7, POLICY, earlier=earlier).counterfactual
    assert change is not None and change.tier != decision.tier
    assert _choice(fitted, decision, earlier, change) == change.tier
    assert _choice(fitted, decision, earlier, replace(change, after=change.before)) == decision.tier


def test_half_of_the_change_is_not_enough(fitted: FittedRouter) -> None:
    (decision,) = decided(fitted)
    change = explain(decision, fitted.learnt, 7, POLICY).counterfactual
    assert change is not None
    half = replace(change, after=(change.before + change.after) / 2.0)
    assert _choice(fitted, decision, [], half) == decision.tier


def test_a_choice_that_nothing_changes_has_no_counterfactual(fitted: FittedRouter) -> None:
    why = explained(fitted, policy=replace(POLICY, certified=True))
    assert why.counterfactual is None and why.policy_tier == "large"


def test_limits_of_the_request_count(fitted: FittedRouter) -> None:
    texts, vectors = kind(3)
    router = Router(TIERS, fitted.memory, POLICY)
    router.adopt(fitted.learnt, 7)
    decision = router.decide(RouterInputs(texts[0], vector=vectors[0], constraints=CHEAP), CHEAP)
    why = explain(decision, fitted.learnt, 7, POLICY)
    assert why.tier == why.policy_tier == "small"
    assert why.counterfactual is not None and why.counterfactual.name == "log_cost_budget"


def test_another_checkpoint_is_refused(fitted: FittedRouter) -> None:
    (decision,) = decided(fitted)
    with pytest.raises(ValueError, match="taken by checkpoint 7, not by 8"):
        explain(decision, fitted.learnt, 8, POLICY)


def test_other_weights_under_the_same_number_are_refused(fitted: FittedRouter) -> None:
    (decision,) = decided(fitted)
    with pytest.raises(ValueError, match="does not follow from checkpoint 7"):
        explain(decision, fit(outcomes(60, seed=1)).learnt, 7, POLICY)


def test_a_turn_whose_session_is_not_known_is_refused(fitted: FittedRouter) -> None:
    with pytest.raises(ValueError, match="earlier turns of the session are not known"):
        explain(decided(fitted, 4)[-1], fitted.learnt, 7, POLICY)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"feature_version": 9}, "features of version 9; this ruvllm reads version 2"),
        ({"features": bytes(16), "present": bytes(1)}, "must hold 142 finite numbers for 2 tiers"),
    ],
)
def test_other_features_are_refused(fitted: FittedRouter, changed: dict[str, object], message: str) -> None:
    (decision,) = decided(fitted)
    with pytest.raises(ValueError, match=message):
        explain(replace(decision, **changed), fitted.learnt, 7, POLICY)  # type: ignore[arg-type]


def test_other_tiers_are_refused(fitted: FittedRouter) -> None:
    (decision,) = decided(fitted)
    renamed = tuple(replace(one, tier=f"{one.tier}-2") for one in decision.estimates)
    with pytest.raises(ValueError, match="tiers of the decision"):
        explain(replace(decision, estimates=renamed, tier=renamed[0].tier), fitted.learnt, 7, POLICY)


def _taken_again(decision: Decision, learnt: Learnt) -> Decision:
    """Return the decision with the estimates that another router has of it."""
    was = seen(decision)
    model = learnt.model
    _, judged = model.step(was.features, model.initial_state(), was.told)
    nearest = (was.told.evidence[0, -1] + 1.0) / 2.0
    quality = estimates(learnt, judged, nearest).quality.tolist()
    rows = tuple(replace(one, quality=q) for one, q in zip(decision.estimates, quality, strict=True))
    return replace(decision, estimates=rows)


def _choice(fitted: FittedRouter, decision: Decision, earlier: list[Decision], change: Counterfactual) -> str:
    """Return the tier that is chosen when one number is another, by the parts of the router itself."""
    learnt, was = fitted.learnt, seen(decision)
    state = learnt.model.initial_state()
    for turn in map(seen, earlier):
        state, _ = learnt.model.step(turn.features, state, turn.told)
    values, evidence = was.features.copy(), was.told.evidence.copy()
    if change.group == "evidence":
        number = [name for name, *_ in EVIDENCE].index(change.name)
        rows = slice(None) if change.of_tier is None else [tier.name for tier in TIERS].index(change.of_tier)
        evidence[rows, number] = change.after
    else:
        place = [feature.name for feature in FEATURES].index(change.name)
        values[place] = (change.after - FEATURES[place].centre) / FEATURES[place].scale
    told = TierInputs(was.told.quality, was.told.latency_ms, evidence)
    assert evidence.shape == (2, NUM_EVIDENCE)
    _, judged = learnt.model.step(values, state, told)
    expected = estimates(learnt, judged, (evidence[0, -1] + 1.0) / 2.0)
    sure = float(expected.confidence * expected.familiarity)
    names = [tier.name for tier in TIERS]
    previous = names.index(earlier[-1].tier) if earlier else None
    quality, latency = expected.quality.tolist(), expected.latency_ms.tolist()
    rng = np.random.default_rng(0)
    return names[choose(TIERS, quality, latency, sure, POLICY, Constraints(), rng, previous=previous).tier]
