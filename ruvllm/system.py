"""RuvLLM: opens a directory, wires the parts and owns their lifetimes."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from ruvllm.attention.training import TrainingReport
from ruvllm.config import Config, GenerationConfig, ModelsConfig, load_config, without_userinfo
from ruvllm.errors import ModelError, ModelMissing, PullError
from ruvllm.inference import Engine, ModelPool, complete, open_engine
from ruvllm.inference.open import is_remote
from ruvllm.judging import Answered, Judgement
from ruvllm.learning.jobs import Learners, News, brain_jobs
from ruvllm.learning.worker import Worker
from ruvllm.memory import CompactReport, DecayReport, Memory, Session
from ruvllm.memory.feedback import outcome_of
from ruvllm.memory.outcomes import Outcome
from ruvllm.memory.rows import checked_name, checked_text
from ruvllm.memory.stats import gauges_of
from ruvllm.metrics import Gauge, Metrics
from ruvllm.pipeline import AnswerStream, Pipeline
from ruvllm.telemetry import Telemetry
from ruvllm.types import (
    Constraints,
    Embedder,
    Feedback,
    Filter,
    GenerationOptions,
    Hits,
    IngestReport,
    Message,
    QualitySource,
    Request,
    Response,
    Source,
    Turn,
)

if TYPE_CHECKING:
    from ruvllm.brain_router import BrainRouter
    from ruvllm.learning.compression import CompressionReport
    from ruvllm.learning.judge import BrainJudge, JudgeReport
    from ruvllm.learning.report import LearnHistory
    from ruvllm.memory import CheckReport, Finding, IngestProgress, MemoryStats, Why
    from ruvllm.router.certificate import Certificate, Refusal
    from ruvllm.router.learn import Report as RouterReport

__all__ = ["LearnReport", "RuvLLM", "open"]

logger = logging.getLogger(__name__)

ASYNC_THREADS = 4
DAY_S = 86_400.0


def _never() -> bool:
    return False


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


class RuvLLM:
    """A brain directory with a reader on top. Safe to use from several threads; questions of one session wait in line.

    Args:
        path: the brain's directory, made when missing.
        model: a catalogue name, a model directory, or "http://host:port/v1#model"; the configured one when None.
        config: the whole configuration; `path`/ruvllm.toml, environment and defaults when None.
        namespace: which part of the brain is seen and written.
        quality_floor, risk, confidence: any of them turns certified mode on (see `RouterConfig`): with this confidence
            at most a share `risk` of the answers misses the floor where the largest tier meets it.
        latency_sla_ms: the latest that an answer should come; nothing is promised about it.
        embedder: an embedder of one's own; the configured one when None.
        open_engine: makes the engine of a tier, for engines of one's own.

    Raises:
        BrainTooNew, BrainDamaged: the directory holds a database that cannot be used.

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
        folder = Path(path)
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
        self.pool = ModelPool(config.generation, config.models, open=open_engine)
        self._executor: ThreadPoolExecutor | None = None
        self._router = _router(self.memory, self.pool.tiers, config)
        self._judge = _judge(self.memory, self.pool, config)
        self._news = News()
        jobs = brain_jobs(self.memory, config.worker, self._news, self._learners())
        self.worker = Worker(self.memory.job_table, jobs, config.worker)
        self._metrics = Metrics(self._sizes)
        self._telemetry = Telemetry(self._metrics, config.telemetry)
        self._pipeline = Pipeline(
            self.memory, self.pool.engine, config, router=self._router, spare_time=self.worker, judge=self._judge
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

    def ingest(
        self,
        sources: str | Path | Iterable[str | Path | Mapping[str, Any]],
        *,
        on_progress: Callable[[IngestProgress], None] | None = None,
    ) -> IngestReport:
        """Read documents into memory and return what happened; durable on return, and free for unchanged documents.

        `sources` is a file, a folder (read with all below it), or an iterable of paths and texts; a text may be a
        mapping with text, title, source and metadata. Documents that cannot be read are listed in the report.
        """
        with self.worker.request():
            report = self.memory.ingest(sources, on_progress=on_progress)
        self._metrics.ingested(report)
        return report

    def ask(
        self,
        query: str,
        *,
        session: str | None = None,
        k: int | None = None,
        filter: Filter | None = None,
        options: GenerationOptions | None = None,
        constraints: Constraints | None = None,
        timeout_s: float | None = None,
        key: str = "local",
    ) -> Response:
        """Answer from memory, with sources.

        Args:
            query: the question.
            session: a name; earlier turns under the same name are part of the conversation.
            k: sources shown to the model at most; the configured number when None.
            filter: only sources whose fields have these values, such as {"source": "guide.md"} or {"tags": ["a", "b"]}.
            options: sampling; the configured ones when None.
            constraints: latency, cost, privacy and quality of this answer; which model answers depends on them.
            timeout_s: seconds from now until when the answer must be there. What was written until then is the answer
                (`finish_reason` "deadline"); it is not remembered.
            key: who asks, for the limits of the section [limits].

        Raises:
            TypeError, ValueError: the question is empty, too long for the model, or not valid text, or another
                argument is wrong; the message names it.
            RateLimited: `key` has used its share; `.retry_after_s` says when to come again.
            DeadlineExceeded: the time was over before there was a word of the answer.
            EndpointError: the remote model is down, slow or answers garbage.
            ModelTooLarge: the model does not fit models.budget_bytes.
            RuntimeError: this thread has an unfinished stream of the same session, or of a model that leaves no room.
            TimeoutError: an earlier request of the same session, or of models that leave no room for this one, did
                not end within generation.timeout_s.
        """
        return self.stream(
            query,
            session=session,
            k=k,
            filter=filter,
            options=options,
            constraints=constraints,
            timeout_s=timeout_s,
            key=key,
        ).response

    def stream(
        self,
        query: str,
        *,
        session: str | None = None,
        k: int | None = None,
        filter: Filter | None = None,
        options: GenerationOptions | None = None,
        constraints: Constraints | None = None,
        timeout_s: float | None = None,
        key: str = "local",
    ) -> AnswerStream:
        """Return the answer as a stream of text; `.response` is the finished response. Arguments as in `ask`."""
        request = Request(query, session, k, filter, options, constraints, timeout_s, key)
        return self._stream(request, cancelled=_never)

    async def aask(
        self,
        query: str,
        *,
        session: str | None = None,
        k: int | None = None,
        filter: Filter | None = None,
        options: GenerationOptions | None = None,
        constraints: Constraints | None = None,
        timeout_s: float | None = None,
        key: str = "local",
    ) -> Response:
        """`ask` on a worker thread. Cancelling the task stops the model between two tokens."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(ASYNC_THREADS, thread_name_prefix="ruvllm-ask")
        cancelled = threading.Event()
        request = Request(query, session, k, filter, options, constraints, timeout_s, key)
        stream = self._stream(request, cancelled=cancelled.is_set)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, lambda: stream.response)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def _stream(self, request: Request, *, cancelled: Callable[[], bool]) -> AnswerStream:
        return AnswerStream(self._telemetry.follow(request.id, self._answers(request, cancelled)))

    def _answers(self, request: Request, cancelled: Callable[[], bool]) -> Any:
        with self.worker.request():
            return (yield from self._pipeline.run(request, cancelled))

    def retrieve(
        self,
        query: str,
        k: int = 10,
        *,
        filter: Filter | None = None,
        session: str | None = None,
        hops: int | None = None,
        explain: bool = False,
        as_of: float | str | None = None,
    ) -> Hits:
        """Return the `k` best pieces of memory for `query`, best first, without asking a model; see `Memory.search`."""
        with self.worker.request():
            return self.memory.search(query, k, filter=filter, session=session, hops=hops, explain=explain, as_of=as_of)

    def feedback(
        self,
        id: str,
        *,
        rating: int | None = None,
        quality: float | None = None,
        task_success: bool | None = None,
        correction: str | None = None,
        helped: Iterable[int] = (),
        unhelpful: Iterable[int] = (),
        rater: str = "local",
    ) -> None:
        """Say how good the answer `id` was; durable on return, and the same words twice count once.

        Args:
            rating: 1 to 5.
            quality: 0 to 1.
            task_success: whether the task the answer served succeeded.
            correction: the right answer; it becomes a fact that later questions find.
            helped, unhelpful: numbers of shown sources that did or did not help; worth more than any rating.
            rater: who says so; one rater can change only so much a day.

        Raises:
            ValueError: nothing was said, a value is out of range, the answer showed no source of that number, or `id`
                is unknown.
        """
        said = Feedback(rating, quality, task_success, correction, rater, self._marks(id, helped, unhelpful))
        self.memory.feedback(id, said)
        self._metrics.heard(said)
        outcome = outcome_of(said)
        if correction is not None or outcome is None or not outcome.is_good:
            self._say_not_again(id)
        self._news.heard()
        if self._router is not None:
            self._router.heard(id)

    def why(self, id: str | None = None) -> Why:
        """Return how an answer, the newest when no `id` is given, came about and what was learnt from it since.

        Raises:
            ValueError: the id is unknown, or nothing was answered yet.
        """
        return self.memory.why(id)

    def judge_outcome(self, id: str, tier: str, quality: float, *, source: QualitySource = "judge") -> bool:
        """Say how good the answer of one model was, also one that nobody saw; see `Memory.judge_outcome`."""
        counts = self.memory.judge_outcome(id, tier, quality, source=source)
        if Outcome(quality).is_good is False:
            self._say_not_again(id)
        if self._router is not None:
            self._router.heard(id)
        return counts

    def _say_not_again(self, id: str) -> None:
        """Let the question of an answer that is not a good one be answered anew."""
        cache = self._pipeline.cache
        query = None if cache is None else self.memory.interaction(id).query
        if cache is not None and query is not None:
            cache.drop(query)

    def _marks(self, id: str, helped: Iterable[int], unhelpful: Iterable[int]) -> dict[int, bool]:
        """Return node id -> helped for numbers of the sources that the answer `id` showed."""
        numbers: dict[str, list[int]] = {}
        for name, given in (("helped", helped), ("unhelpful", unhelpful)):
            if not isinstance(given, Iterable):
                raise TypeError(f"{name} must be numbers of sources, not {type(given).__name__}")
            numbers[name] = list(given)
        if not any(numbers.values()):
            return {}
        shown = self.memory.interaction(id).source_ids
        marks: dict[int, bool] = {}
        for name, listed in numbers.items():
            for number in listed:
                if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= len(shown):
                    raise ValueError(f"{name}: of the sources of {id!r}, 1 to {len(shown)}, none is {number!r}")
                if marks.setdefault(shown[number - 1], name == "helped") != (name == "helped"):
                    raise ValueError(f"{name}: source {number} is in both helped and unhelpful")
        return marks

    def _learners(self) -> Learners:
        expires = bool(self.config.sessions.max_idle_days)
        return Learners(
            router=None if self._router is None else self._router.train,
            judge=None if self._judge is None else self._judge.train,
            compression=lambda must_stop: self.compress(cancelled=must_stop),
            signals=(lambda must_stop: self.memory.notice_signals()) if self.config.signals.enabled else None,
            sessions=(lambda must_stop: self.expire_sessions()) if expires else None,
        )

    def learn(self) -> LearnReport:
        """Do now what the background worker does on its schedule, and return what it did; see docs/learning.md.

        The ranking is trained on the answers that were rated good (see `Memory.train_attention`); weights of edges fade
        for good (see `Memory.apply_decay`); with several models, the router is trained on what they did (see
        `train_router`); the judge is calibrated (see `train_judge`); clusters become concepts (see `compress`); the
        index is compacted. Nothing is archived: that is `Memory.run_archival`.
        """
        self.memory.require_writable()
        return LearnReport(**{name: self.worker.run(name) for name in self.worker.names if name != "archival"})

    def learn_report(self) -> LearnHistory:
        """Return what was learnt when, on how much, what the gates said and what is in force, and the jobs."""
        from ruvllm.learning.report import learn_history

        return learn_history(self.memory)

    def rollback(self, name: str) -> int:
        """Put the version before of what was learnt in force again; return its number, 0 for the untrained.

        Args:
            name: attention, judge unless it is switched off, or router where there are several models.

        Raises:
            ValueError: there is nothing of that name.
        """
        self.memory.require_writable()
        ways = {"attention": self.memory.rollback_attention}
        if self._judge is not None:
            ways["judge"] = self._judge.rollback
        if self._router is not None:
            ways["router"] = self._router.rollback
        if name not in ways:
            raise ValueError(f"name must be one of {', '.join(sorted(ways))} ({name!r})")
        with self.worker.alone():
            return ways[name]()

    def judge(
        self,
        question: str,
        answer: str,
        *,
        sources: Sequence[str] | None = None,
        consistency: bool = False,
    ) -> Judgement:
        """Return how good an answer is, in [0, 1], who says so, and the signals that this was made of.

        Args:
            sources: texts that it should rest on; what `retrieve` finds for the question when None.
            consistency: let the model answer `judge.samples` times more, and count how far the answers agree.

        Raises:
            TypeError, ValueError: a text is empty or not valid, or the judge is switched off.
            ModelMissing, PullError: there is no model to answer again.
        """
        judge = self._judging()
        checked_text(question, "question")
        if not isinstance(answer, str):
            raise TypeError(f"answer must be a str, not {type(answer).__name__}")
        checked_text(answer or "-", "answer")
        if isinstance(sources, str):
            raise TypeError("sources must be a sequence of texts, not a str")
        vector = self.memory.encode([question])[0]
        if sources is None:
            hits = self.memory.search(question, self.config.retrieval.k, query_vector=vector)
            shown = tuple(_source(i, hit.node.text, hit.node.id) for i, hit in enumerate(hits, 1))
        else:
            shown = tuple(_source(i, checked_text(text, "sources")) for i, text in enumerate(sources, 1))
        answered = Answered(question, vector, answer, shown, (), "stop")
        if not consistency:
            return judge.judge(answered)
        from ruvllm.learning.judge import agreement_of

        return judge.with_agreement(answered, agreement_of(answer, self._samples(question, shown)))

    def _samples(self, question: str, sources: Sequence[Source]) -> list[str]:
        """Return answers of the default model to a question and its sources, each drawn anew."""
        text = "\n".join(source.text for source in sources)
        messages = [Message("user", f"{text}\n\n{question}".strip())]
        limit = self.config.generation.max_new_tokens
        with self.pool.engine() as engine:
            return [
                complete(engine, messages, GenerationOptions(max_new_tokens=limit, temperature=0.7, seed=seed)).text
                for seed in range(self.config.judge.samples)
            ]

    def train_judge(self, *, cancelled: Callable[[], bool] = _never) -> JudgeReport:
        """Calibrate the judge by the ratings of this brain; durable on return.

        What predicts held-out ratings no better than the calibration in force is discarded, and the report says so.

        Raises:
            ValueError: the judge is switched off.
            RuntimeError: a training is running.
        """
        self.memory.require_writable()
        return self._judging().train(cancelled)

    def rollback_judge(self) -> int:
        """Put the judge's calibration before in force again; return its version, 0 for none."""
        self.memory.require_writable()
        return self._judging().rollback()

    def _judging(self) -> BrainJudge:
        if self._judge is None:
            raise ValueError("judge.enabled must be true for a judge")
        return self._judge

    def train_router(self, *, cancelled: Callable[[], bool] = _never) -> RouterReport:
        """Train the router on all that models did on questions; durable on return.

        What judges requests it never saw no better than the router in force is discarded, and the report says so.

        Args:
            cancelled: asked between steps; True ends the training, and nothing changes.

        Raises:
            ValueError: there is one model: it answers everything.
        """
        self._routing()
        report: RouterReport = self.worker.run("router", cancelled)
        return report

    def compress(self, *, cancelled: Callable[[], bool] = _never, dry_run: bool = False) -> CompressionReport:
        """Find clusters of what is remembered and write a concept for each that is new or changed; durable on return.

        The largest local model sums up what the members of a cluster say; sentences that no member supports are
        dropped, and where nothing is left, the members' most central sentences are quoted. What is archived is found
        again through the concepts.

        Args:
            cancelled: asked often; True ends the pass after the concept it is at.
            dry_run: report the clusters and write nothing.
        """
        from ruvllm.learning.compression import compress

        if not dry_run:
            self.memory.require_writable()
        return compress(self.memory, self._summarizer, self.config.compression, cancelled=cancelled, dry_run=dry_run)

    @contextmanager
    def _summarizer(self) -> Iterator[Engine | None]:
        """Lend the model that sums up clusters; None where there is none that can be had."""
        name = self.config.compression.model or next((t for t in reversed(self.pool.tiers) if not is_remote(t)), "")
        with ExitStack() as lease:
            engine = None
            if name and self.config.compression.summarize:
                try:
                    engine = lease.enter_context(self.pool.engine(name))
                except (ModelError, PullError) as error:
                    logger.warning("concepts are quoted, not summed up: %s", error)
            yield engine

    def rollback_router(self) -> int:
        """Put the router before in force again; return its version, 0 for none: then the safe default answers."""
        self._routing()
        return self.rollback("router")

    def certify_router(self) -> Certificate | Refusal:
        """Prove, on requests that every model answered, how far questions may go to smaller models; or say why not.

        What is promised is the configuration's: at most a share `router.risk` of the answers misses
        `router.quality_floor` where the largest model would have met it, with probability
        `router.certificate_confidence`. Which requests every model answers, a coin decides beforehand
        (`router.calibrate`); their answers' quality is told by `judge_outcome`.

        Raises:
            ValueError: there is one model.
        """
        router = self._routing()
        with self.worker.alone():
            return router.certify()

    def _routing(self) -> BrainRouter:
        self.memory.require_writable()
        if self._router is None:
            raise ValueError("models.tiers must name at least two models, and router.enabled be true, for a router")
        return self._router

    def forget(self, source: str) -> int:
        """Delete a source and all that came from its text; return how many nodes went. It cannot be undone."""
        gone = self.memory.forget(source)
        if self._router is not None:
            self._router.forget()
        return gone

    def new_session(self, name: str | None = None) -> str:
        """Keep a session that has no turns yet, and return its name; a name that nobody has when None.

        A session needs no making: `ask` with a name begins or resumes it. This finds a free name, or keeps one.

        Raises:
            ValueError: there is a session of this name already.
        """
        return self.memory.new_session(name)

    def sessions(self) -> list[Session]:
        """Return the sessions of this namespace, the one used last first."""
        return self.memory.sessions()

    def history(self, session: str, limit: int = 20) -> list[Turn]:
        """Return the newest `limit` turns of a session, oldest first; none of a session that is not there."""
        return self.memory.turns(session, limit)

    def delete_session(self, name: str) -> int:
        """Delete a session for good, once its running request has ended; return how many nodes went.

        What was promoted or corrected is everybody's and stays, see `Memory.delete_session`.

        Raises:
            ValueError: there is no such session.
            TimeoutError: a request of it did not end within generation.timeout_s.
        """
        self.memory.require_writable()
        checked_name(name, "name")
        with self._pipeline.sessions.turn(name, cancelled=_never, timeout_s=self.config.generation.timeout_s):
            return self._delete_session(name)

    def _delete_session(self, name: str) -> int:
        gone = self.memory.delete_session(name)
        if self._pipeline.cache is not None:
            self._pipeline.cache.clear()
        if self._router is not None:
            self._router.forget()
        return gone

    def expire_sessions(self) -> int:
        """Delete what was not used for sessions.max_idle_days; return how many sessions went, those in use never."""
        self.memory.require_writable()
        if not self.config.sessions.max_idle_days:
            return 0
        before, gone = time.time() - self.config.sessions.max_idle_days * DAY_S, 0
        for session in self.memory.sessions():
            if session.last_used < before:
                with suppress(TimeoutError, RuntimeError, ValueError):  # in use, or deleted by somebody else
                    gone += self._expire(session.name, before)
        return gone

    def _expire(self, name: str, before: float) -> bool:
        with self._pipeline.sessions.turn(name, cancelled=_never, timeout_s=0.0):
            newest = self.memory.turns(name, 1)
            if newest and newest[0].created >= before:
                return False
            self._delete_session(name)
            return True

    def stats(self) -> MemoryStats:
        """Return counts and sizes."""
        return self.memory.stats()

    def metrics(self) -> Metrics:
        """Return what was counted since this brain was opened; `.text()` is Prometheus' text format."""
        return self._metrics

    def _sizes(self) -> list[Gauge]:
        pool = self.pool.stats()
        loaded = Gauge("ruvllm_models_loaded", "Models in memory.", len(pool.loaded))
        return [*gauges_of(self.memory.stats()), loaded, Gauge("ruvllm_models_bytes", "What they hold.", pool.bytes)]

    def check(self, *, repair: bool = False) -> CheckReport:
        """Compare database, index, files and models with what was recorded; mend with `repair`, models by pulling."""
        report = self.memory.check(repair=repair)
        names = (self.config.embedding.model, *self.pool.tiers)
        found = [finding for name in names for finding in _check_model(name, self.config.models, repair=repair)]
        return replace(report, findings=(*report.findings, *found))

    def flush(self) -> None:
        """Wait until every answered request is on disk."""
        self.memory.flush()

    def close(self) -> None:
        """Finish writing and let go of everything. May be called twice."""
        if self._executor is not None:
            self._executor.shutdown()
        self.worker.close()
        self.pool.close()
        self.memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
    return BrainJudge(memory, llm=LlmJudge(lambda: pool.engine(name)) if name else None)


def _source(number: int, text: str, node_id: int = 0) -> Source:
    return Source(number, node_id, None, None, text, 0.0)


def _promised(
    quality_floor: float | None, risk: float | None, confidence: float | None, latency_sla_ms: float | None
) -> dict[str, Any]:
    """Return the settings of the router that a caller's promises stand for, certified mode among them."""
    given = {"quality_floor": quality_floor, "risk": risk, "certificate_confidence": confidence}
    promised: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    promised |= {"certified": True} if promised else {}
    return promised if latency_sla_ms is None else promised | {"latency_sla_ms": latency_sla_ms}


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


open = RuvLLM
"""Open a brain directory: `llm = ruvllm.open("brain")`."""
