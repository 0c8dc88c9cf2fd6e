"""One answer from one reader, word by word."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ruvllm.context import Prompt
from ruvllm.errors import DeadlineExceeded, EngineError
from ruvllm.inference import Engine
from ruvllm.pipeline.asking import Asking, Draft
from ruvllm.types import GenerationOptions

__all__ = ["generate"]


def generate(engine: Engine, prompt: Prompt, options: GenerationOptions, asking: Asking, draft: Draft) -> Iterator[str]:
    """Yield what the engine says and keep it in `draft`, until it ends, nobody wants it, or the time is over.

    Raises:
        DeadlineExceeded: the time was over before the first word.
        EngineError: generation failed.
    """
    draft.messages = prompt.messages
    heard = 0  # tokens
    pieces = engine.stream(prompt.messages, options, cancelled=lambda: asking.cancelled() or asking.deadline.has_passed)
    try:
        while True:
            start = time.perf_counter()
            piece = next(pieces, None)
            draft.latency_ms += (time.perf_counter() - start) * 1e3
            if piece is None:
                break
            if "first_token" not in asking.watch.ms:
                asking.watch.mark("first_token")
            draft.text += piece.text
            draft.logprobs.extend(piece.logprobs)
            heard += len(piece.logprobs) or bool(piece.text)
            if piece.finish_reason is not None:
                draft.finish_reason = piece.finish_reason
                draft.prompt_tokens = piece.prompt_tokens
                draft.completion_tokens = piece.completion_tokens
            if piece.text:
                yield piece.text
                if asking.place is not None:
                    asking.place.read_on()
    except EngineError:
        if not asking.deadline.has_passed:
            raise
        draft.finish_reason = "cancelled"  # an endpoint that was silent for longer than there was time
    finally:
        told = draft.prompt_tokens + draft.completion_tokens  # at the end: who stops before has taken the prompt, too
        asking.tokens += told or (prompt.tokens + heard if heard else 0)
    if draft.finish_reason == "cancelled" and not asking.cancelled():
        _end_at_deadline(asking, draft)


def _end_at_deadline(asking: Asking, draft: Draft) -> None:
    if not draft.text.strip():
        raise DeadlineExceeded("generate", asking.deadline.timeout_s)
    draft.finish_reason = "deadline"
    asking.note("generate", f"timeout_s = {asking.deadline.timeout_s:g} was over: this is as much as there was")
