"""What a brain does in the background, and on demand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ruvllm.attention.training import TrainingReport
from ruvllm.config import without_userinfo
from ruvllm.errors import JobsFailed, ModelError, PullError
from ruvllm.inference import Engine
from ruvllm.inference.open import is_remote
from ruvllm.learning.jobs import Learners
from ruvllm.memory import CompactReport, DecayReport
from ruvllm.memory.arguments import checked_call
from ruvllm.memory.rows import checked_text
from ruvllm.system.judge import Judges
from ruvllm.system.parts import never
from ruvllm.system.router import RoutesModels
from ruvllm.system.sessions import Sessions
from ruvllm.tuning.training.process import every_s, start_apart

if TYPE_CHECKING:
    from ruvllm.learning.compression import CompressionReport
    from ruvllm.learning.enrichment import EnrichmentReport
    from ruvllm.learning.judge import JudgeReport
    from ruvllm.learning.report import LearnHistory
    from ruvllm.router.learn import Report as RouterReport

__all__ = ["LearnReport", "Learns"]


@dataclass(frozen=True, slots=True)
class LearnReport:
    """What each job of one pass of `learn` did; None of one that this brain does not have, or that had nothing to do.

    `signals` counts answers against which something speaks that was done and not said (`SignalsConfig`), `sessions`
    those that expired.
    """

    attention: TrainingReport
    decay: DecayReport
    index: CompactReport
    router: RouterReport | None = None
    judge: JudgeReport | None = None
    compression: CompressionReport | None = None
    signals: int = 0
    sessions: int = 0


logger = logging.getLogger(__name__)

ON_SCHEDULE = ("archival", "enrichment", "tuning")  # jobs that `learn` leaves out


class Learns(Judges, RoutesModels, Sessions):
    """The jobs of a brain: all of them, their history, and the way back."""

    def _learners(self) -> Learners:
        expires = bool(self.config.sessions.max_idle_days)
        tuning_every_s = every_s(self.memory.job_table, self.config.training)
        return Learners(
            router=None if self._router is None else self._router.train,
            judge=None if self._judge is None else self._judge.train,
            compression=self._compress,
            enrichment=self._enrich,
            signals=(lambda must_stop: self.memory.notice_signals()) if self.config.signals.enabled else None,
            sessions=(lambda must_stop: self.expire_sessions()) if expires else None,
            tuning=(lambda must_stop: start_apart(self.memory.path)) if tuning_every_s else None,
            tuning_every_s=tuning_every_s,
        )

    def learn(self) -> LearnReport:
        """Do now what the background worker does on its schedule, and return what it did; see docs/learning.md.

        The ranking is trained on the answers that were rated good or corrected (see `Memory.train_attention`); weights
        of edges fade for good (see `Memory.apply_decay`); with several models, the router is trained on what they did
        (see `train_router`); the judge is calibrated (see `train_judge`); clusters become concepts (see `compress`);
        the index is compacted; signals are counted where [signals] is on, and idle sessions deleted where
        sessions.max_idle_days is set. Nothing is archived: that is `Memory.run_archival`. No model reads passages: that
        is `enrich`. No student is trained: that is `ruvllm tune`.

        Raises:
            JobsFailed: some jobs failed, `.failures`; the others are done, `.done`.
        """
        self.memory.require_writable()
        done: dict[str, Any] = {}
        failures: dict[str, Exception] = {}
        for name in self.worker.names:
            if name in ON_SCHEDULE:
                continue
            try:
                done[name] = self.worker.run(name)
            except Exception as error:  # whatever it is, the jobs after it do not depend on this one
                failures[name] = error
        if failures:
            raise JobsFailed(failures, done) from next(iter(failures.values()))
        return LearnReport(**done)

    def learn_report(self) -> LearnHistory:
        """Return what was learnt when, on how much, what the gates said and what is in force, and the jobs."""
        from ruvllm.learning.report import learn_history

        return learn_history(self.memory)

    def rollback(self, name: str) -> int:
        """Put the version before of what was learnt in force again; return its number, 0 for the untrained.

        Args:
            name: attention, judge unless it is switched off, or router where there are several models.

        Raises:
            TypeError, ValueError: there is nothing of that name.
        """
        self.memory.require_writable()
        checked_text(name, "name")
        ways = {"attention": self.memory.rollback_attention}
        if self._judge is not None:
            ways["judge"] = self._judge.rollback
        if self._router is not None:
            ways["router"] = self._router.rollback
        if name not in ways:
            raise ValueError(f"name must be one of {', '.join(sorted(ways))} ({name!r})")
        with self.worker.alone():
            return ways[name]()

    def compress(self, *, cancelled: Callable[[], bool] = never, dry_run: bool = False) -> CompressionReport:
        """Find clusters of what is remembered and write a concept for each that is new or changed; durable on return.

        The largest local model sums up what the members of a cluster say; sentences that no member supports are
        dropped, and where nothing is left, the members' most central sentences are quoted. An endpoint, where
        `compression.model` names one, is shown no cluster that holds something private: that one is quoted. What is
        archived is found again through the concepts.

        Args:
            cancelled: asked often; True ends the pass after the concept it is at.
            dry_run: report the clusters and write nothing.
        """
        checked_call(cancelled, "cancelled")
        if dry_run:
            return self._compress(cancelled, dry_run=True)
        self.memory.require_writable()
        report: CompressionReport = self.worker.run("compression", cancelled)
        return report

    def _compress(self, cancelled: Callable[[], bool], *, dry_run: bool = False) -> CompressionReport:
        from ruvllm.learning.compression import compress

        return compress(
            self.memory,
            self._summarizer,
            self.config.compression,
            is_local=not is_remote(self.config.compression.model),
            cancelled=cancelled,
            dry_run=dry_run,
        )

    def enrich(self, *, cancelled: Callable[[], bool] = never) -> EnrichmentReport:
        """Let the largest local model read passages with few links and link them by the names it finds; durable on
        return.

        It chooses among the phrases of the passage, so that nothing is named that does not stand there, and a name
        links as a rare one does at ingest. A passage is read once; `enrichment.passages_per_run` of them a call.

        Args:
            cancelled: asked between tokens; True ends the run, and what was read until then stays.

        Raises:
            ModelMissing, ModelDamaged, PullError: the model cannot be had.
            ValueError: there is no local model, or it cannot be kept to a schema (extra `constrained`).
        """
        self.memory.require_writable()
        report: EnrichmentReport = self.worker.run("enrichment", cancelled)
        return report

    def remove_enrichment(self) -> int:
        """Take back every link that `enrich` made in this namespace, and what it read; return how many links went."""
        self.memory.require_writable()
        with self.worker.alone():
            return self.memory.remove_names()

    def _enrich(self, cancelled: Callable[[], bool]) -> EnrichmentReport:
        from ruvllm.learning.enrichment import enrich

        config = self.config.enrichment
        name = config.model or self._largest_local()
        if not name:
            raise ValueError("enrichment.model: none of models.tiers is local; say which one is to read")
        return enrich(self.memory, without_userinfo(name), lambda: self.pool.engine(name), config, cancelled=cancelled)

    def _largest_local(self) -> str:
        return next((tier for tier in reversed(self.pool.tiers) if not is_remote(tier)), "")

    @contextmanager
    def _summarizer(self) -> Iterator[Engine | None]:
        """Lend the model that sums up clusters; None where there is none that can be had."""
        name = self.config.compression.model or self._largest_local()
        with ExitStack() as lease:
            engine = None
            if name and self.config.compression.summarize:
                try:
                    engine = lease.enter_context(self.pool.engine(name))
                except (ModelError, PullError) as error:
                    logger.warning("concepts are quoted, not summed up: %s", error)
            yield engine
