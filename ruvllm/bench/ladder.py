"""`ruvllm bench ladder`: questions of a few benchmarks, each answered by every size of model: a log to learn from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec
import numpy as np

from ruvllm.bench.ladder_log import open_log
from ruvllm.bench.ladder_report import report_rows
from ruvllm.bench.ladder_tasks import Task, draw, read_tasks
from ruvllm.bench.report import Report, make_report
from ruvllm.config import Config, GenerationConfig, ModelsConfig, load_config
from ruvllm.inference import Engine, complete, open_engine
from ruvllm.inference.runtime_engine import Probe
from ruvllm.types import Message

__all__ = ["Tier", "run"]

PROBE_TOKENS = 64  # what a router may read of a question before it chooses

Progress = Callable[[str, int, int], None]
Open = Callable[[str, GenerationConfig, ModelsConfig], Engine]


@runtime_checkable
class Tier(Engine, Protocol):
    """An engine that also says what it makes of a text."""

    def probe(self, messages: Sequence[Message], *, max_tokens: int = PROBE_TOKENS) -> Probe:
        """Return the model's view of the first `max_tokens` of a prompt."""
        ...

    def score(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float]:
        """Return the mean log-probability of a token of each answer."""
        ...


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a tier said. `logprobs` are those of its tokens, or that of its choice among the choices."""

    text: str
    logprobs: Sequence[float]
    prompt_tokens: int
    completion_tokens: int


def run(
    data: Sequence[Path],
    models: Sequence[str],
    out: Path,
    *,
    n: int = 300,
    seed: int = 0,
    num_threads: int = 0,
    config: Config | None = None,
    open: Open = open_engine,
    on_progress: Progress = lambda what, done, total: None,
) -> Report:
    """Add what is missing to the log `out` and return the figures of its questions.

    All tiers answer a question before the next is asked, greedily; a choice is the letter, or the intent, with the
    highest mean log-probability of a token. Cost is the processor time it took, in seconds of a core. A run that was
    ended goes on where it stopped.

    Args:
        data: see `read_tasks`.
        models: at least two, the smallest first, as `ruvllm.open(model=...)` takes them.
        out: ends in .jsonl.gz; one object per question.
        n: questions drawn from each benchmark.
        seed: of the questions and of the intents offered.
        num_threads: cores of every tier; 0 takes all.
        open: makes an engine.

    Raises:
        ValueError: fewer than two models, or one that gives no log-probabilities of a prompt; n is below 1; `out` ends
            otherwise or holds other models or questions; see also `read_tasks`.
    """
    if len(models) < 2 or len(set(models)) < len(models):
        raise ValueError(f"models must be two or more, each once ({', '.join(models) or 'none'})")
    if n < 1:
        raise ValueError(f"n must be >= 1 ({n})")
    config = config or load_config()
    generation = msgspec.structs.replace(config.generation, num_threads=num_threads)
    tasks = draw(read_tasks(data, seed=seed), n, seed=seed)
    with open_log(out) as log, ExitStack() as stack:
        missing = [task for task in tasks if not _is_known(task, log.rows, models, out)]
        tiers: dict[str, Tier] = {}
        for model in models if missing else ():
            engine = stack.enter_context(closing(open(model, generation, config.models)))
            tiers[model] = _warm_tier(model, engine)
        for done, task in enumerate(missing, len(tasks) - len(missing) + 1):
            log.add(_ask(task, tiers))
            on_progress("questions", done, len(tasks))
        return make_report("ladder", report_rows([log.rows[task.id] for task in tasks]))


def _warm_tier(model: str, engine: Engine) -> Tier:
    if not isinstance(engine, Tier):
        raise ValueError(f"models: {model} gives no log-probabilities of a prompt; local models do")
    engine.probe([Message("user", "Hello")])  # the first use reads the weights
    return engine


def _is_known(task: Task, rows: Mapping[str, Any], models: Sequence[str], out: Path) -> bool:
    row = rows.get(task.id)
    if row is None:
        return False
    if list(row["score"]) != list(models):
        raise ValueError(f"out: {out} holds answers of {', '.join(row['score'])}, not of {', '.join(models)}")
    if (row["prompt"], row["choices"]) != (task.prompt, list(task.choices)):
        raise ValueError(f"out: {out} holds another question {task.id}; it was made with other data or another seed")
    return True


def _ask(task: Task, tiers: Mapping[str, Tier]) -> dict[str, Any]:
    """Return the line of the log: the question, and what each tier did on it."""
    smallest = next(iter(tiers.values()))
    row: dict[str, Any] = {
        "id": task.id,
        "benchmark": task.benchmark,
        "subject": task.subject,
        "prompt": task.prompt,
        "choices": task.choices,
        "references": task.references,
        "probe": _probe(smallest, [Message("user", task.prompt)], PROBE_TOKENS),
    }
    by_tier: dict[str, dict[str, Any]] = {}
    for model, tier in tiers.items():
        began, began_cpu = time.perf_counter(), time.process_time()
        answer = _answer(tier, task)
        by_tier[model] = {
            "score": task.score(answer.text),
            "latency_ms": 1e3 * (time.perf_counter() - began),
            "cost": time.process_time() - began_cpu,
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "answer": answer.text,
            "answer_logprob": _summary(answer.logprobs),
        }
    for name in next(iter(by_tier.values())):
        row[name] = {model: values[name] for model, values in by_tier.items()}
    row["prompt_probe"] = _probe(smallest, task.messages, smallest.context_tokens)  # after the answer: it is kept
    return row


def _answer(tier: Tier, task: Task) -> _Answer:
    if not task.answers:
        said = complete(tier, task.messages, task.options)
        return _Answer(said.text, said.logprobs, said.prompt_tokens, said.completion_tokens)
    logprobs = np.array(tier.score(task.messages, task.answers))
    best = int(logprobs.argmax())
    logprobs -= np.logaddexp.reduce(logprobs)
    return _Answer(task.answers[best], [float(logprobs[best])], tier.count_tokens(task.messages), 0)


def _probe(tier: Tier, messages: Sequence[Message], max_tokens: int) -> dict[str, float]:
    began = time.perf_counter()
    probe = tier.probe(messages, max_tokens=max_tokens)
    return {
        "top_probability": probe.top_probability,
        "margin": probe.margin,
        "entropy": probe.entropy,
        "mean_logprob": probe.prompt_logprob,
        "latency_ms": 1e3 * (time.perf_counter() - began),
        "num_tokens": min(max_tokens, tier.count_tokens(messages)),
    }


def _summary(logprobs: Sequence[float]) -> dict[str, float]:
    """Return mean and minimum; nothing where no token was said."""
    return {"mean": float(np.mean(logprobs)), "min": float(np.min(logprobs))} if logprobs else {}
