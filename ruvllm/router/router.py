"""Decides who answers: features, one step of the network, calibration and policy; keeps what sessions need of it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ruvllm.router.budget import FREE, Budget, Lateness
from ruvllm.router.features import FEATURE_VERSION, Features, ProbeView, RouterInputs, features
from ruvllm.router.judge import Expected
from ruvllm.router.learnt import Learnt, tier_inputs
from ruvllm.router.model import HIDDEN_SIZE, TierInputs
from ruvllm.router.outcome_memory import Evidence, OutcomeMemory
from ruvllm.router.outcomes import TierInfo
from ruvllm.router.policy import Choice, Policy, choose
from ruvllm.types import Constraints, Decision, TierEstimate

__all__ = ["Router"]

Floats = npt.NDArray[np.float32]

MAX_SESSIONS = 10_000  # whose state is kept; 256 bytes each
MAX_TURNS = 16  # after which a session's state starts anew: it may grow by nu a turn
STRADDLE = 1.28  # standard errors of an expected quality: an interval of 80 %
Probing = Callable[[], ProbeView | None]


@dataclass(frozen=True, slots=True, eq=False)
class _Session:
    state: Floats
    turns: int
    tier: int | None


@dataclass(frozen=True, slots=True, eq=False)
class _InForce:
    """What decides at one moment."""

    policy: Policy
    learnt: Learnt | None = None
    version: int = 0


class Router:
    """Chooses among `tiers`. Safe to share between threads: a decision uses what was in force when it began.

    Until something is learnt (`adopt`), the safe default answers, but for what is explored. Rows of `memory` count at
    once.

    Args:
        tiers: the cheapest first, at least two.
        memory: what tiers did on earlier questions; of the same tiers.
        seed: of the draws of exploration.
    """

    def __init__(self, tiers: Sequence[TierInfo], memory: OutcomeMemory, policy: Policy, *, seed: int = 0) -> None:
        if len(tiers) < 2:
            raise ValueError(f"tiers must hold at least two tiers ({len(tiers)}): one needs no router")
        if not 0 <= policy.safe_default < len(tiers):
            raise ValueError(f"policy.safe_default must be in [0, {len(tiers)}) ({policy.safe_default})")
        self.tiers = tuple(tiers)
        self.memory = memory
        self._in_force = _InForce(policy)
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._lock = threading.Lock()
        self._rng = np.random.default_rng(seed)
        self._budget = None if policy.cost_budget is None else Budget(policy.cost_budget, tiers)
        self._lateness = Lateness()
        self._drawn = [0] * len(tiers)  # by exploration: who is never rated is not drawn forever
        self._initial_state = np.zeros(HIDDEN_SIZE, np.float32)

    @property
    def learnt(self) -> Learnt | None:
        """What was learnt; None while nothing was."""
        return self._in_force.learnt

    @property
    def version(self) -> int:
        """Number of the checkpoint in force, 0 for none."""
        return self._in_force.version

    @property
    def policy(self) -> Policy:
        """How tiers are chosen."""
        return self._in_force.policy

    def adopt(self, learnt: Learnt | None, version: int) -> None:
        """Put a trained router in force at once; sessions start anew. Any certificate was about the one before.

        Raises:
            ValueError: it was trained for other tiers.
        """
        if learnt is not None and learnt.tiers != self.tiers:
            names = ", ".join(tier.name for tier in learnt.tiers)
            raise ValueError(f"learnt must be about these tiers (it is about {names})")
        with self._lock:
            self._sessions.clear()
            self._in_force = _InForce(replace(self._in_force.policy, threshold=None), learnt, version)

    def certify(self, threshold: float | None) -> None:
        """Put the threshold of a certificate in force, or None when it is void."""
        with self._lock:
            self._in_force = replace(self._in_force, policy=replace(self._in_force.policy, threshold=threshold))

    def forget_sessions(self) -> None:
        """Let every session start anew."""
        with self._lock:
            self._sessions.clear()

    def answered(
        self,
        chosen: int,
        tier: int,
        *,
        cost: float | None = None,
        latency_ms: float | None = None,
        limit_ms: float | None = None,
    ) -> None:
        """Let what the answer of a decision really took count for the budget and for limits of latency.

        Args:
            chosen: place of the tier that was chosen. tier: of the one that answered, another where that was down.
            limit_ms: within which it was expected; None where there was no limit, or none that could be kept.
        """
        with self._lock:
            if self._budget is not None and cost is not None:
                self._budget.settle(chosen, tier, cost)
            if latency_ms is not None and limit_ms is not None:
                self._lateness.observe(latency_ms > limit_ms)

    def decide(
        self,
        inputs: RouterInputs,
        constraints: Constraints,
        *,
        session: str | None = None,
        probe: Probing | None = None,
    ) -> Decision:
        """Return the choice for one question.

        Args:
            inputs: what is known of it; its evidence is looked up here where it is None.
            probe: asks the smallest local tier, which takes milliseconds: called only when the estimate of a smaller
                tier may lie on either side of the floor.

        Raises:
            ValueError: the constraints leave no tier.
        """
        if inputs.evidence is None and inputs.vector is not None:
            inputs = replace(inputs, evidence=self.memory.near(inputs.vector, inputs.text))
        in_force, before = self._in_force, self._session(session)
        if in_force.policy.certified:
            before = probe = None  # a certificate is about questions, each on its own, as it was computed
        seen = self._see(in_force, inputs)
        state, expected = self._judge(in_force, seen, before)
        is_probed = False
        if probe is not None and self._straddles(in_force, seen, expected, constraints):
            view = probe()
            if view is not None:
                is_probed = True
                seen = self._see(in_force, replace(inputs, probe=view))
                state, expected = self._judge(in_force, seen, before)
        choice = self._choose(in_force, expected, before, constraints)
        if choice.explored:
            with self._lock:
                self._drawn[choice.tier] += 1
        self._remember(session, in_force, before, state, choice)
        return self._decision(choice, seen, expected, in_force, is_probed)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _see(self, in_force: _InForce, inputs: RouterInputs) -> _Seen:
        """Return the features of one question: all that takes longer than microseconds."""
        made = features(inputs, None if in_force.learnt is None else in_force.learnt.embedding_map)
        evidence = Evidence.nothing(len(self.tiers)) if inputs.evidence is None else inputs.evidence
        return _Seen(made, tier_inputs(evidence, self.tiers), float(evidence.nearest_similarity))

    def _judge(self, in_force: _InForce, seen: _Seen, before: _Session | None) -> tuple[Floats | None, Expected]:
        """Return the session's next state, None while nothing was learnt, and what is expected of the tiers."""
        learnt = in_force.learnt
        state = None
        if learnt is None:
            expected = Expected(seen.told.quality.tolist(), seen.told.latency_ms.tolist(), None)
        else:
            state = self._initial_state if before is None else before.state
            state, expected = learnt.judge(seen.made.values, state, seen.told, seen.nearest)
        if not in_force.policy.certified and (later := self._lateness.factor) > 1.0:
            expected = expected._replace(latency_ms=[later * ms for ms in expected.latency_ms])
        return state, expected

    def _choose(
        self, in_force: _InForce, expected: Expected, before: _Session | None, constraints: Constraints
    ) -> Choice:
        choice = choose(
            self.tiers,
            expected.quality,
            expected.latency_ms,
            expected.confidence,
            in_force.policy,
            constraints,
            self._rng,
            counts=[max(known, drawn) for known, drawn in zip(self.memory.counts(), self._drawn, strict=True)],
            previous=None if before is None else before.tier,
            terms=FREE if self._budget is None else self._budget.terms(),
        )
        if self._budget is not None:
            with self._lock:
                self._budget.charge(expected.quality, choice.wanted, choice.tier)
        return choice

    def _straddles(self, in_force: _InForce, seen: _Seen, expected: Expected, constraints: Constraints) -> bool:
        """Return whether the floor lies within the interval of a tier smaller than the largest."""
        if in_force.learnt is None:
            return False
        policy = in_force.policy
        floor = policy.quality_floor if constraints.min_quality is None else constraints.min_quality
        q = np.array(expected.quality[:-1])
        outcomes = np.maximum(np.expm1(3.0 * (seen.told.evidence[:-1, 2] + 1.0)), 1.0)
        error = STRADDLE * np.sqrt(q * (1.0 - q) / outcomes)
        return bool((np.abs(q - (floor if policy.threshold is None else policy.threshold)) < error).any())

    def _session(self, session: str | None) -> _Session | None:
        if session is None:
            return None
        with self._lock:
            return self._sessions.get(session)

    def _remember(
        self, session: str | None, in_force: _InForce, before: _Session | None, state: Floats | None, choice: Choice
    ) -> None:
        if session is None or state is None:
            return
        turns = 1 if before is None else before.turns + 1
        with self._lock:
            if self._in_force.learnt is not in_force.learnt:
                return
            self._sessions.pop(session, None)
            if turns < MAX_TURNS:  # what was drawn to learn from it is no habit of the session
                tier = (None if before is None else before.tier) if choice.explored else choice.tier
                self._sessions[session] = _Session(state, turns, tier)
            while len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)

    def _decision(
        self, choice: Choice, seen: _Seen, expected: Expected, in_force: _InForce, is_probed: bool
    ) -> Decision:
        values, told, quality = seen.made.values, seen.told, expected.quality
        row = np.concatenate([values, told.quality, told.latency_ms, told.evidence.ravel()]).astype("<f4", copy=False)
        present = np.ones(len(row), np.bool_)
        present[: len(values)] = seen.made.present
        return Decision(
            estimates=tuple(
                TierEstimate(tier.name, quality[i], choice.propensity[i], quality[i], expected.latency_ms[i], tier.cost)
                for i, tier in enumerate(self.tiers)
            ),
            tier=self.tiers[choice.tier].name,
            features=row.tobytes(),
            present=np.packbits(present).tobytes(),
            feature_version=FEATURE_VERSION,
            checkpoint=in_force.version,
            decided_by=choice.decided_by,
            reason=choice.reason,
            confidence=expected.confidence,
            context_tokens=expected.context_tokens,
            explored=choice.explored,
            probed=is_probed,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What is known of one question when it is judged; `nearest` is the cosine of its nearest logged question."""

    made: Features
    told: TierInputs
    nearest: float
