"""An engine without a model: it says the last message again, one word at a time."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from ruvllm.errors import EngineError
from ruvllm.inference import Cancelled, Piece
from ruvllm.inference.engine import require_fits, require_messages
from ruvllm.inference.stops import StopFilter
from ruvllm.types import GenerationOptions, Message

WORD = re.compile(r"\s*\S+")


class EchoEngine:
    """Every word is a token of probability `probability`."""

    def __init__(self, *, name: str = "echo", context_tokens: int = 512, probability: float = 0.9) -> None:
        self.name = name
        self.context_tokens = context_tokens
        self.parameters: int | None = None
        self._logprob = math.log(probability)
        self._is_closed = False
        self.asked: list[tuple[Message, ...]] = []  # what each stream was given

    def count_tokens(self, messages: Sequence[Message]) -> int:
        require_messages(messages)
        return sum(1 + len(WORD.findall(m.content)) for m in messages)

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, *, cancelled: Cancelled | None = None
    ) -> Iterator[Piece]:
        require_messages(messages)
        require_fits(self.count_tokens(messages), options.max_new_tokens, self.context_tokens)
        if self._is_closed:
            raise EngineError(f"{self.name} is closed", engine=self.name)
        self.asked.append(tuple(messages))
        return self._pieces(messages, options, cancelled or (lambda: False))

    def close(self) -> None:
        self._is_closed = True

    def _pieces(self, messages: Sequence[Message], options: GenerationOptions, cancelled: Cancelled) -> Iterator[Piece]:
        stops, prompt_tokens, count = StopFilter(options.stop), self.count_tokens(messages), 0
        words = WORD.findall(messages[-1].content)
        for word in words[: options.max_new_tokens]:
            if cancelled():
                yield Piece(stops.flush(), (), "cancelled", prompt_tokens, count)
                return
            count += 1
            yield Piece(stops.push(word), (self._logprob,))
            if stops.stopped:
                break
        reason = "length" if count < len(words) and not stops.stopped else "stop"
        yield Piece(stops.flush(), (), reason, prompt_tokens, count)
