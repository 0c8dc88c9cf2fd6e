"""What sessions of the runtime save: turns that go on, conversations decoded together, int8 caches, shared contexts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ruvllm.bench.report import Row
from ruvllm.bench.timing import compared
from ruvllm.inference.runtime_engine import RuntimeEngine
from ruvllm.inference.runtime_model import open_runtime
from ruvllm.kernels import RuntimeModel, RuntimeSession
from ruvllm.models import read_card
from ruvllm.types import GenerationOptions, Message

__all__ = ["Lengths", "rows"]

TOGETHER = 8  # sessions decoded together, and answers scored together
WORDS = "the memory of a graph keeps what a router learnt about sources and answers "

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Lengths:
    """In tokens: a conversation's first and second turn, two contexts to decode after, steps of decoding."""

    first_turn: int = 2000
    second_turn: int = 50
    short_context: int = 512
    long_context: int = 8192
    steps: int = 32


def rows(
    name: str,
    model_dir: Path,
    *,
    num_threads: int,
    rounds: int,
    lengths: Lengths = Lengths(),
    load_peers: Mapping[str, Callable[[], float]] | None = None,
) -> Iterator[Row]:
    """Yield the rows of a decoder.

    Args:
        load_peers: seconds until the first token from a file that other engines load.
    """
    model = open_runtime(model_dir, read_card(model_dir), num_threads=num_threads)
    yield _second_turn(name, model, lengths, rounds)
    yield _together(name, model, lengths, rounds)
    yield _long_context(name, model, lengths, rounds)
    del model
    yield _load(name, model_dir, num_threads, rounds, load_peers or {})
    yield _scoring(name, model_dir, num_threads, rounds)


def _second_turn(name: str, model: RuntimeModel, lengths: Lengths, rounds: int) -> Row:
    first, second = _ids(model, lengths.first_turn), _ids(model, lengths.second_turn, seed=1)
    firsts, seconds = [], []
    for _ in range(rounds):
        session = model.session(context_tokens=len(first) + len(second))
        firsts.append(_seconds(partial(model.advance, [session], [first])))
        seconds.append(_seconds(partial(model.advance, [session], [second])))
    return compared(
        f"{name}, second turn of {len(second)} tokens after {len(first)}, time to first token",
        100.0 * statistics.median(seconds) / statistics.median(firsts),
        {},
        unit="% of the first turn's",
        target=5.0,
    )


def _together(name: str, model: RuntimeModel, lengths: Lengths, rounds: int) -> Row:
    alone, together = [], []
    for _ in range(rounds):
        alone.append(_decode_seconds(model, _sessions(model, 1, lengths), lengths.steps))
        together.append(_decode_seconds(model, _sessions(model, TOGETHER, lengths), lengths.steps))
    return compared(
        f"{name}, {TOGETHER} sessions decoding together",
        TOGETHER * statistics.median(alone) / statistics.median(together),
        {},
        unit="x the tokens/s of one",
        target=3.0,
        more_is_better=True,
    )


def _long_context(name: str, model: RuntimeModel, lengths: Lengths, rounds: int) -> Row:
    held = {length: _read(model, length, lengths.steps) for length in (lengths.short_context, lengths.long_context)}
    seconds: dict[int, list[float]] = {length: [] for length in held}
    for _ in range(rounds):
        for length, session in held.items():
            seconds[length].append(_decode_seconds(model, [session], lengths.steps))
            session.cut(length)
    short, long = (statistics.median(seconds[length]) for length in held)
    return compared(
        f"{name}, int8 KV, decode after {lengths.long_context} tokens",
        100.0 * short / long,
        {},
        unit=f"% of the tokens/s after {lengths.short_context}",
        target=80.0,
        more_is_better=True,
    )


def _load(name: str, model_dir: Path, num_threads: int, rounds: int, peers: Mapping[str, Callable[[], float]]) -> Row:
    def first_token() -> None:
        engine = RuntimeEngine(model_dir, num_threads=num_threads)
        next(iter(engine.stream([Message("user", "a")], GenerationOptions(max_new_tokens=1))))
        engine.close()

    seconds: dict[str, list[float]] = {"": [], **{label: [] for label in peers}}
    for _ in range(rounds):
        seconds[""].append(_seconds(first_token))
        for label, load in peers.items():
            seconds[label].append(load())
    medians = {label: statistics.median(times) for label, times in seconds.items()}
    return compared(
        f"{name}, load until the first token, warm file cache", medians.pop(""), medians, unit="s", target_ratio=1.0
    )


def _scoring(name: str, model_dir: Path, num_threads: int, rounds: int) -> Row:
    engine = RuntimeEngine(model_dir, num_threads=num_threads)
    answers = [WORDS[i : i + 24] for i in range(TOGETHER)]
    contexts = (f"{i:06d} {6 * WORDS}" for i in range(rounds * (TOGETHER + 1)))  # none is found in the cache
    together, apart = [], []
    for _ in range(rounds):
        together.append(_seconds(partial(engine.score, [Message("user", next(contexts))], answers)))
        apart.append(sum(_seconds(partial(engine.score, [Message("user", next(contexts))], [one])) for one in answers))
    engine.close()
    return compared(
        f"{name}, {TOGETHER} answers to one context scored together",
        statistics.median(apart) / statistics.median(together),
        {},
        unit="x the speed of one by one",
        target=3.0,
        more_is_better=True,
    )


def _sessions(model: RuntimeModel, count: int, lengths: Lengths) -> list[RuntimeSession]:
    made = [model.session(context_tokens=2 + lengths.steps) for _ in range(count)]
    model.advance(made, [_ids(model, 2, seed=i) for i in range(count)])
    return made


def _read(model: RuntimeModel, length: int, steps: int) -> RuntimeSession:
    session = model.session(context_tokens=length + steps, kv="int8")
    model.advance([session], [_ids(model, length)])
    return session


def _decode_seconds(model: RuntimeModel, sessions: list[RuntimeSession], steps: int) -> float:
    tokens = [np.array([token], np.int32) for token in _ids(model, steps, seed=2)]

    def decode() -> None:
        for token in tokens:
            model.advance(sessions, [token] * len(sessions))

    return _seconds(decode)


def _ids(model: RuntimeModel, count: int, seed: int = 0) -> Ids:
    return np.random.default_rng(seed).integers(model.vocab_size // 8, model.vocab_size, count).astype(np.int32)


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
