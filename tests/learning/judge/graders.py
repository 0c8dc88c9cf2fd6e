"""Models that judge, made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ruvllm.inference import Piece
from ruvllm.inference.engine import Cancelled
from ruvllm.types import GenerationOptions, Message


class Grader:
    """Implements `ruvllm.inference.Engine`: says the same to everything, or what a function makes of the prompt."""

    name = "grader"
    context_tokens = 4096
    parameters: int | None = 10**9

    def __init__(self, says: str | Callable[[str], str]) -> None:
        self._says = says
        self.asked: list[tuple[str, GenerationOptions]] = []

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return sum(len(message.content.split()) for message in messages)

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, *, cancelled: Cancelled | None = None
    ) -> Iterator[Piece]:
        prompt = messages[-1].content
        self.asked.append((prompt, options))
        text = self._says if isinstance(self._says, str) else self._says(prompt)
        yield Piece(text, (), "stop", self.count_tokens(messages), len(text.split()))

    def close(self) -> None:
        pass
