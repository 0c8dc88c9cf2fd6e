"""A logged request is explained by the version that decided it, also where the tiers have changed since."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from memory.fakes import WordEmbedder
from router.questions import TIERS, kind

from learning.routed_brains import POLICY, brain, fitted
from ruvllm.learning.explained import explained
from ruvllm.memory import LoggedDecision, Memory
from ruvllm.router.features import RouterInputs
from ruvllm.router.learn import with_tiers
from ruvllm.router.outcome_memory import OutcomeMemory
from ruvllm.router.outcomes import TierInfo
from ruvllm.router.router import Router
from ruvllm.types import Constraints, Decision

JOINED = (*TIERS, TierInfo("huge", 7_000_000_000, 4.0))


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    """A brain whose version 1 is on disk."""
    folder = brain(tmp_path_factory.mktemp("brains") / "b", 4)
    with Memory(folder, embedder=WordEmbedder(), read_only=True) as memory:
        yield memory


def logged_of(decision: Decision | None) -> LoggedDecision:
    return LoggedDecision("x", None, 0.0, None, decision, ())


def test_a_decision_among_tiers_that_joined_later_is_explained(memory: Memory) -> None:
    router = Router(JOINED, OutcomeMemory(JOINED, 16), replace(POLICY, confidence_threshold=0.0))
    router.adopt(with_tiers(fitted().learnt, JOINED), 1)
    texts, vectors = kind(0)
    decision = router.decide(RouterInputs(texts[0], vector=vectors[0]), Constraints())
    why = explained(memory, logged_of(decision), POLICY, JOINED)
    assert why.tier == decision.tier
    assert sum(one.amount for one in why.contributions) == pytest.approx(why.score, abs=1e-6)
    with pytest.raises(ValueError, match="tiers of the decision"):
        explained(memory, logged_of(decision), POLICY)


def test_what_the_untrained_router_decided_is_not_explained(memory: Memory) -> None:
    decision = memory.routed("a1").decision
    assert decision is not None
    with pytest.raises(ValueError, match="nothing was learnt yet"):
        explained(memory, logged_of(replace(decision, checkpoint=0)), POLICY)


def test_where_there_was_no_choice_nothing_is_explained(memory: Memory) -> None:
    with pytest.raises(ValueError, match="no choice behind 'x'"):
        explained(memory, logged_of(None), POLICY)
