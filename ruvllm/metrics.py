"""What one opened brain counts, under Prometheus' names: requests, stages, tokens, warnings, feedback, sizes."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from ruvllm.types import Feedback, IngestReport, Response
from ruvllm.types.checks import require_name

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

__all__ = ["Gauge", "Metrics", "stage_quantiles", "text_of"]

SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
SHARES = tuple(i / 10 for i in range(1, 11))
SIZES_SHARE = 0.05  # of the time that may go into counting what the brain holds: seconds, at millions of edges
OUTCOMES = {"cancelled": "cancelled", "extract": "extracted", "deadline": "deadline"}  # by reason; others answered
MARKS = frozenset({"total", "first_token"})  # timings that are moments, no stages


@dataclass(frozen=True, slots=True)
class Gauge:
    """One size as it is now; a `name` that ends in _total counts up since the brain was opened."""

    name: str
    help: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)  # told apart by identity, which is what keys hash fastest by
class _Family:
    """A counter, or, with the upper ends of `buckets`, a histogram. Labels take few values: no ids, keys or texts."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


REQUESTS = _Family("ruvllm_requests", "Requests that ended, by how and by who answered.", ("outcome", "route"))
REQUEST_SECONDS = _Family("ruvllm_request_seconds", "From the start of a request to its end.", ("outcome",), SECONDS)
FIRST_TOKEN = _Family("ruvllm_first_token_seconds", "Until the first words of an answer were there.", (), SECONDS)
STAGES = _Family("ruvllm_stage_seconds", "Time of each stage of answered requests.", ("stage",), SECONDS)
TOKENS = _Family("ruvllm_tokens", "Tokens read (prompt) and written (completion) by models.", ("kind",))
CACHE = _Family("ruvllm_cache_requests", "Answered requests that looked for an answer given before.", ("result",))
QUALITY = _Family("ruvllm_quality", "Quality of answers, by who judged it.", ("source",), SHARES)
CONFIDENCE = _Family("ruvllm_confidence", "Mean token probability of answers.", (), SHARES)
WARNINGS = _Family("ruvllm_warnings", "Ways in which answers were degraded, by the stage.", ("stage",))
ERRORS = _Family("ruvllm_errors", "Requests that raised, by the class of the error.", ("error",))
FEEDBACK = _Family("ruvllm_feedback", "What was said about answers.", ("kind",))
DOCUMENTS = _Family("ruvllm_documents_ingested", "Documents given to ingest, by what became of them.", ("result",))

_FAMILIES = (
    *(REQUESTS, REQUEST_SECONDS, FIRST_TOKEN, STAGES, TOKENS, CACHE),
    *(QUALITY, CONFIDENCE, WARNINGS, ERRORS, FEEDBACK, DOCUMENTS),
)


class _Histogram:
    """How many values fell into each bucket, the last one open, and their sum."""

    __slots__ = ("counts", "sum")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.sum = 0.0


class Metrics:
    """What was counted since the brain was opened, and how large it is. Safe to share between threads.

    Counting costs microseconds a request; the client library of Prometheus comes in when somebody looks.

    Args:
        sizes: what the brain holds now.
    """

    def __init__(self, sizes: Callable[[], Iterable[Gauge]] = tuple) -> None:
        # A stream that is collected as garbage counts itself wherever its thread happens to be, also in here.
        self._lock = threading.RLock()
        self._counts: defaultdict[tuple[_Family, tuple[str, ...]], float] = defaultdict(float)
        self._histograms: dict[tuple[_Family, tuple[str, ...]], _Histogram] = {}
        self._read_sizes = sizes
        self._sizes: tuple[Gauge, ...] = ()
        self._sizes_due = 0.0  # by the monotonic clock

    # -- counting ----------------------------------------------------------------------------------------------------

    def answered(self, response: Response, seconds: float) -> None:
        """Count a request that has a response; one that its caller cancelled half way counts as that."""
        outcome = OUTCOMES.get(response.finish_reason, "answered")
        with self._lock:
            self._ended(outcome, response.route.tier or "none", seconds)
            for stage, ms in response.timings_ms.items():
                if stage not in MARKS:
                    self._observe(STAGES, ms / 1e3, stage)
            if "first_token" in response.timings_ms:
                self._observe(FIRST_TOKEN, response.timings_ms["first_token"] / 1e3)
            self._counts[TOKENS, ("prompt",)] += response.prompt_tokens
            self._counts[TOKENS, ("completion",)] += response.completion_tokens
            for warning in response.warnings:
                self._counts[WARNINGS, (_stage_of(warning),)] += 1
            if "cache" in response.timings_ms:  # there is one
                self._counts[CACHE, ("hit" if response.cached else "miss",)] += 1
            if response.quality is not None:
                self._observe(QUALITY, response.quality, response.quality_source.partition("@")[0])
            if response.confidence is not None:
                self._observe(CONFIDENCE, response.confidence)

    def cancelled(self, seconds: float) -> None:
        """Count a request that ended without a response because its caller wanted no more of it."""
        with self._lock:
            self._ended("cancelled", "none", seconds)

    def failed(self, error: Exception, seconds: float) -> None:
        """Count a request that raised."""
        with self._lock:
            self._ended("failed", "none", seconds)
            self._counts[ERRORS, (type(error).__name__,)] += 1

    def heard(self, feedback: Feedback) -> None:
        """Count what was said about an answer."""
        with self._lock:
            for kind in ("rating", "quality", "task_success", "correction", "marks"):
                if getattr(feedback, kind) not in (None, {}):
                    self._counts[FEEDBACK, (kind,)] += 1

    def ingested(self, report: IngestReport) -> None:
        """Count documents by what became of them."""
        with self._lock:
            for result in ("added", "updated", "unchanged"):
                self._counts[DOCUMENTS, (result,)] += getattr(report, result)
            self._counts[DOCUMENTS, ("failed",)] += len(report.failures)

    def _ended(self, outcome: str, route: str, seconds: float) -> None:
        self._counts[REQUESTS, (outcome, route)] += 1
        self._observe(REQUEST_SECONDS, seconds, outcome)

    def _observe(self, family: _Family, value: float, *labels: str) -> None:
        found = self._histograms.get((family, labels))
        if found is None:
            found = self._histograms[family, labels] = _Histogram(len(family.buckets))
        found.counts[bisect_left(family.buckets, value)] += 1
        found.sum += value

    # -- looking -----------------------------------------------------------------------------------------------------

    def text(self) -> str:
        """Return everything in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry).decode()

    def value(self, name: str, **labels: str) -> float:
        """Return a number as it is now, such as `value("ruvllm_requests_total", outcome="failed")`.

        Over all values of labels that are not given it is the sum.

        Raises:
            KeyError: there is no metric of this name.
            ValueError: it is no name.
        """
        require_name(name, "name")
        for families in (self._counted(), self.registry.collect()):  # what is counted is there without the store
            for family in families:
                if name.removeprefix(family.name) in _SUFFIXES:
                    samples = (s for s in family.samples if s.name == name and labels.items() <= s.labels.items())
                    return sum((s.value for s in samples), 0.0)
        raise KeyError(name)

    @cached_property
    def registry(self) -> CollectorRegistry:
        """This brain's own registry of the Prometheus client, for a program that serves its metrics itself."""
        from prometheus_client import CollectorRegistry, ProcessCollector

        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        return registry

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, as a registry of the Prometheus client asks for them."""
        yield from self._counted()
        yield from families_of(self._sizes_now())

    def _counted(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
        from prometheus_client.utils import floatToGoString

        with self._lock:
            counts = dict(self._counts)
            histograms = {key: ([*found.counts], found.sum) for key, found in self._histograms.items()}
        for family in _FAMILIES:
            if not family.buckets:
                counter = CounterMetricFamily(family.name, family.help, labels=family.labels)
                for (of, labels), value in counts.items():
                    if of is family:
                        counter.add_metric(labels, value)
                yield counter
                continue
            histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
            ends = [*map(floatToGoString, family.buckets), "+Inf"]
            for (of, labels), (each, total) in histograms.items():
                if of is family:
                    histogram.add_metric(labels, list(zip(ends, accumulate(each), strict=True)), total)
            yield histogram

    def _sizes_now(self) -> tuple[Gauge, ...]:
        started = time.monotonic()
        if started >= self._sizes_due:
            self._sizes = tuple(self._read_sizes())
            took = time.monotonic() - started
            self._sizes_due = started + took / SIZES_SHARE
        return self._sizes


def _stage_of(warning: str) -> str:
    """Return the stage that a warning begins with, "retrieve: ..."; never other words of it."""
    stage, colon, _ = warning.partition(": ")
    return stage if colon and stage.isidentifier() else "other"


_SUFFIXES = frozenset({"", "_total", "_bucket", "_count", "_sum"})


def families_of(gauges: Iterable[Gauge]) -> Iterator[Metric]:
    """Yield gauges, and what counts up, as the Prometheus client wants them; those of one name must be of one help."""
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    by_name: dict[str, list[Gauge]] = {}
    for gauge in gauges:
        by_name.setdefault(gauge.name, []).append(gauge)
    for name, same in by_name.items():
        kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        family = kind(name, same[0].help, labels=tuple(same[0].labels))
        for gauge in same:
            family.add_metric(tuple(gauge.labels.values()), gauge.value)
        yield family


def text_of(gauges: Iterable[Gauge]) -> str:
    """Return gauges in Prometheus' text format."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    class Given(Collector):
        def collect(self) -> Iterator[Metric]:
            return families_of(gauges)

    registry = CollectorRegistry()
    registry.register(Given())
    return generate_latest(registry).decode()


def stage_quantiles(
    timings_ms: Iterable[Mapping[str, float]], quantiles: Sequence[float] = (0.5, 0.95)
) -> dict[str, tuple[float, ...]]:
    """Return quantiles in milliseconds of every stage, and of the moments, over requests; the slowest stage first."""
    by_stage: dict[str, list[float]] = {}
    for timings in timings_ms:
        for stage, ms in timings.items():
            by_stage.setdefault(stage, []).append(ms)
    found = {stage: tuple(map(float, np.quantile(each, quantiles))) for stage, each in by_stage.items()}
    return dict(sorted(found.items(), key=lambda item: -item[1][0]))
