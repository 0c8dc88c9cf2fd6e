"""The one protocol behind which every generator stands, and two helpers that any of them serves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ruvllm.types import FinishReason, GenerationOptions, Message

__all__ = ["Cancelled", "Completion", "Engine", "Piece", "complete", "confidence", "require_fits", "require_messages"]

Cancelled = Callable[[], bool]
"""Asked between tokens; True stops the generation."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One streamed step.

    `text` is complete UTF-8 and may be empty. `logprobs` holds the natural log of each new token's probability, or
    nothing where the engine cannot say. The last piece, and only that, carries `finish_reason` and the two counts;
    tokens that merely end the turn are neither in `logprobs` nor counted.
    """

    text: str
    logprobs: tuple[float, ...] = ()
    finish_reason: FinishReason | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Engine(Protocol):
    """A generator of text. Safe to share between threads; concurrent streams do not mix."""

    name: str
    context_tokens: int  # prompt and answer together
    parameters: int | None  # size of the model, None when unknown

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the length of the rendered prompt: exact for local engines, never too low for remote ones."""
        ...

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, *, cancelled: Cancelled | None = None
    ) -> Iterator[Piece]:
        """Yield the answer as it is made; closing the iterator stops the generation between two tokens.

        When `cancelled()` turns True the last piece says so with finish_reason "cancelled".

        Raises:
            ValueError: there are no messages, prompt and `max_new_tokens` together exceed `context_tokens`, or this
                engine cannot keep to `options.json_schema`.
            EngineError: generation failed.
        """
        ...

    def close(self) -> None:
        """Stop what runs and free the model; may be called twice."""
        ...


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer; the fields mean what they mean in `Piece`."""

    text: str
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int


def complete(
    engine: Engine, messages: Sequence[Message], options: GenerationOptions, *, cancelled: Cancelled | None = None
) -> Completion:
    """Return the whole answer of one stream."""
    texts: list[str] = []
    logprobs: list[float] = []
    last = Piece("")
    for last in engine.stream(messages, options, cancelled=cancelled):
        texts.append(last.text)
        logprobs.extend(last.logprobs)
    reason = last.finish_reason or "stop"
    return Completion("".join(texts), tuple(logprobs), reason, last.prompt_tokens, last.completion_tokens)


def confidence(logprobs: Sequence[float]) -> float:
    """Return the geometric mean token probability, in [0, 1]; 0 when there is no token to judge by.

    An engine that cannot say gives no log-probabilities: look at `Completion.logprobs` before reading 0 as doubt.
    """
    if not logprobs:
        return 0.0
    return min(1.0, math.exp(math.fsum(logprobs) / len(logprobs)))


def require_messages(messages: Sequence[Message]) -> None:
    """Raise ValueError unless there is at least one message."""
    if not messages:
        raise ValueError("messages must hold at least one message")


def require_fits(prompt_tokens: int, max_new_tokens: int, context_tokens: int) -> None:
    """Raise ValueError, naming the numbers, unless prompt and answer fit into the context."""
    if prompt_tokens + max_new_tokens > context_tokens:
        raise ValueError(
            f"prompt ({prompt_tokens} tokens) and max_new_tokens ({max_new_tokens}) exceed "
            f"context_tokens ({context_tokens})"
        )
