"""`ruvllm bench worker`: how much later answers come while the background trains without a pause."""

from __future__ import annotations

import hashlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ruvllm.bench.corpora import Question, read_corpus, read_questions, sample
from ruvllm.bench.evaluation import documents
from ruvllm.bench.quoting import QuotingReader
from ruvllm.bench.report import Report, Row, bootstrap_interval, make_report
from ruvllm.bench.scale import grown
from ruvllm.bench.serving import PremadeVectors, served
from ruvllm.bench.setup import Settings, open_tools
from ruvllm.brain_router import BrainRouter
from ruvllm.config import Config, WorkerConfig, load_config
from ruvllm.inference import Engine
from ruvllm.learning.jobs import Learners, News, brain_jobs
from ruvllm.learning.worker import Worker
from ruvllm.memory import Memory
from ruvllm.pipeline import AnswerStream, Pipeline
from ruvllm.priority import at_idle_priority
from ruvllm.router.outcomes import TierInfo
from ruvllm.types import Feedback, Request

__all__ = ["run"]

TIERS = (TierInfo("small", 100_000_000, 0.06), TierInfo("large", 2_000_000_000, 1.2))
ROUTED: dict[str, dict[str, Any]] = {
    "models": {"tiers": ["small", "large"]},
    "generation": {"model": "large", "min_confidence": 0.0},
}
PART = 5_000  # documents of one call of ingest
WARM_UP = 200  # requests before anything is timed
TAUGHT = 600  # questions that are rated: what is trained on
LOAD = 0.3  # of what is served when nothing waits
WITHOUT_PAUSE = WorkerConfig(start_after_s=0.0, idle_s=0.0, cpu_share=1.0)
AT_ONCE_S = 1e-3
SETTLE_S = 0.1  # from the end of what ran before to the first request of a block
TARGET = 1.10

Beside = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class _Served:
    """A brain that answers, with the worker beside it."""

    memory: Memory
    worker: Worker
    answer: Callable[[str], str]

    @contextmanager
    def training(self) -> Iterator[None]:
        """Let the worker train meanwhile."""
        self.worker.resume()
        try:
            yield
        finally:
            self.worker.pause()


def run(
    corpora: Sequence[Path], questions: Path, settings: Settings, *, nodes: int, blocks: int, seconds: float
) -> Report:
    """Return the 95th percentiles of answering beside nothing and beside training, and their ratio.

    Requests come by chance at LOAD of what one thread can answer; embedding and reading cost nothing, so that nothing
    hides what the worker does. Blocks take turns over the same arrivals. In the third kind a thread computes which
    shares nothing with the others: on a machine that is slow to wake from idleness, answers come sooner beside it.

    Args:
        corpora: JSON Lines of {pid, title, text}; see `grown` for how they become `nodes` documents.
        blocks: of each kind. seconds: length of one block.
    """
    passages = list(grown([p for corpus in corpora for p in read_corpus(corpus)], nodes, settings.seed))
    asked = sample(read_questions(questions), settings.limit or 1_000_000, settings.seed)
    config = load_config(environment={}, overrides=ROUTED)
    with open_tools(settings) as tools, tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder:
        embedder = PremadeVectors(tools.embedder, [question.question for question in asked])
        with _brain(Path(folder), embedder, config) as brain:
            for start in range(0, len(passages), PART):
                brain.memory.ingest(documents(passages[start : start + PART]))
                settings.on_progress("ingest", min(start + PART, len(passages)), len(passages))
            embedder.is_open = False
            _teach(brain, asked[:TAUGHT])
            return make_report("worker", _measured(brain, asked, settings, blocks, seconds))


@contextmanager
def _brain(folder: Path, embedder: PremadeVectors, config: Config) -> Iterator[_Served]:
    with Memory(folder, embedder=embedder, config=config) as memory:
        router = BrainRouter(memory, TIERS, config, seed=0)
        jobs = brain_jobs(memory, WITHOUT_PAUSE, News(), Learners(router=router.train))
        again = [replace(job, every_s=AT_ONCE_S, early=None) for job in jobs if job.name in ("attention", "router")]
        worker = Worker(memory.job_table, again, WITHOUT_PAUSE)
        readers: dict[str, Engine] = {tier.name: QuotingReader(tier.name) for tier in TIERS}

        def lend(tier: str, **_: Any) -> AbstractContextManager[Engine]:
            return nullcontext(readers[tier])

        pipeline = Pipeline(memory, lend, config, router=router, spare_time=worker)

        def answer(question: str) -> str:
            with worker.request():
                return AnswerStream(pipeline.run(Request(question), lambda: False)).response.id

        worker.pause()
        worker.start()
        try:
            yield _Served(memory, worker, answer)
        finally:
            worker.close()


def _teach(brain: _Served, questions: Sequence[Question]) -> None:
    """Rate answers by whether they showed the evidence, and mark what of it they showed."""
    for i, question in enumerate(questions):
        id = brain.answer(question.question)
        shown = brain.memory.interaction(id).source_ids
        gold = {node: brain.memory.get(node).source in question.gold_pids for node in shown}
        marks = {node: True for node, is_gold in gold.items() if is_gold}
        brain.memory.feedback(id, Feedback(rating=5 if marks else 1, rater=f"rater {i}", marks=marks))


def _measured(brain: _Served, asked: Sequence[Question], settings: Settings, blocks: int, seconds: float) -> list[Row]:
    rng = np.random.default_rng(settings.seed)

    def serve(i: int) -> None:
        brain.answer(asked[i % len(asked)].question)

    served(serve, np.zeros(WARM_UP))
    alone = served(serve, np.zeros(2 * WARM_UP))
    rate = len(alone) / alone[-1]
    beside: dict[str, Beside] = {
        "nothing": nullcontext,
        "a thread that computes": _busy,
        "training": brain.training,
    }
    p95: dict[str, list[float]] = {name: [] for name in beside}
    cpu = dict.fromkeys(beside, 0.0)
    runs = _runs(brain)
    for block in range(blocks):
        arrivals = np.cumsum(rng.exponential(1.0 / (LOAD * rate), max(int(LOAD * rate * seconds), 1)))
        for name in np.roll(list(beside), block).tolist():
            with beside[name]():
                time.sleep(SETTLE_S)
                before = time.process_time()
                p95[name].append(1e3 * float(np.percentile(served(serve, arrivals), 95)))
                cpu[name] += time.process_time() - before
        settings.on_progress("blocks", block + 1, blocks)
    rows = [Row("answers a second, one thread", rate, "1/s")]
    rows += [Row(f"p95 beside {name}", float(np.mean(times)), "ms") for name, times in p95.items()]
    rows.append(_ratio("p95 beside training over p95 beside nothing", p95["training"], p95["nothing"], TARGET))
    busy = p95["a thread that computes"]
    rows.append(_ratio("p95 beside training over p95 beside a thread that computes", p95["training"], busy, None))
    rows.append(Row("trainings that came to their end", _runs(brain) - runs, ""))
    took = (cpu["training"] - cpu["nothing"]) / (blocks * seconds)
    return [*rows, Row("processor that training took", took, "cores")]


def _ratio(name: str, over: Sequence[float], under: Sequence[float], target: float | None) -> Row:
    """Return the geometric mean of the ratios of blocks over the same arrivals."""
    logs = np.log(np.array(over) / np.array(under))
    low, high = np.exp(bootstrap_interval(logs))
    ratio = float(np.exp(logs.mean()))
    met = None if target is None else ratio <= target
    return Row(name, ratio, "ratio", interval=(float(low), float(high)), target=target, met=met)


@contextmanager
def _busy() -> Iterator[None]:
    """Keep a thread of idle priority computing, that shares nothing with the others but the machine."""
    is_over = threading.Event()

    def compute() -> None:
        block = bytes(1 << 19)  # a fraction of a millisecond, in which other threads may run Python
        while not is_over.is_set():
            hashlib.sha256(block).digest()

    thread = threading.Thread(target=at_idle_priority, args=(compute,))
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _runs(brain: _Served) -> int:
    return sum(state.runs for state in brain.memory.jobs())
