"""Between the pipeline and a judge: what it is shown of an answer, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ruvllm.types import FinishReason, Message, Source

__all__ = ["Answered", "Judgement", "Judges"]


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """One answer as a judge sees it.

    Attributes:
        query_vector: (native_dim,) float32, unit length; None where the embedder failed.
        sources: that were shown to the model.
        logprobs: natural log of the probability of each token; empty where the engine cannot say.
        prompt_messages: what the model was sent.
        is_private: no endpoint may read it.
        is_too_late: asked by a judge that takes long; when True, nobody waits for its word any more.
    """

    query: str
    query_vector: np.ndarray | None
    answer: str
    sources: tuple[Source, ...]
    logprobs: Sequence[float]
    finish_reason: FinishReason
    prompt_messages: tuple[Message, ...] = ()
    is_too_late: Callable[[], bool] | None = None
    is_private: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """How good an answer is held to be, in [0, 1], by whom, and what that was made of."""

    quality: float
    source: str
    signals: Mapping[str, float] = field(default_factory=dict)


class Judges(Protocol):
    """Says how good answers are. Safe to share between threads."""

    @property
    def version(self) -> int:
        """Of the calibration in force, 0 for none: another one says something else of the same answer."""
        ...

    def judge(self, answered: Answered) -> Judgement:
        """Return the quality of an answer that nobody has seen yet."""
        ...
