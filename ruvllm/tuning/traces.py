"""From what a brain keeps of answered requests to traces: judged, tagged, and with what must not be learnt marked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ruvllm.config import Config, TuningConfig
from ruvllm.memory import Memory
from ruvllm.memory.failures import Failure
from ruvllm.memory.feedback import outcome_of
from ruvllm.memory.outcomes import Outcome
from ruvllm.memory.traces import StoredTrace, TraceSource
from ruvllm.text import containment
from ruvllm.tuning.redaction import Redactor
from ruvllm.tuning.tags import STATED, Tagger
from ruvllm.tuning.trace import Alternative, Passage, QualityBy, Standing, Tag, TaskOutcome, Trace
from ruvllm.types import Feedback, Message

__all__ = ["TraceCollector", "as_collected", "collect_all"]

SAYS_IT = 0.5  # share of a correction's words that a passage holds which says the same


class TraceCollector:
    """Reads the traces of a memory's namespace, where the section [tuning] permits it.

    Every answered request whose prompt is kept is a trace, confirmed or not: `Trace.standing` tells, and a
    `CurriculumBuilder` trains on nothing that is on probation. What was forgotten is in none.

    Args:
        memory: an opened brain; reading is enough.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._config = memory.config.tuning
        self._tagger = Tagger(memory.encode)
        self._redactor = Redactor() if self._config.redact else None

    def collect(self, since: float | None = None, until: float | None = None) -> list[Trace]:
        """Return the traces from `since` until before `until`, seconds since the epoch, oldest first."""
        if not self._config.learns_from(self._memory.namespace):
            return []
        start, stop = 0.0 if since is None else since, math.inf if until is None else until
        return [self._trace(stored) for stored in self._memory.traces(start, stop)]

    def trace_of(self, id: str) -> Trace:
        """Return the trace of one answered request.

        Raises:
            ValueError: its prompt is not kept, or something in it was forgotten.
        """
        permitted = self._config.learns_from(self._memory.namespace)
        found = self._memory.traces(id=id) if permitted else []
        if not found:
            raise ValueError(f"id: there is no trace of {id!r} in this brain")
        return self._trace(found[0])

    def failures(self, since: float | None = None, until: float | None = None) -> list[Failure]:
        """Return the requests that had no answer, and why; what was asked in them is not kept."""
        return self._memory.failures(0.0 if since is None else since, math.inf if until is None else until)

    def _trace(self, stored: StoredTrace) -> Trace:
        said = stored.feedback
        outcome = outcome_of(said)
        quality, by = _quality(stored, outcome, said)
        correction = said.correction if said is not None and stored.correction_node is not None else None
        helped, misled = _helped_and_misled(stored, correction)
        trace = Trace(
            id=stored.id,
            query=stored.query,
            response=stored.answer,
            prompt=stored.prompt,
            context=tuple(source.shown for source in stored.sources),
            context_ids=tuple(source.node for source in stored.sources),
            outcome=_task_outcome(outcome),
            quality=quality,
            quality_source=by,
            judge_score=stored.judge_score,
            rating=None if said is None else said.rating,
            correction=correction,
            correction_id=stored.correction_node,
            standing=_standing(stored, correction),
            helped=helped,
            misled=misled,
            is_context_wrong=_is_context_wrong(stored, correction),
            alternatives=tuple(
                Alternative(one.tier, one.answer, one.quality)
                for one in stored.tried
                if one.answer and one.quality is not None and not one.shown
            ),
            errors=stored.failures,
            model=stored.model,
            checkpoint=stored.student,
            namespace=stored.namespace,
            created=stored.created,
            finish_reason=stored.finish_reason,
            tags=self._tagger.tags(stored),
        )
        return trace if self._redactor is None else _redacted(trace, self._redactor)


def collect_all(brain: Path, config: Config) -> list[Trace]:
    """Return the traces of all namespaces that tuning.namespaces names, oldest first."""
    found: list[Trace] = []
    for namespace in config.tuning.namespaces:
        with Memory(brain, config=config, namespace=namespace, read_only=True) as memory:
            found += TraceCollector(memory).collect()
    return sorted(found, key=lambda trace: (trace.created, trace.id))


def as_collected(texts: Iterable[str], config: TuningConfig) -> list[str]:
    """Return texts, and beside them what redaction leaves of them where traces are redacted: as these say the same."""
    given = list(texts)
    if not config.redact:
        return given
    redactor = Redactor()
    return list(dict.fromkeys([*given, *(redactor.redact(text)[0] for text in given)]))


def _task_outcome(outcome: Outcome | None) -> TaskOutcome:
    if outcome is None:
        return "unknown"
    return "contradictory" if outcome.is_good is None else "success" if outcome.is_good else "failure"


def _quality(stored: StoredTrace, outcome: Outcome | None, said: Feedback | None) -> tuple[float | None, QualityBy]:
    """Return the quality of the answer and who says so: who rated it, who promoted it by hand, else a judge.

    A judge that no rating calibrated says nothing.
    """
    if outcome is not None and said is not None:
        is_task = said.quality is None and said.rating is None and said.task_success is not None
        return outcome.quality, "task" if is_task else "user"
    if stored.decided == "promoted":
        return 1.0, "user"
    if stored.quality is not None and "@" in stored.quality_source:
        return stored.quality, "judge"
    return None, ""


def _standing(stored: StoredTrace, correction: str | None) -> Standing:
    if stored.decided == "revoked" or not stored.conversation_holds:
        return "revoked"
    if correction is not None:
        return "corrected"
    if stored.is_revoked:
        return "revoked"
    return "promoted" if stored.is_promoted else "probation"


def _says(passage: str, answer: str) -> bool:
    return containment(answer, passage) >= SAYS_IT


def _helped_and_misled(stored: StoredTrace, correction: str | None) -> tuple[tuple[Passage, ...], tuple[Passage, ...]]:
    """Return what helps to the right answer, and what was shown in its place: by marks, else by the correction."""
    helped = [Passage(source.node, source.text) for source in stored.sources if _helps(source, correction) is True]
    misled = [Passage(source.node, source.text) for source in stored.sources if _helps(source, correction) is False]
    if correction is not None and stored.correction_node is not None:
        helped.append(Passage(stored.correction_node, correction))
    return tuple(helped), tuple(misled)


def _helps(source: TraceSource, correction: str | None) -> bool | None:
    if source.helped is not None:
        return source.helped and source.holds
    return None if correction is None else _says(source.text, correction)


def _is_context_wrong(stored: StoredTrace, correction: str | None) -> bool:
    """Return whether who learns the answer from these passages learns to ignore them, or what does not hold."""
    sources: Sequence[TraceSource] = stored.sources
    if not sources:
        return False
    used = [source for source in sources if source.node in stored.used] or sources
    if any(not source.holds for source in used) or all(source.helped is False for source in sources):
        return True
    marked = any(source.helped for source in sources)
    return correction is not None and not marked and not any(_says(source.shown, correction) for source in sources)


def _redacted(trace: Trace, redactor: Redactor) -> Trace:
    """Return the trace without personal data; kinds that were in the answer stand in `redacted`."""

    def clean(text: str) -> str:
        return redactor.redact(text)[0]

    def clean_all(passages: tuple[Passage, ...]) -> tuple[Passage, ...]:
        return tuple(replace(passage, text=clean(passage.text)) for passage in passages)

    def clean_tag(tag: Tag) -> Tag:
        return replace(tag, value=clean(str(tag.value))) if tag.made_by == STATED else tag

    response, kinds = redactor.redact(trace.response)
    correction = None
    if trace.correction is not None:
        correction, kinds = redactor.redact(trace.correction)
    return replace(
        trace,
        query=clean(trace.query),
        response=response,
        correction=correction,
        prompt=tuple(Message(message.role, clean(message.content)) for message in trace.prompt),
        context=tuple(clean(text) for text in trace.context),
        helped=clean_all(trace.helped),
        misled=clean_all(trace.misled),
        alternatives=tuple(replace(one, text=clean(one.text)) for one in trace.alternatives),
        errors=tuple(clean(text) for text in trace.errors),
        redacted=tuple(sorted(kinds)),
        tags={name: clean_tag(tag) for name, tag in trace.tags.items()},
    )
