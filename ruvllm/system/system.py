"""RuvLLM: opens a directory, wires the parts and owns their lifetimes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ruvllm.checkpoints import Students, students_of
from ruvllm.closing import Closes
from ruvllm.config import Config, GenerationConfig, ModelsConfig, load_config, without_userinfo
from ruvllm.errors import ModelDamaged, ModelError, ModelMissing, PullError, RegistryDamaged
from ruvllm.inference import Cancelled, Engine, ModelPool, open_engine
from ruvllm.inference.open import is_remote
from ruvllm.inference.served import Served
from ruvllm.learning.jobs import News, brain_jobs
from ruvllm.learning.worker import Worker
from ruvllm.memory import Memory
from ruvllm.memory.arguments import checked_call, checked_file, checked_kind
from ruvllm.memory.rows import checked_text
from ruvllm.memory.stats import gauges_of
from ruvllm.metrics import Gauge, Metrics
from ruvllm.pipeline import Pipeline
from ruvllm.system.asking import Asks
from ruvllm.system.feedback import Feeds
from ruvllm.system.learning import Learns
from ruvllm.system.students import LOOK_S, HasStudents
from ruvllm.telemetry import Telemetry
from ruvllm.tuning.rollout.trials import Trials
from ruvllm.types import (
    Embedder,
)
from ruvllm.types.checks import is_number, require_share

if TYPE_CHECKING:
    from ruvllm.brain_router import BrainRouter
    from ruvllm.learning.judge import BrainJudge
    from ruvllm.memory import CheckReport, Finding, MemoryStats

__all__ = ["RuvLLM"]


class RuvLLM(Asks, Feeds, Learns, HasStudents, Closes):
    """A brain directory with a reader on top. Safe to use from several threads; questions of one session wait in line.

    Args:
        path: the brain's directory, made when missing.
        model: a catalogue name, a model directory, or "http://host:port/v1#model"; the configured one when None.
        config: the whole configuration; `path`/ruvllm.toml, environment and defaults when None.
        namespace: which part of the brain is seen and written.
        read_only: do not write, whoever else does.
        quality_floor, risk, confidence: any of them turns certified mode on (see `RouterConfig`): with this confidence
            at most a share `risk` of the answers misses the floor where the largest tier meets it.
        latency_sla_ms: the latest that an answer should come; nothing is promised about it.
        embedder: an embedder of one's own; the configured one when None.
        open_engine: makes the engine of a tier, for engines of one's own.

    Raises:
        TypeError, ValueError: an argument, which the message names, or the configuration is wrong.
        BrainTooNew, BrainDamaged: the directory holds a database that cannot be used.
        BrainReadOnly: the directory does not exist and cannot be made.

    When another process holds the brain's lock, or the directory cannot be written, the brain opens for reading:
    `ask` and `retrieve` work, what would write raises BrainLocked or BrainReadOnly.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        model: str | None = None,
        config: Config | None = None,
        namespace: str = "default",
        read_only: bool = False,
        quality_floor: float | None = None,
        risk: float | None = None,
        confidence: float | None = None,
        latency_sla_ms: float | None = None,
        embedder: Embedder | None = None,
        open_engine: Callable[[str, GenerationConfig, ModelsConfig], Engine] = open_engine,
    ) -> None:
        folder = checked_file(path, "path")
        if model is not None:
            checked_text(model, "model")
        if config is not None:
            checked_kind(config, Config, "config")
        checked_call(open_engine, "open_engine")
        promised = _promised(quality_floor, risk, confidence, latency_sla_ms)
        if config is None:
            overrides = {"generation": {"model": model}} if model is not None else {}
            config = load_config(folder / "ruvllm.toml", overrides=overrides | {"router": promised})
        elif model is not None:
            raise ValueError("model: give either config or model, not both")
        elif promised:
            config = msgspec.structs.replace(config, router=msgspec.structs.replace(config.router, **promised))
        self.config = config
        self.memory = Memory(path, embedder=embedder, config=config, namespace=namespace, read_only=read_only)
        try:
            self._wire(config, open_engine)
        except BaseException:  # also Ctrl-C: nobody has this brain, so nobody could close it and let go of its lock
            self.memory.close()
            raise

    def _wire(self, config: Config, open_engine: Callable[[str, GenerationConfig, ModelsConfig], Engine]) -> None:
        """Make the parts on top of the memory, and begin to work in the background."""
        self.students = students_of(self.memory.path, look_every_s=LOOK_S)
        served = Served(self.students)
        self.pool = ModelPool(config.generation, config.models, open=open_engine, served=served)
        self._trials = Trials(served, self.pool, self.memory.trial_table, config.rollout, is_open=not self.read_only)
        self._executor: ThreadPoolExecutor | None = None
        self._router = _router(self.memory, self.pool.tiers, config)
        self._judge = _judge(self.memory, self.pool, config)
        self._news = News()
        jobs = brain_jobs(self.memory, config.worker, self._news, self._learners())
        self.worker = Worker(self.memory.job_table, jobs, config.worker)
        self._metrics = Metrics(self._sizes)
        self._telemetry = Telemetry(self._metrics, config.telemetry)
        self._pipeline = Pipeline(
            self.memory,
            self.pool.engine,
            config,
            router=self._router,
            spare_time=self.worker,
            judge=self._judge,
            trials=self._trials,
        )
        if config.worker.enabled and not self.read_only:
            self.worker.start()

    @property
    def path(self) -> Path:
        """The brain's directory."""
        return self.memory.path

    @property
    def read_only(self) -> bool:
        """Whether writing is refused here."""
        return self.memory.read_only

    def stats(self) -> MemoryStats:
        """Return counts and sizes."""
        return self.memory.stats()

    def metrics(self) -> Metrics:
        """Return what was counted since this brain was opened; `.text()` is Prometheus' text format."""
        return self._metrics

    def _sizes(self) -> list[Gauge]:
        pool = self.pool.stats()
        return [
            *gauges_of(self.memory.stats()),
            Gauge("ruvllm_read_only", "Whether writing is refused.", self.read_only),
            Gauge("ruvllm_models_loaded", "Models in memory.", len(pool.loaded)),
            Gauge(
                "ruvllm_models_bytes",
                "What models.budget_bytes is compared with: files, and a full cache each.",
                pool.bytes,
            ),
        ]

    def check(self, *, repair: bool = False) -> CheckReport:
        """Compare database, index, files and models with what was recorded; mend with `repair`, models by pulling."""
        report = self.memory.check(repair=repair)
        names = (self.config.embedding.model, *self.pool.tiers)
        found = [finding for name in names for finding in _check_model(name, self.config.models, repair=repair)]
        return replace(report, findings=(*report.findings, *found, *_check_students(self.students)))

    def flush(self) -> None:
        """Wait until every answered request is on disk."""
        self._trials.flush()
        self.memory.flush()

    def close(self) -> None:
        """Finish writing and let go of everything, also where a part fails or Ctrl-C comes. May be called twice."""
        with ExitStack() as parts:  # the last one put in is closed first
            for part in (self.memory, self.pool, self._trials, self.worker):
                parts.callback(part.close)
            if self._executor is not None:
                parts.callback(self._executor.shutdown)

    def __repr__(self) -> str:
        return f"RuvLLM({str(self.path)!r}, model={without_userinfo(self.config.generation.model)!r})"


def _router(memory: Memory, names: Sequence[str], config: Config) -> BrainRouter | None:
    """Return what chooses among several tiers; None where there is nothing to choose."""
    if len(names) < 2 or not config.router.enabled:
        return None
    from ruvllm.brain_router import BrainRouter
    from ruvllm.router_inputs import tiers_of

    return BrainRouter(memory, tiers_of(names, config.models), config)


def _judge(memory: Memory, pool: ModelPool, config: Config) -> BrainJudge | None:
    """Return who says how good answers are; None where nobody shall."""
    if not config.judge.enabled:
        return None
    from ruvllm.learning.judge import BrainJudge, LlmJudge

    name = pool.tiers[-1] if config.judge.llm == "largest" else config.judge.llm

    def lend(cancelled: Cancelled) -> AbstractContextManager[Engine]:
        return pool.engine(name, cancelled=cancelled)

    return BrainJudge(memory, llm=LlmJudge(lend, is_local=not is_remote(name)) if name else None)


def _promised(
    quality_floor: float | None, risk: float | None, confidence: float | None, latency_sla_ms: float | None
) -> dict[str, Any]:
    """Return the settings of the router that a caller's promises stand for, certified mode among them."""
    if quality_floor is not None:
        require_share(quality_floor, "quality_floor")
    for name, chance in (("risk", risk), ("confidence", confidence)):
        if chance is not None and not (is_number(chance) and 0.0 < chance < 1.0):
            raise ValueError(f"{name} must be in (0, 1) ({chance!r})")
    if latency_sla_ms is not None and not (is_number(latency_sla_ms) and latency_sla_ms >= 0.0):
        raise ValueError(f"latency_sla_ms must be >= 0 ({latency_sla_ms!r})")
    given = {"quality_floor": quality_floor, "risk": risk, "certificate_confidence": confidence}
    promised: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    promised |= {"certified": True} if promised else {}
    return promised if latency_sla_ms is None else promised | {"latency_sla_ms": latency_sla_ms}


def _check_students(students: Students) -> list[Finding]:
    """Read every byte of the students that may answer, and the log that says so; nobody can mend them."""
    from ruvllm.memory import Finding

    try:
        known = students.all()
    except (RegistryDamaged, OSError, ValueError) as error:
        return [Finding(str(error), "error")]
    found = []
    for student in known:
        if student.state in ("canary", "promoted"):
            try:
                students.require_whole(student)
            except ModelDamaged as error:
                found.append(Finding(str(error), "error"))
    return found


def _check_model(name: str, section: ModelsConfig, *, repair: bool) -> list[Finding]:
    """Read every byte of a model in the cache; one that is not there yet, or is served elsewhere, is no finding."""
    from ruvllm import models
    from ruvllm.memory import Finding

    try:
        problems = models.verify(models.find(name, section))
    except ModelMissing:
        return []
    except ModelError as error:
        problems = [str(error)]
    mended = False
    if repair and problems and name in models.catalogue():
        try:
            models.pull(name, section)
            mended = True
        except PullError as error:
            problems.append(str(error))
    return [Finding(f"model {name}: {problem}", "error", repaired=mended) for problem in problems]
