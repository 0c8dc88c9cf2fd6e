"""A model as judge: a grade of one answer, or the better of two in both orders, by constrained decoding."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager
from typing import Any

from ruvllm.inference import Cancelled, Engine, complete
from ruvllm.judging import Answered
from ruvllm.types import GenerationOptions, Message, Source

__all__ = ["LlmJudge"]

GRADES = (1, 2, 3, 4, 5)
MAX_CHARS = 6000  # of sources and of an answer that are shown
_GRADE: dict[str, Any] = {
    "type": "object",
    "properties": {"grade": {"enum": list(GRADES)}},
    "required": ["grade"],
    "additionalProperties": False,
}
_CHOICE: dict[str, Any] = {
    "type": "object",
    "properties": {"better": {"enum": ["A", "B"]}},
    "required": ["better"],
    "additionalProperties": False,
}
GRADING = (
    "Grade the answer from 1 to 5. 5: right, complete and supported by the text, where there is one. "
    "1: wrong, invented, or no answer."
)
CHOOSING = "Which answer follows the instruction better?"


class LlmJudge:
    """Asks a model, which must keep to a JSON schema (extra `constrained`, or an endpoint).

    Args:
        lend: lends its engine for one question, waiting for it as long as its argument does not say True.
        is_local: it is no endpoint.
    """

    def __init__(self, lend: Callable[[Cancelled], AbstractContextManager[Engine]], *, is_local: bool = True) -> None:
        self._lend = lend
        self._is_local = is_local

    def may_read(self, answered: Answered) -> bool:
        """Return whether it may be asked about an answer."""
        return self._is_local or not answered.is_private

    def grade(self, answered: Answered) -> float:
        """Return a grade in [0, 1].

        Raises:
            EngineError: the model failed. ValueError: it cannot keep to a schema.
            TimeoutError: `answered.is_too_late()` turned True.
        """
        said = self._ask(
            f"{GRADING}\n\n{_text(answered.sources)}Question: {answered.query}\nAnswer: {answered.answer[:MAX_CHARS]}",
            _GRADE,
            cancelled=answered.is_too_late,
        )
        return (GRADES.index(said["grade"]) if said.get("grade") in GRADES else 0) / (len(GRADES) - 1)

    def prefers_first(self, instruction: str, first: str, second: str) -> float:
        """Return how far the first answer is the better one: 1 or 0, and 0.5 where the order decided."""
        shown = self._better(instruction, first, second) == "A"
        turned = self._better(instruction, second, first) == "B"
        return (shown + turned) / 2.0

    def _better(self, instruction: str, a: str, b: str) -> str:
        said = self._ask(
            f"{CHOOSING}\n\nInstruction: {instruction[:MAX_CHARS]}\n\nA: {a[:MAX_CHARS]}\n\nB: {b[:MAX_CHARS]}", _CHOICE
        )
        return str(said.get("better", ""))

    def _ask(self, prompt: str, schema: dict[str, Any], *, cancelled: Cancelled | None = None) -> dict[str, Any]:
        options = GenerationOptions(max_new_tokens=16, json_schema=schema)
        try:
            with self._lend(cancelled or (lambda: False)) as engine:
                done = complete(engine, [Message("user", prompt)], options, cancelled=cancelled)
        except CancelledError as error:
            raise TimeoutError("the time was over before there was a model to grade") from error
        if done.finish_reason == "cancelled":
            raise TimeoutError("the time was over before there was a grade")
        try:
            said = json.loads(done.text)
        except json.JSONDecodeError:  # cut off: no grade
            return {}
        return said if isinstance(said, dict) else {}


def _text(sources: Sequence[Source]) -> str:
    if not sources:
        return ""
    texts = "\n".join(f"[{one.number}] {one.title or ''} {one.text}".strip() for one in sources)
    return f"Text:\n{texts[:MAX_CHARS]}\n\n"
