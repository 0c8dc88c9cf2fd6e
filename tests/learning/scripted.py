"""An engine that says what the test wants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ruvllm.inference import Cancelled, Piece
from ruvllm.types import GenerationOptions, Message


class ScriptedEngine:
    """Implements `ruvllm.inference.Engine`: every answer is `text`, or the error."""

    def __init__(self, text: str, *, error: Exception | None = None) -> None:
        self.name, self.context_tokens, self.parameters = "scripted", 4096, 1
        self.calls = 0
        self._text, self._error = text, error

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return sum(len(message.content.split()) for message in messages)

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, *, cancelled: Cancelled | None = None
    ) -> Iterator[Piece]:
        self.calls += 1
        if self._error is not None:
            raise self._error
        yield Piece(self._text, finish_reason="stop")

    def close(self) -> None:
        pass
