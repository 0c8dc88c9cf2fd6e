"""What a brain does in the background: the one definition of each job, on schedule and in `learn()`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ruvllm.config import WorkerConfig
from ruvllm.learning.worker import Job, MustStop
from ruvllm.memory import Memory

__all__ = ["Learners", "News", "brain_jobs"]

MIN_NEWS = 5  # outcomes before the ranking is trained anew
NEWS_SHARE = 0.1  # of the examples of the last training: so trainings cost as much per outcome however many there are
INDEX_LOOK_S = 600.0


class News:
    """How many outcomes came since the ranking was trained, in this process."""

    def __init__(self) -> None:
        self.count = 0
        self._examples = 0  # of the last training

    def heard(self) -> None:
        """Count an outcome."""
        self.count += 1

    def learnt(self, count: int, examples: int) -> None:
        """Say that `count` of them are in a training of so many examples."""
        self.count, self._examples = self.count - count, examples

    @property
    def is_enough(self) -> bool:
        """Whether training anew is worth it."""
        return self.count >= max(MIN_NEWS, NEWS_SHARE * self._examples)


@dataclass(frozen=True, slots=True)
class Learners:
    """What jobs do beyond the memory itself; None where a brain has no such part, or does not want it."""

    router: Callable[[MustStop], Any] | None = None
    judge: Callable[[MustStop], Any] | None = None
    compression: Callable[[MustStop], Any] | None = None
    enrichment: Callable[[MustStop], Any] | None = None
    signals: Callable[[MustStop], Any] | None = None
    sessions: Callable[[MustStop], Any] | None = None
    tuning: Callable[[MustStop], Any] | None = None
    tuning_every_s: float | None = None


def brain_jobs(memory: Memory, config: WorkerConfig, news: News, learners: Learners) -> list[Job]:
    """Return the jobs of a brain, in the order in which `learn` does them."""

    def attention(must_stop: MustStop) -> Any:
        count = news.count
        report = memory.train_attention(must_stop)
        if not must_stop():
            news.learnt(count, report.examples)
        return report

    after_s = config.attention_after_s
    after_outcomes = (lambda: news.is_enough) if after_s and config.attention_hours else None
    after_deletions = memory.index_wants_rebuild if config.index_hours else None
    attention_job = Job(
        "attention",
        attention,
        _seconds(config.attention_hours),
        early=after_outcomes,
        early_s=after_s,
        only_computes=True,
    )
    given: list[tuple[str, Callable[[MustStop], Any] | None, float, bool]] = [
        ("router", learners.router, config.router_hours, True),
        ("judge", learners.judge, config.judge_hours, False),
        ("compression", learners.compression, config.compression_hours, False),
        ("enrichment", learners.enrichment, config.enrichment_hours, False),
        ("sessions", learners.sessions, config.sessions_hours, False),
    ]
    jobs = [] if learners.signals is None else [Job("signals", learners.signals, _seconds(config.signals_hours))]
    jobs += [
        attention_job,
        Job("decay", lambda must_stop: memory.apply_decay(cancelled=must_stop), _seconds(config.decay_hours)),
        *(
            Job(name, body, _seconds(hours), only_computes=pure)
            for name, body, hours, pure in given
            if body is not None
        ),
        Job("index", memory.compact, _seconds(config.index_hours), early=after_deletions, early_s=INDEX_LOOK_S),
        Job("archival", lambda must_stop: memory.run_archival(), _seconds(config.archival_hours)),
    ]
    if learners.tuning is not None:
        jobs.append(Job("tuning", learners.tuning, learners.tuning_every_s))
    return jobs


def _seconds(hours: float) -> float | None:
    return 3600.0 * hours if hours else None
