"""An answer as the caller gets it, and as memory keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ruvllm.types.generation import FinishReason, Message
from ruvllm.types.routing import Decision, Route, TierOutcome

__all__ = ["Interaction", "Response", "Source", "Turn"]


@dataclass(frozen=True, slots=True)
class Source:
    """A retrieved passage that was shown to the model as `[number]`."""

    number: int
    node_id: int
    source: str | None
    title: str | None
    text: str
    score: float
    used: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """An answer with everything needed to check it.

    `finish_reason` is "extract" when no model answered or its own probability was too low: then `text` quotes the best
    passage and `draft` holds what the model had said; it is "deadline" when the time was over and `text` is as much as
    there was until then. `confidence` is the geometric mean token probability in [0, 1], None where the engine does not
    tell probabilities. `timings_ms` maps stage -> milliseconds. `warnings` says what was degraded and why, each
    beginning with the stage: "retrieve: ...". `quality` in [0, 1] is the judge's, which `quality_source` names; None
    without one. `cached` says that the answer was given before.
    """

    id: str
    query: str
    text: str
    sources: tuple[Source, ...]
    route: Route
    confidence: float | None
    finish_reason: FinishReason
    session: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    draft: str | None = None
    quality: float | None = None
    quality_source: str = ""
    cached: bool = False

    def _repr_html_(self) -> str:
        from ruvllm.viz import response_html

        return response_html(self)


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier exchange of a session, oldest first where several come; no endpoint is shown a private one."""

    query: str
    answer: str
    created: float
    is_private: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Interaction:
    """One answered request as memory keeps it; vectors are native (unprojected) unit vectors, or None."""

    id: str
    query: str
    answer: str
    namespace: str
    session: str | None
    created: float
    source_ids: tuple[int, ...]
    used_ids: tuple[int, ...]
    route: Route
    confidence: float | None
    finish_reason: FinishReason
    timings_ms: Mapping[str, float]
    query_vector: np.ndarray | None = None
    answer_vector: np.ndarray | None = None
    outcome: TierOutcome | None = None  # of the tier that answered
    decision: Decision | None = None  # None where there was no choice
    quality: float | None = None  # in [0, 1], a judge's; None without one
    quality_source: str = ""
    judge_score: float | None = None  # in [0, 1], before calibration: what a calibration learns from
    prompt: tuple[Message, ...] = ()  # what the model was sent; empty where none was asked
    shown_texts: tuple[str, ...] = ()  # of source_ids, as they stand in the prompt
    failures: tuple[str, ...] = ()  # what went wrong on the way to the answer
    is_private: bool = False  # no endpoint is shown question or answer later
