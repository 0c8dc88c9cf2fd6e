"""One request from question to response, a straight line (stages as in the README's picture)."""

from __future__ import annotations

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
from ruvllm.errors import ModelMissing, PullError
from ruvllm.inference import Engine, confidence
from ruvllm.memory import Memory
from ruvllm.text import sentence_spans
from ruvllm.types import (
    FinishReason,
    GenerationOptions,
    Interaction,
    Message,
    Request,
    Response,
    Route,
)

__all__ = ["SMALL_READER_SENTENCES", "AnswerStream", "Pipeline", "default_context", "is_small"]

TURNS_READ = 50  # newest turns looked at; how many are sent is the token budget's decision
EXTRACT_SOURCES = 3  # sources whose sentences compete for the quoted passage
SMALL_READER = 300e6  # parameters; below, a reader is confused by more than
SMALL_READER_SENTENCES = 3
CONTEXT_BINS = (512, 1024, 2048)  # prompt tokens


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
            self.ms[name] = (time.perf_counter() - start) * 1e3

    def mark(self, name: str) -> None:
        self.ms[name] = (time.perf_counter() - self._start) * 1e3


class Pipeline:
    """Owns nothing: memory and engine are lent by the system that opens and closes them."""

    def __init__(self, memory: Memory, engine: Callable[[], AbstractContextManager[Engine]], config: Config) -> None:
        self._memory = memory
        self._engine = engine
        self._config = config

    def run(self, request: Request, cancelled: Callable[[], bool]) -> Generator[str, None, Response]:
        """Yield the answer's text as it comes and return the response.

        Raises:
            ValueError: the question is empty, too long, or not text, or `k` is below 1.
            EngineError: generation failed.
        """
        watch = _Stopwatch()
        query = self._validated(request.query)
        k = self._config.retrieval.k if request.k is None else request.k
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(f"k must be a whole number >= 1 ({k!r})")
        with ExitStack() as lease:
            with watch.stage("load"):  # first: a model that cannot be meant is said before anything is searched
                engine, warnings = self._borrow_engine(lease)
            return (yield from self._answer(request, query, k, engine, warnings, watch, cancelled))

    def _answer(
        self,
        request: Request,
        query: str,
        k: int,
        engine: Engine | None,
        warnings: list[str],
        watch: _Stopwatch,
        cancelled: Callable[[], bool],
    ) -> Generator[str, None, Response]:
        with watch.stage("embed"):
            query_vector = self._memory.encode([query])[0]
        with watch.stage("retrieve"):
            hits = self._memory.search(
                query, 2 * k, filter=request.filter, session=request.session, query_vector=query_vector
            )
            turns = self._memory.turns(request.session, TURNS_READ) if request.session else []
        options = request.options or self._default_options()
        route = self._route(query, engine, options)
        with watch.stage("prompt"):
            prompt = build_prompt(
                query,
                hits,
                turns,
                count_tokens=engine.count_tokens if engine else _no_tokens,
                relevance=lambda texts: self._memory.encode(texts) @ query_vector,
                budget_tokens=route.context_tokens,
                max_sources=k,
                max_sentences=SMALL_READER_SENTENCES if is_small(engine) else None,
                duplicate_similarity=self._config.retrieval.duplicate_similarity,
            )
        if not prompt.sources:
            warnings.append("memory holds nothing on this: the answer, if any, is the model's own")
        if self._memory.read_only:
            warnings.append("the brain is open for reading only: this answer is not remembered")
        draft = _Draft()
        if engine is not None:
            with watch.stage("generate"):
                yield from _generate(engine, prompt, options, cancelled, draft, watch)
        response = self._finish(request, query, query_vector, prompt, route, draft, warnings, watch.ms)
        watch.mark("total")
        if not draft.text.strip() and response.text:
            yield response.text  # nothing was streamed: no model, or not a word from it
        if draft.finish_reason != "cancelled" and not self._memory.read_only:
            self._memory.record(_interaction(response, query_vector, self._memory.namespace))
        return response

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

    def _borrow_engine(self, lease: ExitStack) -> tuple[Engine | None, list[str]]:
        try:
            return lease.enter_context(self._engine()), []
        except (ModelMissing, PullError) as error:
            return None, [f"no model answered: {error}"]

    def _default_options(self) -> GenerationOptions:
        section = self._config.generation
        return GenerationOptions(
            max_new_tokens=section.max_new_tokens,
            temperature=section.temperature,
            top_k=section.top_k,
            top_p=section.top_p,
            min_p=section.min_p,
            repetition_penalty=section.repetition_penalty,
        )

    def _route(self, query: str, engine: Engine | None, options: GenerationOptions) -> Route:
        """The stated safe default, until a router decides: the one reader, and the context its size can use."""
        return Route(
            model=engine.name if engine else "none",
            context_tokens=default_context(query, engine, options, self._config.generation.context_tokens),
            temperature=options.temperature,
            top_p=options.top_p,
        )

    def _finish(
        self,
        request: Request,
        query: str,
        query_vector: np.ndarray,
        prompt: Prompt,
        route: Route,
        draft: _Draft,
        warnings: list[str],
        timings_ms: Mapping[str, float],
    ) -> Response:
        """Return the answer, or the best passage when no model answered or it was not sure of its own words."""
        text = draft.text.strip()
        sure = confidence(draft.logprobs) if draft.logprobs else None
        floor = self._config.generation.min_confidence
        response = Response(
            id=secrets.token_hex(8),
            query=query,
            text=text,
            sources=mark_used(text, prompt.sources),
            route=route,
            confidence=sure,
            finish_reason=draft.finish_reason,
            session=request.session,
            prompt_tokens=draft.prompt_tokens,
            completion_tokens=draft.completion_tokens,
            timings_ms=timings_ms,
            warnings=tuple(warnings),
        )
        is_structured = request.options is not None and request.options.json_schema is not None
        unsure = sure is not None and sure < floor and not is_structured  # a passage is no value of the schema
        if draft.finish_reason == "cancelled" or (text and not unsure):
            return response
        if unsure and text:
            reason = f"the model was not sure of its answer (confidence {sure:.2f} < {floor:.2f})"
            response = replace(response, warnings=(*response.warnings, reason), draft=text)
        return self._extract(response, query_vector)

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


def default_context(query: str, engine: Engine | None, options: GenerationOptions, configured: int) -> int:
    """Return how many prompt tokens to use: the configured number, else the reader's bin.

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
    for piece in engine.stream(prompt.messages, options, cancelled=cancelled):
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


def _interaction(response: Response, query_vector: np.ndarray, namespace: str) -> Interaction:
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
    )
