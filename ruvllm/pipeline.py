"""One request from question to response, a straight line (stages as in the README's picture)."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

import numpy as np

from ruvllm.config import Config
from ruvllm.context import Prompt, build_prompt, mark_used
from ruvllm.errors import EngineError, ModelError, ModelMissing, PullError
from ruvllm.inference import Engine, confidence
from ruvllm.inference.open import is_remote
from ruvllm.inference.runtime_engine import Probe
from ruvllm.memory import Memory
from ruvllm.orchestrator import SpareTime
from ruvllm.routing import Asked, Routes, allowed, cost_of, fallbacks, instead, probe_with, shown
from ruvllm.text import sentence_spans
from ruvllm.types import (
    Constraints,
    Decision,
    FinishReason,
    GenerationOptions,
    Hits,
    Interaction,
    Message,
    Request,
    Response,
    Route,
    TierOutcome,
    Turn,
)

logger = logging.getLogger(__name__)

__all__ = ["SMALL_READER_SENTENCES", "AnswerStream", "Pipeline", "default_context", "is_small"]

TURNS_READ = 50  # newest turns looked at; how many are sent is the token budget's decision
EXTRACT_SOURCES = 3  # sources whose sentences compete for the quoted passage
SMALL_READER = 300e6  # parameters; below, a reader is confused by more than
SMALL_READER_SENTENCES = 3
CONTEXT_BINS = (512, 1024, 2048)  # prompt tokens
MISSING = (ModelMissing, PullError)  # nobody answers: the best passage is quoted
DOWN = (ModelError, PullError, EngineError, TimeoutError)  # another tier may answer


class AnswerStream(Iterator[str]):
    """An answer as it is written: iterate for text, then read `response`. `close()` stops the model.

    `response.text` is what counts: where the reader turned out to be unsure of what was streamed, it is the nearest
    passage instead (`finish_reason` "extract"), and the streamed text is `response.draft`.
    """

    def __init__(self, steps: Generator[str, None, Response]) -> None:
        self._steps = steps
        self._response: Response | None = None

    def __next__(self) -> str:
        try:
            return next(self._steps)
        except StopIteration as stop:
            if stop.value is not None:
                self._response = stop.value
            raise StopIteration from None

    @property
    def response(self) -> Response:
        """The finished response; what is left of the text is generated first."""
        for _ in self:
            pass
        if self._response is None:
            raise RuntimeError("the stream was closed before its answer was finished")
        return self._response

    def close(self) -> None:
        """Stop generating; nothing is recorded. May be called twice."""
        self._steps.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(slots=True)
class _Draft:
    """What generation has produced so far."""

    text: str = ""
    logprobs: list[float] = field(default_factory=list)
    finish_reason: FinishReason = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_ms: float = 0.0  # of the engine alone, however slowly its words were taken


class _Stopwatch:
    """Milliseconds by stage."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self.ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.ms[name] = self.ms.get(name, 0.0) + (time.perf_counter() - start) * 1e3

    def mark(self, name: str) -> None:
        self.ms[name] = (time.perf_counter() - self._start) * 1e3


@dataclass(slots=True, eq=False)
class _Asking:
    """One request on its way, and what memory has on it."""

    request: Request
    query: str
    k: int
    cancelled: Callable[[], bool]
    watch: _Stopwatch
    warnings: list[str] = field(default_factory=list)
    vector: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    hits: Hits = field(default_factory=Hits)
    turns: list[Turn] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Who answers: `engine` is None when no model is up, `decision` where there was no choice."""

    tier: str = ""
    engine: Engine | None = None
    decision: Decision | None = None


class Pipeline:
    """Owns nothing: memory, engines and router are lent by the system that opens and closes them.

    Args:
        memory: where sources come from and answers go.
        engine: lends the engine of a tier, one of models.tiers or generation.model.
        router: chooses among several tiers; without one, generation.model answers.
        spare_time: runs what nobody waits for: the answers of every other tier, where a decision asks for them.
    """

    def __init__(
        self,
        memory: Memory,
        engine: Callable[[str], AbstractContextManager[Engine]],
        config: Config,
        *,
        router: Routes | None = None,
        spare_time: SpareTime | None = None,
    ) -> None:
        self._memory = memory
        self._engine = engine
        self._config = config
        self._router = router
        self._spare_time = spare_time
        self._tiers = config.models.tiers or (config.generation.model,)

    def run(self, request: Request, cancelled: Callable[[], bool]) -> Generator[str, None, Response]:
        """Yield the answer's text as it comes and return the response.

        Raises:
            ValueError: the question is empty, too long, or not text, or `k` is below 1.
            EngineError: generation failed.
        """
        asking = self._checked(request, cancelled)
        constraints = request.constraints or Constraints()
        tiers = allowed(self._tiers, constraints)
        if self._router is not None and len(tiers) > 1:
            self._look_up(asking)
            with asking.watch.stage("route"):
                decision = self._decide(self._router, asking, constraints, tiers)
            return (yield from self._answer_routed(asking, decision, tiers))
        with ExitStack() as lease:
            with asking.watch.stage("load"):  # first: a model that cannot be meant is said before anything is searched
                reader = self._borrow_default(lease, tiers, asking.warnings)
            self._look_up(asking)
            return (yield from self._answer(asking, reader, _Draft()))

    def _checked(self, request: Request, cancelled: Callable[[], bool]) -> _Asking:
        query = self._validated(request.query)
        k = self._config.retrieval.k if request.k is None else request.k
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(f"k must be a whole number >= 1 ({k!r})")
        if not isinstance(request.constraints, Constraints | None):
            raise TypeError(f"constraints must be Constraints, not {type(request.constraints).__name__}")
        return _Asking(request, query, k, cancelled, _Stopwatch())

    def _look_up(self, asking: _Asking) -> None:
        session = asking.request.session
        with asking.watch.stage("embed"):
            asking.vector = self._memory.encode([asking.query])[0]
        with asking.watch.stage("retrieve"):
            asking.hits = self._memory.search(
                asking.query,
                2 * asking.k,
                filter=asking.request.filter,
                session=session,
                query_vector=asking.vector,
            )
            asking.turns = self._memory.turns(session, TURNS_READ) if session else []

    def _decide(self, router: Routes, asking: _Asking, constraints: Constraints, tiers: tuple[str, ...]) -> Decision:
        session = asking.request.session
        vectors, links = self._memory.among([hit.node.id for hit in asking.hits])
        asked = Asked(
            query=asking.query,
            vector=asking.vector,
            hits=asking.hits,
            hit_vectors=vectors,
            hit_links=links,
            session=session,
            turn=self._memory.count_turns(session) if session else 0,
            constraints=constraints,
            tiers=tuple(map(shown, tiers)),
        )
        decision = router.decide(asked, probe=lambda: self._probe(asking.query, tiers))
        is_taken = self._spare_time is not None and self._spare_time.has_room and not self._memory.read_only
        return decision if is_taken else replace(decision, calibrates=False)

    def _probe(self, query: str, tiers: tuple[str, ...]) -> tuple[Probe, int] | None:
        """Let the smallest local tier look at a question; None where none is up."""
        smallest = next((tier for tier in tiers if not is_remote(tier)), None)
        if smallest is None:
            return None
        try:
            with self._engine(smallest) as engine:
                return probe_with(engine, query)
        except (*DOWN, RuntimeError) as error:  # the last: this thread's own streams leave no room for that tier
            logger.debug("no probe: %s", error)
            return None

    def _answer_routed(
        self, asking: _Asking, decision: Decision, tiers: tuple[str, ...]
    ) -> Generator[str, None, Response]:
        """Answer with the chosen tier; while that is down, with the next one."""
        names = {shown(tier): tier for tier in tiers}
        down: Exception | None = None
        for tier in fallbacks(decision.tier, list(names)):
            if tier != decision.tier:
                decision = instead(decision, tier)
            draft = _Draft()
            with ExitStack() as lease:
                try:
                    with asking.watch.stage("load"):
                        engine = lease.enter_context(self._engine(names[tier]))
                    reader = _Reader(tier, engine, decision)
                    response = yield from self._answer(asking, reader, draft)
                    if self._router is not None and draft.finish_reason != "cancelled":
                        self._router.answered(decision, _outcome(reader, draft))
                    if decision.calibrates and draft.finish_reason != "cancelled":
                        self._let_all_answer(asking, response.id, decision, names)
                    return response
                except DOWN as error:
                    if draft.text:  # half an answer is out
                        raise
                    down = error
            asking.warnings.append(f"{tier} did not answer: {down}")
        if down is not None and not isinstance(down, MISSING):
            raise down
        return (yield from self._answer(asking, _Reader(), _Draft()))

    def _answer(self, asking: _Asking, reader: _Reader, draft: _Draft) -> Generator[str, None, Response]:
        response = yield from self._write(asking, reader, draft)
        if draft.finish_reason != "cancelled" and not self._memory.read_only:
            self._memory.record(_interaction(response, asking.vector, self._memory.namespace, reader, draft))
        return response

    def _write(self, asking: _Asking, reader: _Reader, draft: _Draft) -> Generator[str, None, Response]:
        engine, watch, warnings = reader.engine, asking.watch, asking.warnings
        options = asking.request.options or self._options(reader.decision)
        route = self._route(asking.query, reader, options)
        with watch.stage("prompt"):
            prompt = build_prompt(
                asking.query,
                asking.hits,
                asking.turns,
                count_tokens=engine.count_tokens if engine else _no_tokens,
                relevance=lambda texts: self._memory.encode(texts) @ asking.vector,
                budget_tokens=route.context_tokens,
                max_sources=asking.k,
                max_sentences=SMALL_READER_SENTENCES if is_small(engine) else None,
                duplicate_similarity=self._config.retrieval.duplicate_similarity,
            )
        if engine is not None:
            with watch.stage("generate"):
                yield from _generate(engine, prompt, options, asking.cancelled, draft, watch)
        if not prompt.sources:
            warnings.append("memory holds nothing on this: the answer, if any, is the model's own")
        if self._memory.read_only:
            warnings.append("the brain is open for reading only: this answer is not remembered")
        response = self._finish(asking, prompt, route, draft)
        watch.mark("total")
        if not draft.text.strip() and response.text:
            yield response.text  # nothing was streamed: no model, or not a word from it
        return response

    def _let_all_answer(self, asking: _Asking, id: str, decision: Decision, names: Mapping[str, str]) -> None:
        """Let the tiers that did not answer do so later, and keep what they say; this returns at once."""
        left = [tier for tier in names if tier != decision.tier]

        def job(must_stop: Callable[[], bool]) -> bool:
            while left:
                draft = _Draft()
                anew = replace(asking, cancelled=must_stop, watch=_Stopwatch(), warnings=[])
                try:
                    with self._engine(names[left[0]]) as engine:
                        reader = _Reader(left[0], engine, decision)
                        response = AnswerStream(self._write(anew, reader, draft)).response
                except DOWN as error:
                    logger.info("%s gives no answer for calibration: %s", left[0], error)
                else:
                    if draft.finish_reason == "cancelled":
                        return False
                    shown_ids = tuple(source.node_id for source in response.sources)
                    outcome = replace(_outcome(reader, draft), answer=response.text, source_ids=shown_ids)
                    self._memory.add_outcomes(id, [outcome])
                del left[0]
            return True

        if self._spare_time is not None:
            self._spare_time.put(job)

    def _validated(self, query: str) -> str:
        if not isinstance(query, str):
            raise TypeError(f"query must be a str, not {type(query).__name__}")
        limit = self._config.store.max_query_chars
        if len(query) > limit:
            raise ValueError(f"query is too long ({len(query)} characters, at most {limit})")
        if not query.strip():
            raise ValueError("query must not be empty")
        try:
            query.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"query holds a lone surrogate at character {error.start}") from error
        return query.strip()

    def _borrow_default(self, lease: ExitStack, tiers: tuple[str, ...], warnings: list[str]) -> _Reader:
        """Return the default tier, or the largest where that one may not be asked; without a model, say so."""
        if not tiers:
            warnings.append("no model answered: with privacy 'local' none may be asked, all are endpoints")
            return _Reader()
        default = self._config.generation.model
        tier = default if default in tiers else tiers[-1]
        try:
            return _Reader(shown(tier), lease.enter_context(self._engine(tier)))
        except MISSING as error:
            warnings.append(f"no model answered: {error}")
            return _Reader()

    def _options(self, decision: Decision | None) -> GenerationOptions:
        section = self._config.generation
        temperature = None if decision is None else decision.temperature
        top_p = None if decision is None else decision.top_p
        return GenerationOptions(
            max_new_tokens=section.max_new_tokens,
            temperature=section.temperature if temperature is None else temperature,
            top_k=section.top_k,
            top_p=section.top_p if top_p is None else top_p,
            min_p=section.min_p,
            repetition_penalty=section.repetition_penalty,
        )

    def _route(self, query: str, reader: _Reader, options: GenerationOptions) -> Route:
        """Return what was decided; where there was no choice the stated default, with the context its size can use."""
        engine, decision = reader.engine, reader.decision
        configured = self._config.generation.context_tokens
        route = Route(
            model=engine.name if engine else "none",
            context_tokens=default_context(
                query, engine, options, configured, chosen=decision.context_tokens if decision else 0
            ),
            temperature=options.temperature,
            top_p=options.top_p,
            tier=reader.tier,
        )
        if decision is None:
            return route if engine is None else replace(route, reason=self._why_no_choice())
        return replace(
            route,
            decided_by=decision.decided_by,
            confidence=decision.confidence,
            quality=decision.chosen.quality,
            checkpoint=decision.checkpoint,
            reason=decision.reason,
        )

    def _why_no_choice(self) -> str:
        if len(self._tiers) < 2:
            return "there is one tier"
        return "the router is switched off" if self._router is None else "the constraints leave one tier"

    def _finish(self, asking: _Asking, prompt: Prompt, route: Route, draft: _Draft) -> Response:
        """Return the answer, or the best passage when no model answered or it was not sure of its own words."""
        text = draft.text.strip()
        sure = confidence(draft.logprobs) if draft.logprobs else None
        floor = self._config.generation.min_confidence
        response = Response(
            id=secrets.token_hex(8),
            query=asking.query,
            text=text,
            sources=mark_used(text, prompt.sources),
            route=route,
            confidence=sure,
            finish_reason=draft.finish_reason,
            session=asking.request.session,
            prompt_tokens=draft.prompt_tokens,
            completion_tokens=draft.completion_tokens,
            timings_ms=asking.watch.ms,
            warnings=tuple(asking.warnings),
        )
        options = asking.request.options
        is_structured = options is not None and options.json_schema is not None
        unsure = sure is not None and sure < floor and not is_structured  # a passage is no value of the schema
        if draft.finish_reason == "cancelled" or (text and not unsure):
            return response
        if unsure and text:
            reason = f"the model was not sure of its answer (confidence {sure:.2f} < {floor:.2f})"
            response = replace(response, warnings=(*response.warnings, reason), draft=text)
        return self._extract(response, asking.vector)

    def _extract(self, response: Response, query_vector: np.ndarray) -> Response:
        """Quote the sentence of the best sources that lies nearest to the question."""
        candidates = [
            (source, " ".join(source.text[start:end].split()))
            for source in response.sources[:EXTRACT_SOURCES]
            for start, end in sentence_spans(source.text)
        ]
        if not candidates:
            text, used = "I do not know, and memory holds nothing on this.", -1
        else:
            vectors = self._memory.encode([sentence for _, sentence in candidates])
            source, sentence = candidates[int(np.argmax(vectors @ query_vector))]
            where = source.title or source.source or f"source {source.number}"
            text, used = (
                f"I cannot answer this with confidence. The closest passage ({where}): {sentence}",
                source.number,
            )
        return replace(
            response,
            text=text,
            finish_reason="extract",
            sources=tuple(replace(s, used=s.number == used) for s in response.sources),
        )


def is_small(engine: Engine | None) -> bool:
    """Return whether this reader does better with a few sentences than with whole passages."""
    return engine is not None and engine.parameters is not None and engine.parameters < SMALL_READER


def default_context(
    query: str, engine: Engine | None, options: GenerationOptions, configured: int, *, chosen: int = 0
) -> int:
    """Return how many prompt tokens to use: the configured number, else the `chosen` one, else the reader's bin.

    A long question moves to the first bin of which it takes less than half, so that room for sources is left.
    """
    if engine is None:
        return configured or CONTEXT_BINS[-1]
    window = engine.context_tokens - options.max_new_tokens
    if window <= 0:
        raise ValueError(
            f"max_new_tokens must be below the model's {engine.context_tokens} tokens of context "
            f"({options.max_new_tokens})"
        )
    if configured:
        return min(configured, window)
    if chosen:
        bins = (chosen, *(b for b in CONTEXT_BINS if b > chosen))
    else:
        bins = CONTEXT_BINS if is_small(engine) else CONTEXT_BINS[-1:]
    question = engine.count_tokens([Message("user", query)])
    return min(next((b for b in bins if 2 * question < b), window), window)


def _generate(
    engine: Engine,
    prompt: Prompt,
    options: GenerationOptions,
    cancelled: Callable[[], bool],
    draft: _Draft,
    watch: _Stopwatch,
) -> Iterator[str]:
    pieces = engine.stream(prompt.messages, options, cancelled=cancelled)
    while True:
        start = time.perf_counter()
        piece = next(pieces, None)
        draft.latency_ms += (time.perf_counter() - start) * 1e3
        if piece is None:
            return
        if "first_token" not in watch.ms:
            watch.mark("first_token")
        draft.text += piece.text
        draft.logprobs.extend(piece.logprobs)
        if piece.finish_reason is not None:
            draft.finish_reason = piece.finish_reason
            draft.prompt_tokens = piece.prompt_tokens
            draft.completion_tokens = piece.completion_tokens
        if piece.text:
            yield piece.text


def _no_tokens(messages: object) -> int:
    """Without a model there is no budget to keep."""
    return 0


def _interaction(
    response: Response, query_vector: np.ndarray, namespace: str, reader: _Reader, draft: _Draft
) -> Interaction:
    return Interaction(
        id=response.id,
        query=response.query,
        answer=response.text,
        namespace=namespace,
        session=response.session,
        created=time.time(),
        source_ids=tuple(s.node_id for s in response.sources),
        used_ids=tuple(s.node_id for s in response.sources if s.used),
        route=response.route,
        confidence=response.confidence,
        finish_reason=response.finish_reason,
        timings_ms=response.timings_ms,
        query_vector=query_vector,
        outcome=None if reader.engine is None else _outcome(reader, draft),
        decision=reader.decision,
    )


def _outcome(reader: _Reader, draft: _Draft) -> TierOutcome:
    tokens = draft.prompt_tokens + draft.completion_tokens
    cost = None if reader.engine is None else cost_of(reader.engine, tokens)
    return TierOutcome(reader.tier, latency_ms=draft.latency_ms, cost=cost, tokens=draft.completion_tokens)
