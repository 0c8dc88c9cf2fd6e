"""Decides who answers: features, one step of the network, calibration and policy; keeps what sessions need of it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ruvllm.router.features import FEATURE_VERSION, Features, ProbeView, RouterInputs, features
from ruvllm.router.learnt import Estimates, Learnt, estimates, tier_inputs
from ruvllm.router.model import TierInputs
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
    tier: int


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
        policy = in_force.policy
        if policy.certified:
            before = None  # a certificate is about questions, each on its own
        if constraints.min_quality is not None:
            policy = replace(policy, quality_floor=constraints.min_quality)
        judged = self._judge(in_force, inputs, before)
        is_probed = False
        if probe is not None and judged.learnt and self._straddles(judged, policy):
            view = probe()
            if view is not None:
                is_probed = True
                judged = self._judge(in_force, replace(inputs, probe=view), before)
        expected = judged.expected
        quality, latency = expected.quality.tolist(), expected.latency_ms.tolist()
        confidence = float(expected.confidence * expected.familiarity) if judged.learnt else None
        choice = choose(
            self.tiers,
            quality,
            latency,
            confidence,
            policy,
            constraints,
            self._rng,
            counts=self.memory.counts(),
            previous=None if before is None else before.tier,
        )
        self._remember(session, in_force, before, judged.state, choice)
        return self._decision(choice, judged, quality, latency, confidence, in_force.version, is_probed)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _judge(self, in_force: _InForce, inputs: RouterInputs, before: _Session | None) -> _Judged:
        learnt = in_force.learnt
        made = features(inputs, None if learnt is None else learnt.embedding_map)
        evidence = Evidence.nothing(len(self.tiers)) if inputs.evidence is None else inputs.evidence
        told = tier_inputs(evidence, self.tiers)
        if learnt is None:
            nothing = np.zeros((), np.float32)
            return _Judged(made, told, Estimates(told.quality, told.latency_ms, nothing, nothing), None)
        state = learnt.model.initial_state() if before is None else before.state
        state, judged = learnt.model.step(made.values, state, told)
        return _Judged(made, told, estimates(learnt, judged, evidence.nearest_similarity), state)

    def _straddles(self, judged: _Judged, policy: Policy) -> bool:
        """Return whether the floor lies within the interval of a tier smaller than the largest."""
        q = judged.expected.quality[:-1]
        outcomes = np.maximum(np.expm1(3.0 * (judged.told.evidence[:-1, 2] + 1.0)), 1.0)
        error = STRADDLE * np.sqrt(q * (1.0 - q) / outcomes)
        floor = policy.quality_floor if policy.threshold is None else policy.threshold
        return bool((np.abs(q - floor) < error).any())

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
            if turns < MAX_TURNS:
                self._sessions[session] = _Session(state, turns, choice.tier)
            while len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)

    def _decision(
        self,
        choice: Choice,
        judged: _Judged,
        quality: Sequence[float],
        latency_ms: Sequence[float],
        confidence: float | None,
        version: int,
        is_probed: bool,
    ) -> Decision:
        told = [judged.told.quality, judged.told.latency_ms, judged.told.evidence.ravel()]
        row = np.concatenate([judged.made.values, *told]).astype("<f4", copy=False)
        present = np.concatenate([judged.made.present, np.ones(len(row) - len(judged.made.present), np.bool_)])
        return Decision(
            estimates=tuple(
                TierEstimate(tier.name, quality[i], choice.propensity[i], quality[i], latency_ms[i], tier.cost)
                for i, tier in enumerate(self.tiers)
            ),
            tier=self.tiers[choice.tier].name,
            features=row.tobytes(),
            present=np.packbits(present).tobytes(),
            feature_version=FEATURE_VERSION,
            checkpoint=version,
            decided_by=choice.decided_by,
            reason=choice.reason,
            confidence=confidence,
            explored=choice.explored,
            probed=is_probed,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """One question with what was made of it."""

    made: Features
    told: TierInputs
    expected: Estimates
    state: Floats | None  # of the session after it; None while nothing was learnt

    @property
    def learnt(self) -> bool:
        return self.state is not None
