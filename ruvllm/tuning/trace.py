"""One answered request as training sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ruvllm.types import FinishReason, Message

__all__ = [
    "Alternative",
    "Passage",
    "QualityBy",
    "Standing",
    "Tag",
    "TaskOutcome",
    "Trace",
    "message_rows",
    "messages_of",
]

TaskOutcome = Literal["success", "failure", "contradictory", "unknown"]
Standing = Literal["promoted", "corrected", "probation", "revoked"]
QualityBy = Literal["user", "task", "judge", ""]


@dataclass(frozen=True, slots=True)
class Tag:
    """What a trace is marked with, and how that was found out."""

    value: str | float
    made_by: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of memory: its node, and its words."""

    node: int
    text: str


@dataclass(frozen=True, slots=True)
class Alternative:
    """What another model said to the same prompt, and how good that was, in [0, 1]."""

    model: str
    text: str
    quality: float


@dataclass(frozen=True, slots=True)
class Trace:
    """An answered request, what it was made of, and all that was said about it.

    Attributes:
        prompt: what the model was sent; the question alone where that is not known.
        context: the passages as the model saw them, `context_ids` their nodes.
        outcome: how the task went, by ratings and task results; "contradictory" where these disagree.
        quality: in [0, 1], by a user or a task where these said something, else by the judge: `quality_source`.
        judge_score: the judge's, before calibration.
        correction: what a user said is right, `correction_id` its node.
        standing: "promoted" is what independent raters, or the user, confirmed; "corrected" what has the right answer
            from the user. Nothing else is trained on.
        helped, misled: nodes of which a mark, or a correction, says so.
        is_context_wrong: no passage that was shown helps to the right answer, or one does not hold any more.
        errors: what failed on the way to the answer.
        model, checkpoint: who answered; the checkpoint is a student's id, "" for the base model.
    """

    id: str
    query: str
    response: str
    prompt: tuple[Message, ...] = ()
    context: tuple[str, ...] = ()
    context_ids: tuple[int, ...] = ()
    outcome: TaskOutcome = "unknown"
    quality: float | None = None
    quality_source: QualityBy = ""
    judge_score: float | None = None
    rating: int | None = None
    correction: str | None = None
    correction_id: int | None = None
    standing: Standing = "probation"
    helped: tuple[Passage, ...] = ()
    misled: tuple[Passage, ...] = ()
    is_context_wrong: bool = False
    alternatives: tuple[Alternative, ...] = ()
    errors: tuple[str, ...] = ()
    model: str = ""
    checkpoint: str = ""
    namespace: str = "default"
    created: float = 0.0
    finish_reason: FinishReason = "stop"
    redacted: tuple[str, ...] = ()  # kinds of what was taken out of the answer, or of its correction
    tags: Mapping[str, Tag] = field(default_factory=dict)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The prompt, never empty."""
        return self.prompt or (Message("user", self.query),)

    @property
    def answer(self) -> str:
        """The best answer known: the user's correction, else what the model said."""
        return self.correction or self.response

    @property
    def difficulty(self) -> float:
        """In [0, 1], 0.5 where nothing is known."""
        tag = self.tags.get("difficulty")
        return float(tag.value) if tag is not None else 0.5

    @property
    def domain_tags(self) -> tuple[str, ...]:
        """The domains that this trace is of."""
        tag = self.tags.get("domain")
        return () if tag is None else (str(tag.value),)


def message_rows(messages: Iterable[Message]) -> list[dict[str, str]]:
    """Return messages as data sets have them: [{"role", "content"}, ...]."""
    return [{"role": message.role, "content": message.content} for message in messages]


def messages_of(rows: Iterable[Mapping[str, str]]) -> tuple[Message, ...]:
    """Return what `message_rows` was made of."""
    return tuple(Message(row["role"], row["content"]) for row in rows)  # type: ignore[arg-type]
