"""Conversations that the runtime keeps warm: a prompt goes on from the one that starts like it."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np
import numpy.typing as npt

from ruvllm.kernels import KvType, RuntimeModel, RuntimeSession

__all__ = ["SessionCache"]

Ids = npt.NDArray[np.int32]


class SessionCache:
    """Idle sessions of one model, least recently used first, up to a number of bytes. Safe to share between threads.

    Args:
        model: whose sessions these are.
        context_tokens: of every session.
        budget_bytes: what idle sessions may hold together.
        kv: type of their keys and values.
    """

    def __init__(self, model: RuntimeModel, *, context_tokens: int, budget_bytes: int, kv: KvType) -> None:
        self._model = model
        self._context_tokens = context_tokens
        self._budget_bytes = budget_bytes
        self.kv = kv
        self._idle: list[RuntimeSession] = []
        # given back but not yet sorted in: a stream that is collected as garbage gives its session back wherever its
        # thread happens to be, under this very lock too, and must not wait for it
        self._given: deque[RuntimeSession] = deque()
        self._lock = threading.Lock()
        self._is_closed = False

    def take(self, prompt: Ids) -> RuntimeSession:
        """Return a session that holds the longest known beginning of `prompt`, but its last token.

        A conversation that goes on is taken as it is. Where another one only starts alike (the same instructions), its
        beginning is copied, so that it can go on too.
        """
        with self._lock:
            self._sort_in()
            shared = [_shared_length(session.tokens(), prompt) for session in self._idle]
            best = max(range(len(shared)), key=lambda i: (shared[i], i), default=None)  # of equals the most recent
            session = None if best is None or shared[best] == 0 else self._idle.pop(best)
        if best is None or session is None:
            return self._model.session(context_tokens=self._context_tokens, kv=self.kv)
        length = min(shared[best], len(prompt) - 1)
        if 2 * shared[best] < session.length:  # most of it belongs to something else
            try:
                return session.fork(length)
            finally:
                self.give(session)
        session.cut(length)
        return session

    def give(self, session: RuntimeSession) -> None:
        """Keep a session for the prompt that goes on from it; the least recently used ones make room. Never waits."""
        self._given.append(session)
        if self._lock.acquire(blocking=False):
            try:
                self._sort_in()
            finally:
                self._lock.release()

    def nbytes(self) -> int:
        """Return the memory of the idle sessions."""
        with self._lock:
            self._sort_in()
            return sum(session.nbytes() for session in self._idle)

    def close(self) -> None:
        """Forget all idle sessions, and those that are given back from now on."""
        with self._lock:
            self._is_closed = True
            self._sort_in()

    def _sort_in(self) -> None:
        while self._given:
            session = self._given.popleft()
            if session.length:
                self._idle.append(session)
        if self._is_closed:
            self._idle.clear()
        while self._idle and sum(one.nbytes() for one in self._idle) > self._budget_bytes:
            del self._idle[0]


def _shared_length(a: Ids, b: Ids) -> int:
    n = min(len(a), len(b))
    differs = np.flatnonzero(a[:n] != b[:n])
    return int(differs[0]) if len(differs) else n
