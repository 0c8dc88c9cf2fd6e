"""What one request carries along the pipeline: what was asked and found, who reads, what was said so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from ruvllm.inference import Engine
from ruvllm.types import Decision, FinishReason, Hits, Request, Turn

__all__ = ["Asking", "Draft", "Reader", "Stopwatch"]


class Stopwatch:
    """Milliseconds by stage."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self.ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the body takes to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.ms[name] = self.ms.get(name, 0.0) + (time.perf_counter() - start) * 1e3

    def mark(self, name: str) -> None:
        """Say how long the whole request took until now."""
        self.ms[name] = (time.perf_counter() - self._start) * 1e3


@dataclass(slots=True, eq=False)
class Asking:
    """One request on its way, and what memory has on it."""

    request: Request
    query: str
    k: int
    cancelled: Callable[[], bool]
    watch: Stopwatch = field(default_factory=Stopwatch)
    warnings: list[str] = field(default_factory=list)
    vector: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    hits: Hits = field(default_factory=Hits)
    turns: list[Turn] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reader:
    """Who answers: `engine` is None when no model is up, `decision` where there was no choice."""

    tier: str = ""
    engine: Engine | None = None
    decision: Decision | None = None


@dataclass(slots=True)
class Draft:
    """What generation has produced so far."""

    text: str = ""
    logprobs: list[float] = field(default_factory=list)
    finish_reason: FinishReason = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_ms: float = 0.0  # of the engine alone, however slowly its words were taken
