"""The job that lets a student answer in spare time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError

from ruvllm.tuning.rollout.shadow import Figures, shadow_job


def test_an_answer_that_a_short_request_stopped_is_no_failure() -> None:
    kept: list[Figures] = []
    looks = iter([True, False])  # the request is over by the second look

    def answer(must_stop: Callable[[], bool]) -> Figures:
        stopped = must_stop()
        if stopped and must_stop():
            raise CancelledError
        return Figures(None, 0.0, failed=stopped)

    assert not shadow_job(answer, kept.append, is_wanted=lambda: True)(lambda: next(looks))
    assert kept == []
