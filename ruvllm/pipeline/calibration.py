"""Answers that nobody waits for: what the other tiers would have said, where a decision wants to know."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from dataclasses import replace

from ruvllm.learning.spare_time import Job
from ruvllm.memory import Memory
from ruvllm.pipeline.answer import outcome_of
from ruvllm.pipeline.asking import Draft, Reader
from ruvllm.types import Response

__all__ = ["answers_of_others"]

logger = logging.getLogger(__name__)

Answers = Callable[[str, Callable[[], bool]], tuple[Response, Reader, Draft]]
"""Let one tier answer, unless the second argument says that it must stop; returns what it said."""


def answers_of_others(
    memory: Memory, id: str, tiers: Iterable[str], answers: Answers, down: tuple[type[Exception], ...]
) -> Job:
    """Return a job that lets `tiers` answer the request `id`, one after another, and keeps what they say.

    Args:
        down: what a tier raises that cannot answer now; it is left out.
    """
    left = list(tiers)

    def job(must_stop: Callable[[], bool]) -> bool:
        while left:
            try:
                response, reader, draft = answers(left[0], must_stop)
            except CancelledError:
                return False
            except down as error:
                logger.info("%s gives no answer for calibration: %s", left[0], error)
            else:
                if draft.finish_reason == "cancelled":
                    return False
                shown_ids = tuple(source.node_id for source in response.sources)
                outcome = replace(outcome_of(reader, draft), answer=response.text, source_ids=shown_ids)
                try:
                    memory.add_outcomes(id, [outcome])
                except ValueError as error:  # it was deleted meanwhile
                    logger.info("an answer of %s for calibration is not kept: %s", left[0], error)
                    return True
            del left[0]
        return True

    return job
