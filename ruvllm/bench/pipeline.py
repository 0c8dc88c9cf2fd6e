"""`ruvllm bench pipeline`: what a request costs besides embedding and generation, by stage, and how many a second."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from ruvllm.bench.corpora import Passage, read_corpus, read_questions, sample
from ruvllm.bench.evaluation import documents
from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.scale import grown
from ruvllm.bench.setup import Settings
from ruvllm.bench.zero_cost import FreeEmbedder, open_zero_cost
from ruvllm.config import Config
from ruvllm.inference import Engine, complete, open_engine
from ruvllm.memory import Memory
from ruvllm.system import RuvLLM
from ruvllm.types import GenerationOptions, Message

__all__ = ["fill", "opened", "run", "with_cache"]

QUESTIONS = 300
TURNS = 10  # of a session
SECONDS = 8.0  # that requests are counted
NOT_OURS = frozenset(("embed", "generate", "first_token", "total"))  # stages; the last two are marks, not parts
PART = 5_000  # documents of one call of ingest
PROMPT_TOKENS, ANSWER_TOKENS, ANSWERS = 600, 64, 9
MAX_OVERHEAD_MS, MAX_AGAIN_MS, MIN_RATE, MAX_ANSWER_MS = 3.0, 0.3, 400.0, 500.0


def run(
    corpora: Sequence[Path], questions: Path, settings: Settings, *, nodes: int = 20_000, model: str | None = None
) -> Report:
    """Return times of the stages, the overhead alone and in sessions, requests a second, the time of an answer that is
    given again, and that of a real one.

    Embedder and engine cost nothing; answers are written back.

    Args:
        corpora: JSON Lines of {pid, title, text}; see `scale.grown` for how they become `nodes` documents.
        questions: JSON Lines of {id, question, answers}, of which QUESTIONS are asked.
        model: reader whose 64 tokens over a prompt of 600 are timed; none when None.
    """
    if nodes < 1:
        raise ValueError(f"nodes must be >= 1 ({nodes})")
    passages = [passage for corpus in corpora for passage in read_corpus(corpus)]
    asked = [q.question for q in sample(read_questions(questions), QUESTIONS, settings.seed)]
    with tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder:
        fill(Path(folder), list(grown(passages, nodes, settings.seed)), settings)
        with opened(Path(folder), asked, settings.config) as llm:
            rows = _stage_rows(llm, asked)
            overhead_ms = next(row.value for row in rows if row.name == "overhead, p50")
            rows += _session_rows(llm, asked)
            rows += [_rate_row(llm, asked, num_threads) for num_threads in (1, 2)]
        with opened(Path(folder), asked, with_cache(settings.config)) as llm:
            rows += _again_rows(llm, asked)
    if model is not None:
        rows.append(_answer_row(model, passages, settings.config, overhead_ms))
    return make_report("pipeline", rows)


def fill(brain: Path, passages: Sequence[Passage], settings: Settings) -> None:
    """Make a brain of passages."""
    with Memory(brain, embedder=FreeEmbedder(), config=settings.config) as memory:
        for start in range(0, len(passages), PART):
            memory.ingest(documents(passages[start : start + PART]))
            settings.on_progress("ingest", min(start + PART, len(passages)), len(passages))
        memory._nearest.prepare()


@contextmanager
def opened(brain: Path, asked: Sequence[str], config: Config) -> Iterator[RuvLLM]:
    """Yield the whole system over a brain that `fill` made, with embedder and engine at no cost, loaded and warm.

    Everything is asked once before: the judge's sentences are embedded then.
    """
    with open_zero_cost(brain, config, FreeEmbedder(keeps=True)) as llm:
        for question in asked:
            llm.ask(question)
        llm.flush()
        llm.memory._nearest.prepare()  # waits until the index is in use
        yield llm


def with_cache(config: Config) -> Config:
    """Return a configuration that gives answers again."""
    return msgspec.structs.replace(config, cache=msgspec.structs.replace(config.cache, enabled=True))


def overheads(llm: RuvLLM, asked: Sequence[str], sessions: Sequence[str | None]) -> Mapping[str, np.ndarray]:
    """Return milliseconds of each question by stage; "overhead" is all but embedding and generation."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    for question, session in zip(asked, sessions, strict=True):
        started = time.perf_counter()
        stages = llm.ask(question, session=session).timings_ms
        whole = 1e3 * (time.perf_counter() - started)
        ours = {name: ms for name, ms in stages.items() if name not in NOT_OURS}
        overhead = whole - stages.get("embed", 0.0) - stages.get("generate", 0.0)
        for name, ms in {**ours, "the rest": overhead - sum(ours.values()), "overhead": overhead}.items():
            times[name].append(ms)
    return {name: np.array(all_ms) for name, all_ms in times.items()}


def _stage_rows(llm: RuvLLM, asked: Sequence[str]) -> list[Row]:
    rows = []
    for name, all_ms in overheads(llm, asked, [None] * len(asked)).items():
        p50, p95 = map(float, np.percentile(all_ms, [50, 95]))
        is_total = name == "overhead"
        rows.append(_below(f"{name}, p50", p50, "ms", MAX_OVERHEAD_MS) if is_total else Row(f"{name}, p50", p50, "ms"))
        rows.append(Row(f"{name}, p95", p95, "ms"))
    return rows


def _session_rows(llm: RuvLLM, asked: Sequence[str]) -> list[Row]:
    sessions = [f"session {i // TURNS}" for i in range(len(asked))]
    p50, p95 = map(float, np.percentile(overheads(llm, asked, sessions)["overhead"], [50, 95]))
    name = f"overhead in sessions of {TURNS} turns"
    return [_below(f"{name}, p50", p50, "ms", MAX_OVERHEAD_MS), Row(f"{name}, p95", p95, "ms")]


def _again_rows(llm: RuvLLM, asked: Sequence[str]) -> list[Row]:
    """Return how long a question takes that was answered before, answers written back meanwhile."""
    for question in asked:
        llm.ask(question)
    llm.flush()
    times = []
    for question in asked:
        started = time.perf_counter()
        is_again = llm.ask(question).cached
        times.append(1e3 * (time.perf_counter() - started) if is_again else np.nan)
    p50, p95 = map(float, np.nanpercentile(times, [50, 95]))
    name = "given again from the cache"
    return [_below(f"{name}, p50", p50, "ms", MAX_AGAIN_MS), Row(f"{name}, p95", p95, "ms")]


def _rate_row(llm: RuvLLM, asked: Sequence[str], num_threads: int) -> Row:
    """Return requests a second, those counted that are written back in the end."""
    llm.flush()
    started = time.perf_counter()
    counts = [0] * num_threads

    def ask(place: int) -> None:
        while time.perf_counter() < started + SECONDS:
            llm.ask(asked[(place * len(asked) // num_threads + counts[place]) % len(asked)])
            counts[place] += 1

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    llm.flush()
    rate = sum(counts) / (time.perf_counter() - started)
    plural = "" if num_threads == 1 else "s"
    target = MIN_RATE if num_threads > 1 else None
    met = None if target is None else rate >= target
    return Row(f"requests, {num_threads} thread{plural}", rate, "1/s", target=target, met=met)


def _answer_row(model: str, passages: Sequence[Passage], config: Config, overhead_ms: float) -> Row:
    """Return the time of an answer of ANSWER_TOKENS over a prompt of PROMPT_TOKENS, with the overhead of a request."""
    times = []
    engine = open_engine(model, config.generation, config.models)
    try:
        for start in range(0, ANSWERS + 1):
            messages = _prompt(engine, passages[start * len(passages) // (ANSWERS + 1) :])
            started = time.perf_counter()
            done = complete(engine, messages, GenerationOptions(max_new_tokens=ANSWER_TOKENS, temperature=0.0))
            seconds = time.perf_counter() - started
            times.append(seconds * 1e3 if done.completion_tokens >= ANSWER_TOKENS else np.nan)  # it stopped early
    finally:
        engine.close()
    p50 = float(np.nanmedian(times[1:])) + overhead_ms  # the first one loads
    name = f"{ANSWER_TOKENS} tokens over a prompt of {PROMPT_TOKENS} by {model}, p50"
    return _below(name, p50, "ms", MAX_ANSWER_MS)


def _prompt(engine: Engine, passages: Sequence[Passage]) -> list[Message]:
    """Return the longest prompt of PROMPT_TOKENS or less that asks for words to be said again: the answer is long."""
    words = " ".join(passage.text for passage in passages[:20]).split()[: 2 * PROMPT_TOKENS]
    while True:
        messages = [Message("user", f"Repeat this text word by word:\n\n{' '.join(words)}")]
        tokens = engine.count_tokens(messages)
        if tokens <= PROMPT_TOKENS or len(words) < 2:
            return messages
        del words[-max(1, (tokens - PROMPT_TOKENS) // 2) :]


def _below(name: str, value: float, unit: str, target: float) -> Row:
    return Row(name, value, unit, target=target, met=value <= target)
