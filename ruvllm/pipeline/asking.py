"""What one request carries along the pipeline: what was asked and found, who reads, what was said so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from ruvllm.errors import DeadlineExceeded
from ruvllm.inference import Engine
from ruvllm.orchestrator import Deadline, Place
from ruvllm.orchestrator.response_cache import CacheKey
from ruvllm.tuning.rollout.trials import Arm
from ruvllm.types import Decision, FinishReason, Hits, Message, Request, Turn

__all__ = ["UNFINISHED", "Asking", "Draft", "Reader", "Stopwatch", "again", "reason"]

UNFINISHED = ("cancelled", "deadline")  # answers that are neither judged nor kept


def reason(error: Exception) -> str:
    """Return what an error says, its name where it says nothing."""
    return str(error) or type(error).__name__


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
    """One request on its way, and what memory has on it; `vector` is None until the question is embedded."""

    request: Request
    query: str
    k: int
    cancelled: Callable[[], bool]
    deadline: Deadline
    watch: Stopwatch = field(default_factory=Stopwatch)
    warnings: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)  # those of the warnings that say that a part failed
    place: Place | None = None  # in the line of its session
    key: CacheKey | None = None  # where the answer may be one given before
    drops: int = 0  # of the cache, when it was asked
    vector: np.ndarray | None = None
    hits: Hits = field(default_factory=Hits)
    turns: list[Turn] = field(default_factory=list)
    why_no_choice: str = ""  # of who answers
    tokens: int = 0  # read and written by models so far
    is_recorded: bool = False  # memory has the answer

    @property
    def is_degraded(self) -> bool:
        """Whether a part failed, so that the next answer may be a better one."""
        return bool(self.failures)

    @property
    def is_private(self) -> bool:
        """Whether no endpoint may read all of it: it was asked in private, or something that it found was."""
        constraints = self.request.constraints
        is_asked = constraints is not None and constraints.privacy == "local"
        return is_asked or any(turn.is_private for turn in self.turns) or any(hit.node.is_private for hit in self.hits)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, which begins only while the request is wanted and has time left.

        Raises:
            CancelledError: nobody wants the answer any more.
            DeadlineExceeded: the time is over, or was over while the body waited for something.
        """
        if self.cancelled():
            raise CancelledError
        self.deadline.check(name)
        with self.watch.stage(name):
            try:
                yield
            except DeadlineExceeded:
                raise
            except TimeoutError as error:
                if self.deadline.has_passed:
                    raise DeadlineExceeded(name, self.deadline.timeout_s) from error
                raise

    def note(self, stage: str, what: str) -> None:
        """Tell the caller something about the answer."""
        self.warnings.append(f"{stage}: {what}")

    def degrade(self, stage: str, what: str) -> None:
        """Tell the caller what failed, and what was done without it."""
        self.note(stage, what)
        self.failures.append(self.warnings[-1])


def again(asking: Asking, cancelled: Callable[[], bool]) -> Asking:
    """Return the same request for an answer that nobody waits for."""
    return replace(asking, cancelled=cancelled, deadline=Deadline(None), watch=Stopwatch(), warnings=[], failures=[])


@dataclass(frozen=True, slots=True)
class Reader:
    """Who answers: `engine` is None when no model is up, `decision` where there was no choice.

    `student` is the id of the student in the tier's place, `arm` the request's side of a trial.
    """

    tier: str = ""
    engine: Engine | None = None
    decision: Decision | None = None
    student: str = ""
    arm: Arm | None = None


@dataclass(slots=True)
class Draft:
    """What generation has produced so far."""

    text: str = ""
    logprobs: list[float] = field(default_factory=list)
    finish_reason: FinishReason = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_ms: float = 0.0  # of the engine alone, however slowly its words were taken
    messages: tuple[Message, ...] = ()  # what the model was sent
    judge_score: float | None = None  # before calibration
