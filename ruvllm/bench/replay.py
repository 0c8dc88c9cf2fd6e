"""Engines that answer no prompt twice: what was said is kept, with the time that it took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import msgspec

from ruvllm.bench.cache import Cache
from ruvllm.closing import Closes
from ruvllm.config import GenerationConfig, ModelsConfig
from ruvllm.inference import Engine, complete, open_engine
from ruvllm.inference.engine import Cancelled, Piece
from ruvllm.routing import cost_of
from ruvllm.types import FinishReason, GenerationOptions, Message

__all__ = ["Replay", "Said"]


class Said(msgspec.Struct, frozen=True):
    """One whole answer, as `Piece` counts it; `latency_ms` is what it took when it was made.

    `cost` is in the router's unit, 0 for a model of unknown size.
    """

    text: str
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    latency_ms: float
    cost: float


class Replay(Closes):
    """Lends engines that share a cache and stay loaded until `close`; `last` is what was said last by any of them."""

    def __init__(self, cache: Cache) -> None:
        self.last: Said | None = None
        self._cache = cache
        self._engines: dict[str, Engine] = {}
        self._lock = threading.Lock()

    def open(self, model: str, generation: GenerationConfig, config: ModelsConfig) -> Engine:
        """Return an engine, as `open_engine` does."""
        with self._lock:
            if model not in self._engines:
                self._engines[model] = open_engine(model, generation, config)
            return _Replaying(self, self._engines[model])

    def answer(self, engine: Engine, messages: Sequence[Message], options: GenerationOptions) -> Said:
        """Return what an engine said to this prompt, or says now."""
        kind, key = f"said by {engine.name}", msgspec.json.encode((messages, options)).decode()
        with self._lock:
            known = self._cache.find(kind, [key])
            if key not in known:
                known = {key: msgspec.json.encode(_said(engine, messages, options))}
                self._cache.add(kind, known)
            self.last = msgspec.json.decode(known[key], type=Said)
            return self.last

    def close(self) -> None:
        """Free the models. May be called twice."""
        for engine in self._engines.values():
            engine.close()


def _said(engine: Engine, messages: Sequence[Message], options: GenerationOptions) -> Said:
    started = time.perf_counter()
    done = complete(engine, messages, options)
    latency_ms = (time.perf_counter() - started) * 1e3
    cost = cost_of(engine, done.prompt_tokens + done.completion_tokens) or 0.0
    return Said(
        done.text, done.logprobs, done.finish_reason, done.prompt_tokens, done.completion_tokens, latency_ms, cost
    )


class _Replaying:
    """One engine as a brain sees it; closing it frees nothing, the replay does."""

    def __init__(self, replay: Replay, engine: Engine) -> None:
        self.name, self.context_tokens, self.parameters = engine.name, engine.context_tokens, engine.parameters
        self._replay = replay
        self._engine = engine

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return self._engine.count_tokens(messages)

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, *, cancelled: Cancelled | None = None
    ) -> Iterator[Piece]:
        said = self._replay.answer(self._engine, messages, options)
        yield Piece(said.text, said.logprobs, said.finish_reason, said.prompt_tokens, said.completion_tokens)

    def close(self) -> None:
        pass
