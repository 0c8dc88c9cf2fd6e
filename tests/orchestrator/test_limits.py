"""ruvllm/orchestrator/limits.py: buckets of requests, tokens and write-backs, one set for each key."""

from __future__ import annotations

import threading
import time

import pytest

from ruvllm.config import LimitsConfig
from ruvllm.errors import RateLimited
from ruvllm.orchestrator import Limits
from ruvllm.orchestrator.limits import MAX_KEYS


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limits(clock: Clock | None = None, **per_minute: float) -> Limits:
    config = LimitsConfig(**{f"{name}_per_minute": count for name, count in per_minute.items()})
    return Limits(config, clock=clock or Clock())


def admitted(limits: Limits, key: str, times: int) -> int:
    """Return how many of so many requests are let through."""
    count = 0
    for _ in range(times):
        try:
            limits.admit(key)
            count += 1
        except RateLimited:
            pass
    return count


def test_rate_limiting_rejects_excess_requests() -> None:
    clock = Clock()
    limited = limits(clock, requests=3)
    assert admitted(limited, "a", 5) == 3
    with pytest.raises(RateLimited, match=r"limits\.requests_per_minute is used up: ask again in 20\.0 s") as caught:
        limited.admit("a")
    assert (caught.value.limit, caught.value.retry_after_s) == ("requests", pytest.approx(20.0))


def test_after_the_stated_wait_a_request_is_let_through() -> None:
    clock = Clock()
    limited = limits(clock, requests=3)
    admitted(limited, "a", 3)
    clock.now += 19.9
    assert admitted(limited, "a", 1) == 0
    clock.now += 0.2
    assert admitted(limited, "a", 2) == 1


def test_keys_do_not_share() -> None:
    limited = limits(requests=1)
    assert [admitted(limited, key, 2) for key in ("a", "b")] == [1, 1]


def test_by_default_nothing_is_limited() -> None:
    unlimited = limits()
    assert admitted(unlimited, "a", 1000) == 1000 and unlimited.may_write("a")


def test_tokens_are_charged_afterwards_and_a_debt_is_waited_for() -> None:
    clock = Clock()
    limited = limits(clock, tokens=600)
    limited.admit("a")
    limited.charge("a", 1200)
    with pytest.raises(RateLimited) as caught:
        limited.admit("a")
    assert (caught.value.limit, caught.value.retry_after_s) == ("tokens", pytest.approx(60.1))
    clock.now += 60.2
    limited.admit("a")


def test_a_request_that_tokens_refuse_is_not_counted() -> None:
    clock = Clock()
    limited = limits(clock, requests=2, tokens=60)
    limited.charge("a", 61)
    assert admitted(limited, "a", 5) == 0
    clock.now += 3.0
    assert admitted(limited, "a", 5) == 2


def test_write_backs_have_a_limit_of_their_own() -> None:
    clock = Clock()
    limited = limits(clock, writebacks=2)
    assert [limited.may_write("a") for _ in range(3)] == [True, True, False]
    assert admitted(limited, "a", 10) == 10
    clock.now += 30.0
    assert limited.may_write("a")


def test_a_rate_below_one_a_minute_still_lets_one_through() -> None:
    clock = Clock()
    limited = limits(clock, requests=0.5)
    assert admitted(limited, "a", 2) == 1
    clock.now += 121.0
    assert admitted(limited, "a", 2) == 1


def test_a_flood_of_keys_takes_bounded_memory_and_gains_nothing() -> None:
    limited = limits(requests=2)
    admitted(limited, "mine", 2)
    through = sum(admitted(limited, f"key {i}", 1) for i in range(3 * MAX_KEYS))
    assert len(limited._accounts) == MAX_KEYS
    assert through == MAX_KEYS - 1 + 2  # those that came first, and the share of all others together
    assert admitted(limited, "mine", 1) == 0


def test_after_a_flood_new_keys_have_their_own_share_again() -> None:
    clock = Clock()
    limited = limits(clock, requests=2)
    for i in range(2 * MAX_KEYS):
        admitted(limited, f"key {i}", 1)
    clock.now += 60.0
    assert [admitted(limited, key, 3) for key in ("new", "newer")] == [2, 2]
    assert len(limited._accounts) == MAX_KEYS


def test_a_debt_in_the_way_does_not_keep_others_from_being_forgotten() -> None:
    clock = Clock()
    limited = limits(clock, tokens=60)
    limited.charge("debtor", 10**9)
    for i in range(MAX_KEYS):
        limited.charge(f"key {i}", 1)
    clock.now += 60.0
    limited.charge("new", 30)
    assert "new" in limited._accounts and "debtor" in limited._accounts


def test_a_clock_that_goes_backwards_changes_nothing() -> None:
    clock = Clock()
    limited = limits(clock, requests=2)
    admitted(limited, "a", 1)
    clock.now -= 3600.0
    assert admitted(limited, "a", 3) == 1


def test_the_wall_clock_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = Limits(LimitsConfig(requests_per_minute=1))
    limited.admit("a")
    monkeypatch.setattr(time, "time", lambda: 1e12)
    assert admitted(limited, "a", 3) == 0


def test_threads_together_get_no_more_than_the_limit() -> None:
    limited, through = limits(requests=100), []
    threads = [threading.Thread(target=lambda: through.append(admitted(limited, "a", 50))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(through) == 100
