"""One request from question to response, a straight line (stages as in the README's picture)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np

from ruvllm.config import Config
from ruvllm.context import build_prompt
from ruvllm.errors import RuvLLMError
from ruvllm.judging import Judges
from ruvllm.memory import Memory
from ruvllm.orchestrator import Limits, ResponseCache, SessionQueue, SpareTime
from ruvllm.orchestrator.response_cache import Entry
from ruvllm.pipeline.again import given_again, keep, known
from ruvllm.pipeline.answer import finished, interaction_of, options_of, outcome_of, route_of
from ruvllm.pipeline.asking import UNFINISHED, Asking, Draft, Reader, again, reason
from ruvllm.pipeline.calibration import answers_of_others
from ruvllm.pipeline.checks import checked
from ruvllm.pipeline.choice import DOWN, MISSING, Choice
from ruvllm.pipeline.generation import generate
from ruvllm.pipeline.lookup import embed, nearness, retrieve
from ruvllm.pipeline.on_trial import OnTrial, may_answer_instead, who_failed
from ruvllm.pipeline.readers import (
    SMALL_READER_SENTENCES,
    default_context,
    is_kept_private,
    is_small,
    no_tokens,
    shown_to,
)
from ruvllm.pipeline.records import Records, judged
from ruvllm.pipeline.stream import AnswerStream
from ruvllm.routing import Lends, Routes, fallbacks, instead, shown
from ruvllm.tuning.rollout.trials import Trials
from ruvllm.types import Decision, Request, Response

__all__ = ["Pipeline"]

TURNS_READ = 50  # newest turns looked at; how many are sent is the token budget's decision

Steps = Generator[str, None, Response]


class Pipeline:
    """Owns limits, the order within sessions and answers given before; the rest is lent by the system that closes it.

    Args:
        memory: where sources come from and answers go.
        engine: lends the engine of a tier, one of models.tiers or generation.model.
        router: chooses among several tiers; without one, generation.model answers.
        spare_time: runs what nobody waits for: the answers of every other tier, where a decision asks for them.
        judge: says how good answers are; without one, nobody does.
        trials: of students that are to take a tier's place; without them there are none.
    """

    def __init__(
        self,
        memory: Memory,
        engine: Lends,
        config: Config,
        *,
        router: Routes | None = None,
        spare_time: SpareTime | None = None,
        judge: Judges | None = None,
        trials: Trials | None = None,
    ) -> None:
        self._memory = memory
        self._config = config
        self._router = router
        self._spare_time = spare_time
        self._judge = judge
        self._trials = trials
        self._choice = Choice(memory, engine, config, router, spare_time, trials)
        self._on_trial = OnTrial(trials, self._choice, judge, spare_time, self._write)
        self._limits = Limits(config.limits)
        self._records = Records(memory, self._limits)
        self.sessions = SessionQueue()
        self.cache = ResponseCache(config.cache) if config.cache.enabled else None

    def run(self, request: Request, cancelled: Callable[[], bool]) -> Steps:
        """Yield the answer's text as it comes and return the response.

        Raises:
            TypeError, ValueError: something of the request is wrong; the message names it.
            RateLimited: the request's key has used its share.
            DeadlineExceeded: the time was over before there was any of the answer.
            CancelledError: `cancelled()` turned True before that.
            EngineError: generation failed.
        """
        asking = checked(request, cancelled, self._config)
        self._limits.admit(request.key)
        try:
            return (yield from self._answer(asking))
        except RuvLLMError as error:
            self._records.failed(error)
            raise

    def _answer(self, asking: Asking) -> Steps:
        with self._in_line(asking):
            entry = self._known(asking)
            if entry is not None:
                yield entry.response.text
                return self._answer_again(asking, entry)
            try:
                return (yield from self._answer_anew(asking))
            finally:
                self._limits.charge(asking.request.key, asking.tokens)

    @contextmanager
    def _in_line(self, asking: Asking) -> Iterator[None]:
        """Let earlier requests of the session go first, and read what was said in it."""
        session = asking.request.session
        with ExitStack() as line:
            if session is not None:
                with asking.stage("session"):
                    wait_s = asking.deadline.left_s(self._config.generation.timeout_s)
                    turn = self.sessions.turn(session, cancelled=asking.cancelled, timeout_s=wait_s)
                    asking.place = line.enter_context(turn)
                    asking.turns = self._memory.turns(session, TURNS_READ)
            yield

    # -- an answer given before --------------------------------------------------------------------------------------

    def _known(self, asking: Asking) -> Entry | None:
        """Return the answer to this question; where other wordings count, it is embedded to look for them."""
        if self.cache is None:
            return None
        with asking.stage("cache"):
            entry = known(self.cache, self._memory, self._config, self._router, self._judge, self._trials, asking)
        if entry is None and asking.key is not None and self._config.cache.similarity:
            embed(self._memory, asking)
            if asking.vector is not None:
                entry = self.cache.similar(asking.key, asking.vector)
        return entry

    def _answer_again(self, asking: Asking, entry: Entry) -> Response:
        response = given_again(entry, asking, self._memory)
        vector, is_private = entry.answer_vector, entry.is_private
        return self._leave(asking, response, Reader(), Draft(), answer_vector=vector, is_private=is_private)

    # -- a new answer ------------------------------------------------------------------------------------------------

    def _answer_anew(self, asking: Asking) -> Steps:
        tiers = self._choice.tiers(asking)
        if self._choice.is_open(tiers):
            self._look_up(asking)
            with asking.stage("route"):
                decision = self._choice.decide(asking, tiers)
            return (yield from self._answer_routed(asking, decision, tiers))
        if self._choice.is_tried(tiers, asking):
            self._look_up(asking)
            return (yield from self._answer_routed(asking, None, (self._choice.default(tiers),)))
        with ExitStack() as lease:
            with asking.stage("load"):  # first: a model that cannot be meant is said before anything is searched
                reader = self._choice.borrow_default(lease, tiers, asking)
            self._look_up(asking)
            draft = Draft()
            response = yield from self._write(asking, reader, draft)
        return self._finish(asking, reader, draft, response)

    def _look_up(self, asking: Asking) -> None:
        embed(self._memory, asking)
        retrieve(self._memory, asking)

    def _answer_routed(self, asking: Asking, decision: Decision | None, tiers: tuple[str, ...]) -> Steps:
        """Answer with the chosen tier, or the default one; while that is down, with the next one."""
        names = {shown(tier): tier for tier in tiers}
        first = shown(self._choice.default(tiers)) if decision is None else decision.tier
        made = decision  # whoever stands in, the router charged for the tier it chose
        down: Exception | None = None
        for tier, arm in self._choice.candidates(fallbacks(first, list(names)), names, asking):
            if decision is not None and tier != decision.tier:
                decision = instead(decision, tier)
            draft = Draft()
            with ExitStack() as lease:
                try:
                    with asking.stage("load"):
                        reader = lease.enter_context(self._choice.reader(names[tier], asking, decision, arm))
                    response = yield from self._write(asking, reader, draft)
                except Exception as error:
                    self._on_trial.failed(arm, asking, error, draft)
                    if draft.text or not may_answer_instead(arm, error):  # the first: half an answer is out
                        raise
                    down = error
                    asking.degrade("generate", f"{who_failed(tier, arm)} did not answer: {reason(error)}")
                    continue
            response = self._finish(asking, reader, draft, response)
            if decision is not None and made is not None and draft.finish_reason not in UNFINISHED:
                self._choice.answered(made, outcome_of(reader, draft))
                if decision.calibrates and asking.is_recorded:
                    self._let_all_answer(asking, response.id, decision, names)
            return response
        if down is not None and not isinstance(down, MISSING):
            raise down
        reader, draft = Reader(), Draft()
        response = yield from self._write(asking, reader, draft)
        return self._finish(asking, reader, draft, response)

    def _finish(self, asking: Asking, reader: Reader, draft: Draft, response: Response) -> Response:
        """Judge and keep an answer; the model that gave it is lent to others by now, a judge may need its room."""
        if draft.finish_reason in UNFINISHED:
            self._on_trial.ended(reader.arm, asking, response, draft)
            asking.watch.mark("total")
            return replace(response, warnings=tuple(asking.warnings))
        response = judged(self._judge, asking, response, draft)
        self._on_trial.ended(reader.arm, asking, response, draft)
        response = self._leave(asking, response, reader, draft, is_private=is_kept_private(reader, asking))
        if self.cache is not None:
            keep(self.cache, asking, reader, response)
        return response

    def _write(self, asking: Asking, reader: Reader, draft: Draft) -> Steps:
        """Build the prompt, let the reader answer, and quote the best passage where it does not or is not sure."""
        engine, section = reader.engine, self._config.generation
        options = asking.request.options or options_of(section, reader.decision)
        chosen = reader.decision.context_tokens if reader.decision else 0
        context_tokens = default_context(asking.query, engine, options, section.context_tokens, chosen=chosen)
        route = route_of(reader, options, context_tokens, why_no_choice=asking.why_no_choice)

        def near(texts: Sequence[str]) -> np.ndarray:
            return nearness(self._memory, asking, texts)

        with asking.stage("prompt"):
            hits, turns = shown_to(reader, asking)
            prompt = build_prompt(
                asking.query,
                hits,
                turns,
                count_tokens=engine.count_tokens if engine else no_tokens,
                relevance=near,
                budget_tokens=context_tokens,
                max_sources=asking.k,
                max_sentences=SMALL_READER_SENTENCES if is_small(engine) else None,
                duplicate_similarity=self._config.retrieval.duplicate_similarity,
            )
        if engine is not None:
            with asking.stage("generate"):
                yield from generate(engine, prompt, options, asking, draft)
        if not prompt.sources:
            why = "no source fits beside so long a question" if prompt.passages else "memory holds nothing on this"
            asking.note("retrieve", f"{why}: the answer, if any, is the model's own")
        response = finished(asking, prompt, route, draft, min_confidence=section.min_confidence, nearness=near)
        if not draft.text.strip() and response.text:
            yield response.text  # nothing was streamed: no model, or not a word from it
        return response

    # -- what is left behind -----------------------------------------------------------------------------------------

    def _leave(
        self,
        asking: Asking,
        response: Response,
        reader: Reader,
        draft: Draft,
        *,
        answer_vector: np.ndarray | None = None,
        is_private: bool,
    ) -> Response:
        """Let memory have the answer; return it with all that is to be said about how it came to be."""
        asking.is_recorded = self._records.wants(asking)
        asking.watch.mark("total")
        response = replace(response, warnings=(*response.warnings, *asking.warnings))
        if asking.is_recorded:
            self._memory.record(
                interaction_of(
                    response,
                    self._memory.namespace,
                    reader,
                    draft,
                    query_vector=asking.vector,
                    answer_vector=answer_vector,
                    failures=asking.failures,
                    is_private=is_private,
                )
            )
        return response

    def _let_all_answer(self, asking: Asking, id: str, decision: Decision, names: Mapping[str, str]) -> None:
        """Let the tiers that did not answer do so later, and keep what they say; this returns at once."""

        def answers(tier: str, must_stop: Callable[[], bool]) -> tuple[Response, Reader, Draft]:
            draft, anew = Draft(), again(asking, must_stop)
            with self._choice.reader(names[tier], anew, decision) as reader:
                return AnswerStream(self._write(anew, reader, draft)).response, reader, draft

        if self._spare_time is not None:
            others = [tier for tier in names if tier != decision.tier]
            self._spare_time.put(answers_of_others(self._memory, id, others, answers, DOWN))
