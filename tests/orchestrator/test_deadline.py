"""ruvllm/orchestrator/deadline.py: how much of a request's time is left."""

from __future__ import annotations

import math
import time

import pytest

from ruvllm.errors import DeadlineExceeded, RuvLLMError
from ruvllm.orchestrator import Deadline


def test_a_deadline_passes_once_its_time_is_over() -> None:
    now = [5.0]
    deadline = Deadline(2.0, clock=lambda: now[0])
    now[0] = 6.5
    deadline.check("embed")
    assert deadline.left_s(10.0) == 0.5 and deadline.left_s(0.1) == 0.1
    now[0] = 7.0
    with pytest.raises(DeadlineExceeded, match="timeout_s = 2 was over at the stage 'embed'") as caught:
        deadline.check("embed")
    assert (caught.value.stage, caught.value.timeout_s) == ("embed", 2.0)
    assert deadline.left_s(10.0) == 0.0


def test_what_happened_since_it_was_asked_counts() -> None:
    assert Deadline(2.0, start=10.0, clock=lambda: 13.0).has_passed


def test_without_a_timeout_it_never_passes() -> None:
    deadline = Deadline(None)
    deadline.check("generate")
    assert not deadline.has_passed and deadline.left_s(120.0) == 120.0


@pytest.mark.parametrize("timeout_s", [1e12, 1e300, 10**400, math.inf], ids=["long", "float", "whole", "infinite"])
def test_a_timeout_beyond_all_clocks_never_passes(timeout_s: float) -> None:
    deadline = Deadline(timeout_s)
    assert not deadline.has_passed and deadline.left_s(120.0) == 120.0
    assert deadline.left_s(math.inf) == math.inf  # threads take no wait that is longer than they can count


def test_the_wall_clock_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline(60.0)
    monkeypatch.setattr(time, "time", lambda: -1e9)
    assert not deadline.has_passed and 59.0 < deadline.left_s(math.inf) <= 60.0


def test_it_is_caught_as_a_timeout_and_as_ours() -> None:
    assert issubclass(DeadlineExceeded, TimeoutError) and issubclass(DeadlineExceeded, RuvLLMError)


@pytest.mark.parametrize("timeout_s", [0, -1.0, math.nan, "2", True, [1]])
def test_what_is_no_time_is_refused(timeout_s: object) -> None:
    with pytest.raises(ValueError, match="timeout_s must be a number of seconds > 0"):
        Deadline(timeout_s)  # type: ignore[arg-type]
