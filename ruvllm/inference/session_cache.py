"""Conversations that the runtime keeps warm: a prompt goes on from the one that starts like it."""

from __future__ import annotations

import threading

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
        self._lock = threading.Lock()

    def take(self, prompt: Ids) -> RuntimeSession:
        """Return a session that holds the longest known beginning of `prompt`, but its last token.

        A conversation that goes on is taken as it is. Where another one only starts alike (the same instructions), its
        beginning is copied, so that it can go on too.
        """
        with self._lock:
            shared = [_shared_length(session.tokens(), prompt) for session in self._idle]
            best = max(range(len(shared)), key=shared.__getitem__, default=None)
            if best is None or shared[best] == 0:
                return self._model.session(context_tokens=self._context_tokens, kv=self.kv)
            length = min(shared[best], len(prompt) - 1)
            session = self._idle[best]
            if 2 * shared[best] < session.length:  # most of it belongs to something else
                return session.fork(length)
            del self._idle[best]
        session.cut(length)
        return session

    def give(self, session: RuntimeSession) -> None:
        """Keep a session for the prompt that goes on from it; the least recently used ones make room."""
        with self._lock:
            self._idle.append(session)
            while self._idle and sum(one.nbytes() for one in self._idle) > self._budget_bytes:
                del self._idle[0]

    def nbytes(self) -> int:
        """Return the memory of the idle sessions."""
        with self._lock:
            return sum(session.nbytes() for session in self._idle)

    def clear(self) -> None:
        """Forget all idle sessions."""
        with self._lock:
            self._idle.clear()


def _shared_length(a: Ids, b: Ids) -> int:
    n = min(len(a), len(b))
    differs = np.flatnonzero(a[:n] != b[:n])
    return int(differs[0]) if len(differs) else n
