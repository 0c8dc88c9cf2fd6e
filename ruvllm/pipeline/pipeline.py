"""One request from question to response, a straight line (stages as in the README's picture)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace

from ruvllm.config import Config
from ruvllm.context import Prompt, build_prompt
from ruvllm.errors import EngineError, ModelError, ModelMissing, PullError
from ruvllm.inference import Engine
from ruvllm.inference.open import is_remote
from ruvllm.inference.runtime_engine import Probe
from ruvllm.memory import Memory
from ruvllm.orchestrator import SpareTime
from ruvllm.pipeline.answer import finished, interaction_of, options_of, route_of
from ruvllm.pipeline.asking import Asking, Draft, Reader, Stopwatch
from ruvllm.pipeline.calibration import answers_of_others
from ruvllm.pipeline.readers import SMALL_READER_SENTENCES, default_context, is_small, no_tokens
from ruvllm.pipeline.stream import AnswerStream
from ruvllm.routing import Asked, Routes, allowed, fallbacks, instead, probe_with, shown
from ruvllm.types import Constraints, Decision, GenerationOptions, Request, Response

__all__ = ["Pipeline"]

logger = logging.getLogger(__name__)

TURNS_READ = 50  # newest turns looked at; how many are sent is the token budget's decision
MISSING = (ModelMissing, PullError)  # nobody answers: the best passage is quoted
DOWN = (ModelError, PullError, EngineError, TimeoutError)  # another tier may answer


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
            return (yield from self._answer(asking, reader, Draft()))

    # -- the request -------------------------------------------------------------------------------------------------

    def _checked(self, request: Request, cancelled: Callable[[], bool]) -> Asking:
        query = self._validated(request.query)
        k = self._config.retrieval.k if request.k is None else request.k
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(f"k must be a whole number >= 1 ({k!r})")
        if not isinstance(request.constraints, Constraints | None):
            raise TypeError(f"constraints must be Constraints, not {type(request.constraints).__name__}")
        return Asking(request, query, k, cancelled)

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

    def _look_up(self, asking: Asking) -> None:
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

    # -- who answers -------------------------------------------------------------------------------------------------

    def _decide(self, router: Routes, asking: Asking, constraints: Constraints, tiers: tuple[str, ...]) -> Decision:
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

    def _borrow_default(self, lease: ExitStack, tiers: tuple[str, ...], warnings: list[str]) -> Reader:
        """Return the default tier, or the largest where that one may not be asked; without a model, say so."""
        if not tiers:
            warnings.append("no model answered: with privacy 'local' none may be asked, all are endpoints")
            return Reader()
        default = self._config.generation.model
        tier = default if default in tiers else tiers[-1]
        try:
            return Reader(shown(tier), lease.enter_context(self._engine(tier)))
        except MISSING as error:
            warnings.append(f"no model answered: {error}")
            return Reader()

    def _why_no_choice(self) -> str:
        if len(self._tiers) < 2:
            return "there is one tier"
        return "the router is switched off" if self._router is None else "the constraints leave one tier"

    # -- the answer --------------------------------------------------------------------------------------------------

    def _answer_routed(
        self, asking: Asking, decision: Decision, tiers: tuple[str, ...]
    ) -> Generator[str, None, Response]:
        """Answer with the chosen tier; while that is down, with the next one."""
        names = {shown(tier): tier for tier in tiers}
        down: Exception | None = None
        for tier in fallbacks(decision.tier, list(names)):
            if tier != decision.tier:
                decision = instead(decision, tier)
            draft = Draft()
            with ExitStack() as lease:
                try:
                    with asking.watch.stage("load"):
                        engine = lease.enter_context(self._engine(names[tier]))
                    response = yield from self._answer(asking, Reader(tier, engine, decision), draft)
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
        return (yield from self._answer(asking, Reader(), Draft()))

    def _answer(self, asking: Asking, reader: Reader, draft: Draft) -> Generator[str, None, Response]:
        response = yield from self._write(asking, reader, draft)
        if draft.finish_reason != "cancelled" and not self._memory.read_only:
            self._memory.record(interaction_of(response, asking.vector, self._memory.namespace, reader, draft))
        return response

    def _write(self, asking: Asking, reader: Reader, draft: Draft) -> Generator[str, None, Response]:
        engine, watch, warnings = reader.engine, asking.watch, asking.warnings
        section = self._config.generation
        options = asking.request.options or options_of(section, reader.decision)
        chosen = reader.decision.context_tokens if reader.decision else 0
        context_tokens = default_context(asking.query, engine, options, section.context_tokens, chosen=chosen)
        route = route_of(reader, options, context_tokens, why_no_choice=self._why_no_choice())
        with watch.stage("prompt"):
            prompt = build_prompt(
                asking.query,
                asking.hits,
                asking.turns,
                count_tokens=engine.count_tokens if engine else no_tokens,
                relevance=lambda texts: self._memory.encode(texts) @ asking.vector,
                budget_tokens=context_tokens,
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
        response = finished(
            asking, prompt, route, draft, min_confidence=section.min_confidence, encode=self._memory.encode
        )
        watch.mark("total")
        if not draft.text.strip() and response.text:
            yield response.text  # nothing was streamed: no model, or not a word from it
        return response

    def _let_all_answer(self, asking: Asking, id: str, decision: Decision, names: Mapping[str, str]) -> None:
        """Let the tiers that did not answer do so later, and keep what they say; this returns at once."""

        def answers(tier: str, must_stop: Callable[[], bool]) -> tuple[Response, Reader, Draft]:
            draft = Draft()
            anew = replace(asking, cancelled=must_stop, watch=Stopwatch(), warnings=[])
            with self._engine(names[tier]) as engine:
                reader = Reader(tier, engine, decision)
                return AnswerStream(self._write(anew, reader, draft)).response, reader, draft

        if self._spare_time is not None:
            others = [tier for tier in names if tier != decision.tier]
            self._spare_time.put(answers_of_others(self._memory, id, others, answers, DOWN))


def _generate(
    engine: Engine,
    prompt: Prompt,
    options: GenerationOptions,
    cancelled: Callable[[], bool],
    draft: Draft,
    watch: Stopwatch,
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
