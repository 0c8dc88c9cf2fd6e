"""A request of a brain's log, explained by the checkpoint that decided it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ruvllm.checkpoints import Checkpoints
from ruvllm.learning.promise import PromiseFile
from ruvllm.memory import LoggedDecision, Memory
from ruvllm.router.explain import Explanation, explain
from ruvllm.router.features import FEATURE_VERSION
from ruvllm.router.learn import with_tiers
from ruvllm.router.learnt import Learnt
from ruvllm.router.outcomes import TierInfo
from ruvllm.router.policy import Policy
from ruvllm.types import Decision

__all__ = ["explained"]

NEWEST = 10_000  # requests of the log among which the session's earlier turns are looked for


def explained(memory: Memory, logged: LoggedDecision, policy: Policy, tiers: Sequence[TierInfo] = ()) -> Explanation:
    """Return why a request was routed as it was.

    Args:
        policy: today's; where a certificate decided, the threshold of the one in force is added.
        tiers: of today: a checkpoint of other tiers decides for these by what it knows of them.

    Raises:
        ValueError: there was no choice, nothing was learnt, or its checkpoint is gone or does not fit.
    """
    decision = logged.decision
    if decision is None:
        raise ValueError(f"id: there was no choice behind {logged.id!r}")
    if decision.checkpoint == 0:
        raise ValueError("nothing was learnt yet when it was decided")
    folder = memory.path / "checkpoints" / "router"
    checkpoint = Checkpoints(folder, form=f"router-{FEATURE_VERSION}").load(decision.checkpoint)
    if checkpoint is None:
        raise ValueError(f"checkpoint {decision.checkpoint}, which decided it, is not on disk any more")
    learnt = Learnt.restored(checkpoint.params, checkpoint.arrays, checkpoint.about)
    issued, _ = PromiseFile(folder / "certificate.json").load()
    if decision.decided_by == "certificate" and issued is not None:
        policy = replace(policy, threshold=issued.certificate.threshold)
    earlier = _earlier(memory, logged)
    try:
        return explain(decision, learnt, checkpoint.version, policy, earlier=earlier)
    except ValueError:
        if not tiers:
            raise
    return explain(decision, with_tiers(learnt, tiers), checkpoint.version, policy, earlier=earlier)


def _earlier(memory: Memory, logged: LoggedDecision) -> list[Decision]:
    """Return the decisions of the same session before this one, oldest first."""
    if logged.session is None:
        return []
    newest = memory.route_log(NEWEST)
    place = next((i for i, one in enumerate(newest) if one.id == logged.id), len(newest))
    turns = [one.decision for one in newest[place + 1 :] if one.session == logged.session]
    return [one for one in reversed(turns) if one is not None]
