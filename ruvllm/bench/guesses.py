"""What guessed tokens save: answers made of sources, by one engine with guesses and one without, in turn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path

from ruvllm.bench.report import Row
from ruvllm.bench.timing import compared
from ruvllm.inference.runtime_engine import RuntimeEngine
from ruvllm.types import GenerationOptions, Message

__all__ = ["questions", "rows", "seconds_behind_first"]

ASKS = ("What does this say? Answer in full sentences.", "List all that must be known of this.")
OPTIONS = GenerationOptions(max_new_tokens=64, repetition_penalty=1.1)


def questions() -> list[list[Message]]:
    """Return prompts that show a document of the demo and ask about it."""
    with as_file(files("ruvllm") / "demo" / "docs") as folder:
        texts = [path.read_text(encoding="utf-8")[:2000] for path in sorted(folder.glob("*.md"))]
    return [[Message("user", f"{text}\n\n{ask}")] for text in texts for ask in ASKS]


def seconds_behind_first(engine: RuntimeEngine, messages: list[Message]) -> tuple[float, int]:
    """Return the time that the tokens behind the first one took, and how many they were."""
    stream = engine.stream(messages, OPTIONS)
    next(stream)
    started = time.perf_counter()
    tokens = sum(len(piece.logprobs) for piece in stream)
    return time.perf_counter() - started, tokens


def rows(name: str, model_dir: Path, *, num_threads: int) -> Iterator[Row]:
    """Yield the rate of decoding answers, the peer being the same engine that guesses nothing."""
    with_guesses, without = (
        RuntimeEngine(model_dir, num_threads=num_threads, draft_tokens=most, cache_bytes=0) for most in (7, 0)
    )
    seconds, tokens = [0.0, 0.0], [0, 0]
    for messages in questions():
        for i, engine in enumerate((with_guesses, without)):
            took, count = seconds_behind_first(engine, messages)
            seconds[i] += took
            tokens[i] += count
    ours, theirs = (count / took for count, took in zip(tokens, seconds, strict=True))
    yield compared(
        f"{name}, answers made of a source", ours, {"without guesses": theirs}, unit="tokens/s", more_is_better=True
    )
