"""What an answer leaves behind: a judge's word on it, and its record in memory."""

from __future__ import annotations

import logging
from dataclasses import replace

from ruvllm.errors import RuvLLMError
from ruvllm.judging import Answered, Judges
from ruvllm.memory import Memory
from ruvllm.orchestrator import Limits
from ruvllm.pipeline.answer import UNSURE
from ruvllm.pipeline.asking import Asking, Draft, reason
from ruvllm.types import Response

__all__ = ["Records", "judged"]

logger = logging.getLogger(__name__)

ANSWERABLE = 0.5  # what the judge says of sources from which on they rather hold an answer than not
UNANSWERABLE = 0.1  # below, it is said that they seem to hold none (docs/judge.md)
TOLD = ("stage", "timeout_s", "status")  # of an error; its message may quote the question


def judged(judge: Judges | None, asking: Asking, response: Response, draft: Draft) -> Response:
    """Return the response with the judge's word on it; a judge that fails or comes too late costs only that.

    A passage that was quoted in the place of a model's words loses its excuse where the judge holds that the sources do
    answer the question, and is judged without it. Where it holds that they hardly do, a model's answer has a warning.
    """
    if judge is None:
        return response
    if asking.deadline.has_passed:
        asking.degrade("judge", "not asked: the time is over")
        return response
    answered = Answered(
        query=response.query,
        query_vector=asking.vector,
        answer=response.text,
        sources=response.sources,
        logprobs=tuple(draft.logprobs),
        finish_reason=response.finish_reason,
        prompt_messages=draft.messages,
        is_too_late=lambda: asking.cancelled() or asking.deadline.has_passed,
        is_private=asking.is_private,
    )
    with asking.watch.stage("judge"):
        try:
            judgement = judge.judge(answered)
            if response.draft is not None and judgement.signals.get("answerable", 0.0) >= ANSWERABLE:
                response = replace(response, text=response.text.removeprefix(UNSURE))
                judgement = judge.judge(replace(answered, answer=response.text))
        except Exception as error:
            logger.info("an answer is not judged", exc_info=True)
            asking.degrade("judge", f"nothing is said about quality: {reason(error)}")
            return response
    if response.draft is None and judgement.signals.get("answerable", 1.0) < UNANSWERABLE:
        asking.note("judge", "the sources seem to hold no answer")
    draft.judge_score = judgement.signals.get("score")
    return replace(response, quality=judgement.quality, quality_source=judgement.source)


class Records:
    """Says which answers memory is to have. Safe to share between threads."""

    def __init__(self, memory: Memory, limits: Limits) -> None:
        self._memory = memory
        self._limits = limits
        self._failed = 0  # records, as a caller was last told

    def failed(self, error: RuvLLMError) -> None:
        """Let memory know that a request had no answer; what it was about is not kept."""
        detail = ", ".join(f"{name}={value}" for name in TOLD if (value := getattr(error, name, None)) is not None)
        model = getattr(error, "engine", None) or getattr(error, "model", None) or ""
        self._memory.record_failure(type(error).__name__, detail, str(model))

    def wants(self, asking: Asking) -> bool:
        """Return whether memory is to have this answer, and say where not, and where it could not keep earlier ones."""
        failed, self._failed = self._failed, self._memory.failed_records
        if self._failed > failed:
            asking.note("record", f"{self._failed - failed} earlier answers could not be stored; the log says why")
        if self._memory.read_only:
            asking.note("record", "the brain is open for reading only: this answer is not remembered")
        elif asking.vector is None:
            asking.note("record", "without a vector this answer is not remembered")
        elif not self._limits.may_write(asking.request.key):
            asking.note("record", "limits.writebacks_per_minute is used up: this answer is not remembered")
        else:
            return True
        return False
