"""Which traces a student must not learn from, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ruvllm.text import normalized_tokens
from ruvllm.tuning.decontamination import Decontaminator
from ruvllm.tuning.duplicates import near_duplicates
from ruvllm.tuning.trace import Trace

__all__ = ["Reason", "Rules", "may_be_chosen", "may_be_rejected", "may_correct_retrieval", "why_left_out"]

DAY_S = 86_400.0
DUPLICATE_SIMILARITY = 0.8

Reason = Literal[
    "older than the window",
    "in the holdout",
    "of contradictory ratings",
    "revoked",
    "on probation",
    "of wrong context",
    "of redacted answers",
    "of answers cut off",
    "of no model's own words",
    "of unknown quality",
    "of bad quality",
    "repeats another",
]
"""Why a trace is no example, in the order in which that is asked."""

NOT_AT_ALL: frozenset[Reason] = frozenset(
    ("older than the window", "in the holdout", "of contradictory ratings", "revoked")
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What an example must be."""

    min_quality: float
    window_days: float
    drops_wrong_context: bool


def why_left_out(traces: Sequence[Trace], rules: Rules, holdout: Decontaminator) -> dict[str, Reason]:
    """Return {trace id: why} of the traces that are no examples.

    Args:
        traces: each once, oldest first.
    """
    contradicted = _contradicted(traces)
    same = holdout.means_the_same([trace.query for trace in traces])
    oldest = traces[-1].created - rules.window_days * DAY_S if traces else 0.0
    reasons: dict[str, Reason] = {}
    for trace, is_held_out in zip(traces, same, strict=True):
        if trace.created < oldest:
            reasons[trace.id] = "older than the window"
        elif is_held_out or _shares_words(trace, holdout):
            reasons[trace.id] = "in the holdout"
        elif trace.id in contradicted:
            reasons[trace.id] = "of contradictory ratings"
        elif (why := _why_unfit(trace, rules)) is not None:
            reasons[trace.id] = why
    fit = [trace for trace in reversed(traces) if trace.id not in reasons]  # the newest of twins stays
    repeats = near_duplicates([f"{trace.query}\n{trace.answer}" for trace in fit], DUPLICATE_SIMILARITY)
    for trace, first in zip(fit, repeats, strict=True):
        if first is not None:
            reasons[trace.id] = "repeats another"
    return reasons


def may_be_chosen(trace: Trace, reasons: Mapping[str, Reason]) -> bool:
    """Return whether a trace's answer may be the better one of a pair."""
    return reasons.get(trace.id) in (None, "repeats another")


def may_be_rejected(trace: Trace, reasons: Mapping[str, Reason]) -> bool:
    """Return whether a trace's answer may stand in a pair at all."""
    return reasons.get(trace.id) not in NOT_AT_ALL | {"of redacted answers"}


def may_correct_retrieval(trace: Trace, reasons: Mapping[str, Reason]) -> bool:
    """Return whether what is known of a trace's passages counts."""
    return reasons.get(trace.id) not in NOT_AT_ALL


def _shares_words(trace: Trace, holdout: Decontaminator) -> bool:
    prompt = "\n".join(message.content for message in trace.prompt)
    return holdout.shares_words(trace.query, f"{trace.response}\n{trace.correction or ''}", prompt)


def _why_unfit(trace: Trace, rules: Rules) -> Reason | None:
    if trace.standing == "revoked":
        return "revoked"
    if trace.standing == "probation":
        return "on probation"
    if trace.is_context_wrong and rules.drops_wrong_context:
        return "of wrong context"
    if trace.redacted:
        return "of redacted answers"
    if trace.correction is not None:
        return None
    if trace.finish_reason != "stop":
        return "of answers cut off" if trace.finish_reason == "length" else "of no model's own words"
    if trace.quality is None:
        return "of unknown quality"
    return "of bad quality" if trace.quality < rules.min_quality or trace.outcome == "failure" else None


def _contradicted(traces: Iterable[Trace]) -> set[str]:
    """Return the ids of traces of which it was said, or of the same answer to the same question, that it is both."""
    same: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Trace]] = {}
    for trace in traces:
        key = tuple(normalized_tokens(trace.query)), tuple(normalized_tokens(trace.response))
        same.setdefault(key, []).append(trace)
    found = set()
    for twins in same.values():
        outcomes = {trace.outcome for trace in twins}
        if "contradictory" in outcomes or outcomes >= {"success", "failure"}:
            found |= {trace.id for trace in twins if trace.outcome != "unknown"}
    return found
