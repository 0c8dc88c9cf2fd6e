"""Times are per call, taken in turn; a missing peer is said and left out."""

from __future__ import annotations

import logging
import time

import pytest

from ruvllm.bench.timing import peer, race, seconds_per_call


def busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_a_race_compares_with_the_fastest_peer() -> None:
    peers = {"slow": lambda: busy(4e-3), "fast": lambda: busy(2e-3)}
    row = race("work", lambda: busy(1e-3), peers, unit="ms", target=50.0, floor_s=1e-4, rounds=3, seconds=0.01)
    assert row.name == "work"
    assert row.unit == "ms"
    assert row.value >= 1.0
    assert list(row.peers) == ["slow", "fast"]
    assert row.ratio == row.value / min(row.peers.values()) < 1.0
    assert row.floor == pytest.approx(0.1)
    assert row.met is True


def test_a_race_alone_has_no_ratio_and_without_target_no_verdict() -> None:
    row = race("work", lambda: busy(1e-4), {}, rounds=1, seconds=0.001)
    assert (row.ratio, row.floor, row.target, row.met) == (None, None, None, None)


def test_a_missed_target_is_said() -> None:
    assert race("work", lambda: busy(1e-3), {}, unit="ms", target=0.5, rounds=1, seconds=0.001).met is False


def test_of_two_targets_the_harder_one_counts() -> None:
    peers = {"peer": lambda: busy(2e-3)}
    options = {"unit": "ms", "rounds": 3, "seconds": 0.01}
    row = race("work", lambda: busy(1e-3), peers, target=50.0, target_ratio=0.2, **options)  # type: ignore[arg-type]
    assert row.target == pytest.approx(0.2 * row.peers["peer"])
    assert row.met is False
    assert race("work", lambda: busy(1e-3), {}, target_ratio=0.2, **options).target is None  # type: ignore[arg-type]


def test_short_calls_are_timed_in_batches() -> None:
    counts = {"calls": 0}

    def call() -> None:
        counts["calls"] += 1

    seconds = seconds_per_call({"call": call}, rounds=1, seconds=0.001)["call"]
    assert counts["calls"] > 1000
    assert 0 < seconds < 1e-4


def test_a_missing_peer_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert peer("no_such_library") is None
    assert "peer no_such_library is left out" in caplog.text


def test_a_peer_that_is_there_is_returned() -> None:
    assert peer("time") is time
