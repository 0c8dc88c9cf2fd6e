"""What a curriculum was made of: counts, what each filter left out, hashes of its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruvllm.tuning.trace import Trace

__all__ = ["DataCard", "counted_tags"]

HARD, EASY = 2 / 3, 1 / 3


@dataclass(frozen=True, slots=True)
class DataCard:
    """One curriculum in numbers; the same traces, options and seed give the same card.

    Attributes:
        id: of the content: the first 16 hex digits of the SHA-256 of the files' hashes.
        traces: that it was built from; first and last are the times of the oldest and newest within the window.
        counts: rows of each set.
        left_out: why traces are not among the examples, and how many.
        tags: of the traces that are: {tag: {value: how many}}, difficulty in thirds.
        made_by: {tag: {how it was found out: how many}}.
        models: who had answered.
        options: of the builder.
        holdout: how many texts were kept out, and their SHA-256.
        redacted: how many answers had something of a kind taken out.
        files: {name: SHA-256}.
    """

    id: str = ""
    traces: int = 0
    first: float | None = None
    last: float | None = None
    namespaces: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    tags: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    made_by: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    models: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    holdout: Mapping[str, Any] = field(default_factory=dict)
    redacted: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    version: int = 1


def counted_tags(traces: Iterable[Trace]) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    """Return how many traces have each value of each tag, and how many tags were made in which way."""
    values: dict[str, Counter[str]] = {}
    makers: dict[str, Counter[str]] = {}
    for trace in traces:
        for name, tag in trace.tags.items():
            values.setdefault(name, Counter())[_shown(tag.value)] += 1
            makers.setdefault(name, Counter())[tag.made_by] += 1
    return _plain(values), _plain(makers)


def _shown(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return "hard" if value > HARD else "easy" if value < EASY else "medium"


def _plain(counts: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    return {name: dict(sorted(one.items())) for name, one in sorted(counts.items())}
