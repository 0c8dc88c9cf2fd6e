"""Which of two answers is better, and which passages helped: what preferences and retrieval are trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

from ruvllm.text import normalized_tokens
from ruvllm.tuning.trace import Alternative, Passage, Trace, message_rows, messages_of
from ruvllm.types import Message

__all__ = ["MARGIN", "PreferencePair", "RetrievalCorrection", "preference_pairs", "retrieval_corrections"]

MARGIN = 0.2  # of quality between the two answers of a pair
PAIRS_PER_QUESTION = 4
CORRECTION_QUALITY = 1.0  # of what a user said is right


class Answered(Protocol):
    """An answer with its quality in [0, 1]; `Response` and `Alternative` are such."""

    @property
    def text(self) -> str: ...

    @property
    def quality(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two answers to one prompt, the better one chosen.

    Attributes:
        prompt: the messages that both answer, the question last.
        gap: by how much the quality of the chosen one is higher, in (0, 1].
        chosen_first: where both are shown side by side, whether the chosen one stands first; half of all do.
        trace: of the request.
    """

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    gap: float
    chosen_first: bool = True
    trace: str = ""

    @classmethod
    def from_responses(
        cls,
        query: str | Sequence[Message],
        one: Answered,
        other: Answered,
        *,
        margin: float = MARGIN,
        trace: str = "",
    ) -> PreferencePair:
        """Return the pair of two answers to `query`, in whichever order they come.

        Raises:
            ValueError: a quality is missing, they differ by less than `margin`, or both say the same.
        """
        prompt = (Message("user", query),) if isinstance(query, str) else tuple(query)
        if one.quality is None or other.quality is None:
            raise ValueError("quality must be known of both answers")
        if not 0.0 < margin <= 1.0:
            raise ValueError(f"margin must be in (0, 1] ({margin})")
        better, worse = (one, other) if one.quality >= other.quality else (other, one)
        gap = abs(one.quality - other.quality)
        if gap < margin:
            raise ValueError(f"quality must differ by the margin {margin:g} at least ({one.quality}, {other.quality})")
        if _same(better.text, worse.text):
            raise ValueError("the answers say the same, and have different qualities")
        return cls(prompt, better.text, worse.text, gap, trace=trace)

    def as_row(self) -> dict[str, Any]:
        """Return what a line of the file holds."""
        return {
            "prompt": message_rows(self.prompt),
            "chosen": message_rows([Message("assistant", self.chosen)]),
            "rejected": message_rows([Message("assistant", self.rejected)]),
            "gap": self.gap,
            "chosen_first": self.chosen_first,
            "trace": self.trace,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> PreferencePair:
        """Return what `as_row` made a line of."""
        chosen, rejected = (row[side][0]["content"] for side in ("chosen", "rejected"))
        return cls(messages_of(row["prompt"]), chosen, rejected, row["gap"], row["chosen_first"], row["trace"])


@dataclass(frozen=True, slots=True)
class RetrievalCorrection:
    """What should have been found for a question, and what was found in its place."""

    query: str
    helpful: tuple[Passage, ...]
    misleading: tuple[Passage, ...]
    trace: str = ""

    def as_row(self) -> dict[str, Any]:
        """Return what a line of the file holds."""
        return {
            "query": self.query,
            "helpful": [asdict(passage) for passage in self.helpful],
            "misleading": [asdict(passage) for passage in self.misleading],
            "trace": self.trace,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> RetrievalCorrection:
        """Return what `as_row` made a line of."""
        helpful, misleading = (tuple(Passage(**one) for one in row[side]) for side in ("helpful", "misleading"))
        return cls(row["query"], helpful, misleading, row["trace"])


@dataclass(frozen=True, slots=True)
class _Rated:
    """An answer that may stand in a pair; what is not confirmed is never the chosen one."""

    trace: Trace
    text: str
    quality: float
    may_teach: bool


def preference_pairs(
    traces: Sequence[Trace], teaches: Iterable[str], *, margin: float, rng: np.random.Generator
) -> tuple[PreferencePair, ...]:
    """Return pairs of answers to the same question, the best of each against those that are worse by `margin`.

    Args:
        traces: whose answers count at all, in order.
        teaches: ids of those whose answer may be the chosen one.
    """
    may_teach = set(teaches)
    questions: dict[tuple[str, ...], list[_Rated]] = {}
    for trace in traces:
        questions.setdefault(tuple(normalized_tokens(trace.query)), []).extend(_rated(trace, trace.id in may_teach))
    pairs = [pair for answers in questions.values() for pair in _pairs_of(answers, margin)]
    firsts = rng.permutation(len(pairs)) < (len(pairs) + int(rng.integers(2))) // 2  # half, the odd one by a coin
    return tuple(replace(pair, chosen_first=bool(first)) for pair, first in zip(pairs, firsts, strict=True))


def _rated(trace: Trace, may_teach: bool) -> list[_Rated]:
    others = [_Rated(trace, one.text, one.quality, may_teach=False) for one in trace.alternatives]
    if trace.correction:
        others.append(_Rated(trace, trace.correction, CORRECTION_QUALITY, may_teach))
    if trace.quality is not None and not (trace.correction and trace.outcome == "success"):
        quality = min(trace.quality, 0.5) if trace.correction else trace.quality  # a judge may hold it to be good
        others.append(_Rated(trace, trace.response, quality, may_teach and not trace.correction))
    elif trace.correction and trace.quality is None:
        others.append(_Rated(trace, trace.response, 0.0, may_teach=False))
    return others


def _pairs_of(answers: Sequence[_Rated], margin: float) -> list[PreferencePair]:
    good = [one for one in answers if one.may_teach]
    if not good:
        return []
    best = max(good, key=lambda one: one.quality)
    worse: dict[tuple[str, ...], _Rated] = {}
    for one in sorted(answers, key=lambda one: one.quality):
        said = tuple(normalized_tokens(one.text))
        if best.quality - one.quality >= margin and not _same(one.text, best.text):
            worse.setdefault(said, one)
    prompt, chosen = best.trace.messages, Alternative("", best.text, best.quality)
    return [
        PreferencePair.from_responses(
            prompt, chosen, Alternative("", one.text, one.quality), margin=margin, trace=best.trace.id
        )
        for one in list(worse.values())[:PAIRS_PER_QUESTION]
    ]


def _same(one: str, other: str) -> bool:
    return normalized_tokens(one) == normalized_tokens(other)


def retrieval_corrections(traces: Iterable[Trace]) -> tuple[RetrievalCorrection, ...]:
    """Return the questions of which it is known what helped and what misled."""
    return tuple(
        RetrievalCorrection(trace.query, trace.helped, trace.misled, trace.id)
        for trace in traces
        if trace.helped and trace.misled
    )
