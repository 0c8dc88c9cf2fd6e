"""`ruvllm bench soak`: many requests through one process, and whether it grows by more than it remembers."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from ruvllm.bench.evaluation import Progress
from ruvllm.bench.process import open_files, resident_bytes, threads
from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.zero_cost import open_zero_cost
from ruvllm.config import Config
from ruvllm.system import RuvLLM

__all__ = ["Soaked", "run", "soak", "theil_sen"]

MIB = 1 << 20
PER = 10_000  # requests that a slope is told for
DOCUMENTS = 2_000
VOCABULARY = 5_000
WORDS = 40  # of a document
QUESTIONS = 200  # that are asked again and again
SAMPLES = 100  # looks at the process, evenly over the requests
WARM_UP = 0.3  # of the requests, during which caches and tables fill
SESSION_TURNS = 10  # every fourth request is a turn of a conversation, which is as long as this
FEEDBACK_EVERY = 10
Z_95 = 1.96


@dataclass(frozen=True, slots=True)
class Soaked:
    """What a run left behind; samples are taken every `requests / SAMPLES` requests."""

    requests: int
    seconds: float
    at: list[int] = field(default_factory=list)  # requests done
    resident: list[float] = field(default_factory=list)  # MiB
    files: tuple[int, int] = (0, 0)  # open, after the warm-up and at the end
    threads: tuple[int, int] = (0, 0)
    nodes: tuple[int, int] = (0, 0)
    searched: tuple[int, int] = (0, 0)  # nodes that are not on probation
    failed: int = 0


def run(requests: int, config: Config, *, fresh: bool = False, seed: int = 0, on_progress: Progress) -> Report:
    """Return how fast requests go through a system whose models cost nothing, and what it grows by.

    Args:
        fresh: every question is a new one, so that memory has more to remember; else a fixed set is asked in turns.
    """
    if requests < SAMPLES:
        raise ValueError(f"requests must be >= {SAMPLES} ({requests})")
    with tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder, open_zero_cost(Path(folder), config) as llm:
        soaked = soak(llm, requests, np.random.default_rng(seed), fresh=fresh, on_progress=on_progress)
    is_warm = [at > WARM_UP * requests for at in soaked.at]
    at = np.array(soaked.at)[is_warm] / PER
    resident = np.array(soaked.resident)[is_warm]
    slope, low, high = theil_sen(at, resident)
    per_request = (soaked.nodes[1] - soaked.nodes[0]) / requests
    rows = [
        Row("requests", requests, ""),
        Row("requests a second", requests / soaked.seconds, "1/s"),
        Row("nodes remembered of a request", per_request, ""),
        Row("nodes searched that came", soaked.searched[1] - soaked.searched[0], ""),
        Row("resident, after the warm-up", float(resident[0]), "MiB"),
        Row("resident, at the end", soaked.resident[-1], "MiB"),
        Row(f"growth in {PER:,} requests", slope, "MiB", interval=(low, high), target=0.0, met=low <= 0.0),
        _none("open files that came", soaked.files[1] - soaked.files[0]),
        _none("threads that came", soaked.threads[1] - soaked.threads[0]),
        _none("records that failed", soaked.failed),
    ]
    return make_report("soak", rows)


def _none(name: str, count: int) -> Row:
    return Row(name, count, "", target=0, met=count <= 0)


def soak(llm: RuvLLM, requests: int, rng: np.random.Generator, *, fresh: bool, on_progress: Progress) -> Soaked:
    """Fill an empty brain with texts and put `requests` to it, some in conversations and some rated afterwards."""
    words = np.array([f"word{i}" for i in range(VOCABULARY)])
    llm.ingest([" ".join(text) for text in rng.choice(words, (DOCUMENTS, WORDS))])
    asked = _questions(words, rng, fresh=fresh)
    every = requests // SAMPLES
    at: list[int] = []
    resident: list[float] = []
    before = (0, 0)
    first = llm.stats()
    started = time.perf_counter()
    for i in range(requests):
        session = f"talk {i // (4 * SESSION_TURNS)}" if i % 4 == 0 else None
        response = llm.ask(next(asked), session=session)
        if i % FEEDBACK_EVERY == 0:
            llm.feedback(response.id, rating=5 if i % 3 else 1, rater="one")  # on whose word alone nothing is promoted
        if (i + 1) % every == 0:
            at.append(i + 1)
            resident.append(resident_bytes() / MIB)
            if i < WARM_UP * requests:
                before = (open_files(), threads())
            on_progress("requests", i + 1, requests)
    llm.flush()
    seconds = time.perf_counter() - started
    last = llm.stats()
    return Soaked(
        requests=requests,
        seconds=seconds,
        at=at,
        resident=resident,
        files=(before[0], open_files()),
        threads=(before[1], threads()),
        nodes=(first.nodes, last.nodes),
        searched=(first.nodes - first.on_probation, last.nodes - last.on_probation),
        failed=last.failed_records,
    )


def _questions(words: np.ndarray, rng: np.random.Generator, *, fresh: bool) -> Iterator[str]:
    known = [" ".join(rng.choice(words, 8)) for _ in range(QUESTIONS)]
    while True:
        for question in known:
            yield f"What is {' '.join(rng.choice(words, 8)) if fresh else question}?"


def theil_sen(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Return the median slope between all pairs of points, and its 95 % interval by Kendall's statistic.

    Points that follow each other are not independent, so that the interval is too narrow rather than too wide.

    Source: Sen 1968, J. Am. Stat. Assoc. 63, section 4.
    """
    slopes = np.sort([(y[j] - y[i]) / (x[j] - x[i]) for i, j in combinations(range(len(x)), 2)])
    n, pairs = len(x), len(slopes)
    reach = Z_95 * np.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = slopes[max(int((pairs - reach) / 2), 0)]
    high = slopes[min(int((pairs + reach) / 2) + 1, pairs - 1)]
    return float(np.median(slopes)), float(low), float(high)
