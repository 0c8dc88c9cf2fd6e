"""Passes shared by streams, and what interrupts and failures leave behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ruvllm.inference.session_cache import SessionCache
from ruvllm.inference.shared_steps import SharedSteps
from ruvllm.kernels import RuntimeModel, RuntimeSession
from tests.models import converted

TOKENS = np.array([5, 6, 7], np.int32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> RuntimeModel:
    path = converted.lfm2(tmp_path_factory.mktemp("steps")) / "model.bin"
    return RuntimeModel(path, norm_eps=1e-5, num_threads=1)


class Watched:
    """The model, with something that happens instead of or after each pass."""

    def __init__(
        self, model: RuntimeModel, act: Callable[[list[RuntimeSession]], None], *, after: bool = False
    ) -> None:
        self._model, self._act, self._after = model, act, after

    def advance(self, sessions: list[RuntimeSession], ids: list[np.ndarray]) -> None:
        if not self._after:
            self._act(sessions)
        self._model.advance(sessions, ids)
        if self._after:
            self._act(sessions)


def session(model: RuntimeModel) -> RuntimeSession:
    return model.session(context_tokens=64)


def test_an_interrupt_after_the_pass_appends_nothing_twice(model: RuntimeModel) -> None:
    waiting, inside = threading.Event(), threading.Event()

    def interrupt(sessions: list[RuntimeSession]) -> None:
        if len(sessions) == 1 and not inside.is_set():
            inside.set()
            waiting.wait(10)
        elif len(sessions) == 2:
            raise KeyboardInterrupt

    steps = SharedSteps(Watched(model, interrupt, after=True))  # type: ignore[arg-type]
    sessions = [session(model) for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(steps.advance, sessions[0], TOKENS)
        assert inside.wait(10)
        others = [threads.submit(steps.advance, one, TOKENS) for one in sessions[1:]]
        while len(steps._waiting) < 2:
            threading.Event().wait(0.001)
        waiting.set()
        first.result()
        errors = [one.exception() for one in others]
    assert sorted(type(error).__name__ for error in errors) == ["KeyboardInterrupt", "NoneType"]
    assert [one.length for one in sessions] == [3, 3, 3]
    steps.advance(sessions[0], TOKENS)
    assert sessions[0].length == 6


def test_what_fails_one_stream_fails_no_other(model: RuntimeModel) -> None:
    bad = session(model)
    waiting, inside = threading.Event(), threading.Event()

    def fail(sessions: list[RuntimeSession]) -> None:
        if not inside.is_set():
            inside.set()
            waiting.wait(10)
        elif bad in sessions:
            raise MemoryError

    steps = SharedSteps(Watched(model, fail))  # type: ignore[arg-type]
    good, first = session(model), session(model)
    with ThreadPoolExecutor(3) as threads:
        runs = [threads.submit(steps.advance, first, TOKENS)]
        assert inside.wait(10)
        runs += [threads.submit(steps.advance, one, TOKENS) for one in (bad, good)]
        while len(steps._waiting) < 2:
            threading.Event().wait(0.001)
        waiting.set()
        errors = [run.exception() for run in runs]
    assert [type(error).__name__ for error in errors] == ["NoneType", "MemoryError", "NoneType"]
    assert (first.length, bad.length, good.length) == (3, 0, 3)


def test_a_session_can_be_given_back_while_the_cache_is_locked(model: RuntimeModel) -> None:
    cache = SessionCache(model, context_tokens=64, budget_bytes=2**30, kv="float32")
    used = session(model)
    model.advance([used], [TOKENS])
    with cache._lock:  # as when a forgotten stream is collected in the middle of another call
        cache.give(used)
    assert cache.take(np.array([5, 6, 7, 8], np.int32)) is used


def test_sessions_without_tokens_are_not_kept_and_a_closed_cache_keeps_none(model: RuntimeModel) -> None:
    cache = SessionCache(model, context_tokens=64, budget_bytes=2**30, kv="float32")
    for _ in range(5):
        cache.give(session(model))
    used = session(model)
    model.advance([used], [TOKENS])
    cache.give(used)
    assert cache._idle == [used]
    cache.close()
    cache.give(used)
    assert cache.nbytes() == 0 and not cache._idle
