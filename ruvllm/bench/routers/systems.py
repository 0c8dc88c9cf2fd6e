"""All that is compared: the floors, LinUCB, ParetoBandit where it is installed, ruvllm and the oracle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ruvllm.bench.routers.ceiling import CEILINGS
from ruvllm.bench.routers.floors import FLOORS, RANDOM, Fit, Router, probe_ridge
from ruvllm.bench.routers.linucb import linucb
from ruvllm.bench.routers.pareto_bandit import pareto_bandit
from ruvllm.bench.routers.probes import views
from ruvllm.bench.routers.table import Floats, Table
from ruvllm.bench.timing import peer

if TYPE_CHECKING:
    from ruvllm.router.fitted import FittedRouter

__all__ = ["ORACLE", "OURS", "PROMPT_ONLY", "RANDOM", "systems"]

OURS = "ruvllm"
PROMPT_ONLY = "ruvllm without the probe"
ORACLE = "oracle"


@dataclass(frozen=True, slots=True, eq=False)
class Ours:
    """The router of this package."""

    router: FittedRouter

    def predict(self, questions: Table) -> Floats:
        """Return (m, T) predicted quality."""
        outcomes = questions.outcomes
        estimates = self.router.predict(outcomes.texts, outcomes.vectors, probes=views(questions))
        return np.asarray(estimates.quality, np.float32)


class Oracle:
    """What knows the outcomes beforehand."""

    def predict(self, questions: Table) -> Floats:
        """Return (m, T) the quality itself."""
        return questions.outcomes.quality


@dataclass(frozen=True, slots=True, eq=False)
class WithoutProbe:
    """A router that is shown no probe."""

    router: Router

    def predict(self, questions: Table) -> Floats:
        """Return (m, T) predicted quality."""
        return self.router.predict(replace(questions, probes=None))


def systems(table: Table, *, ceiling: bool = False) -> dict[str, Fit]:
    """Return how each system learns, by name; those that the table has nothing for are left out.

    Args:
        ceiling: with large learners on the router's own features.
    """
    chosen = dict(FLOORS)
    if not table.has_topics:
        del chosen["topic table"]
    chosen["LinUCB"] = linucb
    if peer("pareto_bandit") is not None:
        chosen["ParetoBandit"] = pareto_bandit
    if table.probes is not None:
        chosen |= {"probe + embedding, ridge": probe_ridge, PROMPT_ONLY: prompt_only}
    if ceiling:
        chosen |= CEILINGS
    return chosen | {OURS: ruvllm, ORACLE: oracle}


def ruvllm(train: Table, seed: int) -> Router:
    """Learn as the router of this package does."""
    from ruvllm.router.fitted import fit

    return Ours(fit(train.outcomes, seed=seed, probes=views(train)))


def prompt_only(train: Table, seed: int) -> Router:
    """Learn as the router of this package does where no model was probed."""
    return WithoutProbe(ruvllm(replace(train, probes=None), seed))


def oracle(train: Table, seed: int) -> Router:
    """Learn nothing, know everything."""
    return Oracle()
