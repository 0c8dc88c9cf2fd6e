"""The conversations of a system."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ruvllm.memory import Session
from ruvllm.memory.rows import checked_name
from ruvllm.system.parts import Parts, never
from ruvllm.types import (
    Turn,
)

if TYPE_CHECKING:
    pass

__all__ = ["Sessions"]

DAY_S = 86_400.0


class Sessions(Parts):
    """Conversations: made, listed, read, deleted, expired."""

    def new_session(self, name: str | None = None) -> str:
        """Keep a session that has no turns yet, and return its name; a name that nobody has when None.

        A session needs no making: `ask` with a name begins or resumes it. This finds a free name, or keeps one.

        Raises:
            ValueError: there is a session of this name already.
        """
        return self.memory.new_session(name)

    def sessions(self) -> list[Session]:
        """Return the sessions of this namespace, the one used last first."""
        return self.memory.sessions()

    def history(self, session: str, limit: int = 20) -> list[Turn]:
        """Return the newest `limit` turns of a session, oldest first; none of a session that is not there."""
        return self.memory.turns(session, limit)

    def delete_session(self, name: str) -> int:
        """Delete a session for good, once its running request has ended; return how many nodes went.

        What was promoted or corrected is everybody's and stays, see `Memory.delete_session`.

        Raises:
            ValueError: there is no such session.
            TimeoutError: a request of it did not end within generation.timeout_s.
        """
        self.memory.require_writable()
        checked_name(name, "name")
        with self._pipeline.sessions.turn(name, cancelled=never, timeout_s=self.config.generation.timeout_s):
            return self._delete_session(name)

    def _delete_session(self, name: str) -> int:
        gone = self.memory.delete_session(name)
        if self._pipeline.cache is not None:
            self._pipeline.cache.clear()
        if self._router is not None:
            self._router.forget()
        return gone

    def expire_sessions(self) -> int:
        """Delete what was not used for sessions.max_idle_days; return how many sessions went, those in use never."""
        self.memory.require_writable()
        if not self.config.sessions.max_idle_days:
            return 0
        before, gone = time.time() - self.config.sessions.max_idle_days * DAY_S, 0
        for session in self.memory.sessions():
            if session.last_used < before:
                with suppress(TimeoutError, RuntimeError, ValueError):  # in use, or deleted by somebody else
                    gone += self._expire(session.name, before)
        return gone

    def _expire(self, name: str, before: float) -> bool:
        with self._pipeline.sessions.turn(name, cancelled=never, timeout_s=0.0):
            newest = self.memory.turns(name, 1)
            if newest and newest[0].created >= before:
                return False
            self._delete_session(name)
            return True
