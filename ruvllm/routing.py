"""Between the pipeline and a router: what it is asked, what it answers, and what happens when a tier is down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from ruvllm.config import without_userinfo
from ruvllm.inference import Engine
from ruvllm.inference.open import is_remote
from ruvllm.inference.runtime_engine import Probe
from ruvllm.types import Constraints, Decision, Hits, Message, TierEstimate, TierOutcome

__all__ = [
    "Asked",
    "Lends",
    "Routes",
    "allowed",
    "cost_of",
    "cost_of_tokens",
    "fallbacks",
    "instead",
    "probe_with",
    "shown",
]

PROBE_TOKENS = 64  # of the question that the smallest tier reads before it is known who answers


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One request as a router sees it, after retrieval and before the prompt.

    Attributes:
        vector: (native_dim,) float32, unit length: the question's.
        hits: what memory holds on it, best first.
        hit_vectors: (m, dim) float32 of the hits, 0 for one that has none.
        hit_links: among the hits.
        turn: place of the question in its session, from 0.
        tiers: that may answer it, the cheapest first; at least two.
    """

    query: str
    vector: np.ndarray
    hits: Hits
    hit_vectors: np.ndarray
    hit_links: int
    session: str | None
    turn: int
    constraints: Constraints
    tiers: tuple[str, ...]


class Lends(Protocol):
    """Lends the engine of a tier, waiting for it up to `timeout_s`; as long as configured when None.

    While it waits, `cancelled` is asked; once that says True it raises CancelledError.
    """

    def __call__(
        self, tier: str, /, *, timeout_s: float | None, cancelled: Callable[[], bool]
    ) -> AbstractContextManager[Engine]: ...


class Routes(Protocol):
    """Chooses who answers. Safe to share between threads; what it knows of a session it keeps itself."""

    @property
    def checkpoint(self) -> int:
        """The version in force, 0 for the untrained."""
        ...

    def decide(self, asked: Asked, *, probe: Callable[[], tuple[Probe, int] | None]) -> Decision:
        """Return the choice among `asked.tiers`.

        Args:
            probe: lets the smallest local tier read the start of the question, which takes milliseconds; returns what
                it makes of it and how many tokens it read, None where no such tier is up.
        """
        ...

    def answered(self, decision: Decision, outcome: TierOutcome) -> None:
        """Let what came of a decision, as it was made, count: what its answer cost, and how late it came.

        Where the chosen tier was down, `outcome` is of the one that answered in its place.
        """
        ...


@runtime_checkable
class _Probing(Protocol):
    def probe(self, messages: Sequence[Message], *, max_tokens: int) -> Probe: ...


def probe_with(engine: Engine, query: str) -> tuple[Probe, int] | None:
    """Return what an engine makes of the start of a question, and of how many tokens; None when it cannot say."""
    if not isinstance(engine, _Probing):
        return None
    messages = [Message("user", query)]
    return engine.probe(messages, max_tokens=PROBE_TOKENS), min(PROBE_TOKENS, engine.count_tokens(messages))


def shown(tier: str) -> str:
    """Return a tier's name as routers, logs and users see it: without a password."""
    return without_userinfo(tier)


def allowed(tiers: Sequence[str], constraints: Constraints) -> tuple[str, ...]:
    """Return the tiers that a question may be sent to: with privacy "local", no endpoint."""
    return tuple(tier for tier in tiers if constraints.privacy == "any" or not is_remote(tier))


def fallbacks(tier: str, tiers: Sequence[str]) -> list[str]:
    """Return `tier` and who answers when it is down: the next larger ones, then the next smaller ones."""
    place = list(tiers).index(tier)
    return [*tiers[place:], *reversed(tiers[:place])]


def instead(decision: Decision, tier: str) -> Decision:
    """Return the decision with another tier in the place of the chosen one, which is down, and with its chance too."""
    down = decision.chosen

    def moved(one: TierEstimate) -> TierEstimate:
        gains = down.propensity if one.tier == tier else -down.propensity if one.tier == down.tier else 0.0
        return replace(one, propensity=min(one.propensity + gains, 1.0))

    return replace(
        decision,
        tier=tier,
        estimates=tuple(map(moved, decision.estimates)),
        decided_by="fallback",
        reason=f"{down.tier} is down; {decision.reason}",
        confidence=None,
    )


def cost_of(engine: Engine, tokens: int) -> float | None:
    """Return what an answer of `tokens`, its prompt included, cost; None where nobody knows the model's size."""
    return None if engine.parameters is None else cost_of_tokens(tokens, engine.parameters)


def cost_of_tokens(tokens: int, parameters: int) -> float:
    """Return thousands of tokens times billions of parameters: half a tera-operation each."""
    return tokens / 1e3 * parameters / 1e9
