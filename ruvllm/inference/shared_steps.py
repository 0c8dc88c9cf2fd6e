"""Passes over a model's weights, shared by the streams that need one at the same time."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from ruvllm.kernels import RuntimeModel, RuntimeSession

__all__ = ["SharedSteps"]

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass(eq=False, slots=True)
class _Step:
    """Tokens that wait to be appended to a session."""

    session: RuntimeSession
    ids: Ids
    before: int  # tokens of the session
    tail: int  # last tokens whose logits are wanted, beside those that the session keeps
    logits: Floats | None = None
    is_done: bool = False
    error: Exception | None = None


class SharedSteps:
    """Whoever finds the model free takes what the others wait for along. Safe to share between threads."""

    def __init__(self, model: RuntimeModel) -> None:
        self._model = model
        self._waiting: list[_Step] = []
        self._is_running = False
        self._changed = threading.Condition()

    @overload
    def advance(self, session: RuntimeSession, ids: Ids) -> None: ...
    @overload
    def advance(self, session: RuntimeSession, ids: Ids, *, tail: int) -> Floats: ...
    def advance(self, session: RuntimeSession, ids: Ids, *, tail: int = 0) -> Floats | None:
        """Append `ids` to `session`; returns when that is done, in a pass of this thread or another's.

        An interrupted caller leaves nothing behind: when this raises, no pass uses the session any more.

        Args:
            tail: how many of the last ids to return the logits after, (tail, vocab_size); None for 0.

        Raises:
            MemoryError, RuntimeError, ValueError: see `RuntimeModel.advance`; what fails one stream fails no other.
        """
        step = _Step(session, ids, session.length, tail)
        steps: list[_Step] = []
        try:
            with self._changed:
                self._waiting.append(step)
                while self._is_running and not step.is_done:
                    self._changed.wait()
                if not step.is_done:
                    steps, self._waiting, self._is_running = self._waiting, [], True
            if steps:
                self._run(steps)
        finally:
            self._leave(step, steps)
        if step.error is not None:
            raise step.error
        return step.logits

    def _run(self, steps: list[_Step]) -> None:
        try:
            self._pass(steps)
            for step in steps:
                step.is_done = True
        except Exception as error:
            if len(steps) == 1:
                steps[0].error, steps[0].is_done = error, True
            else:  # each for itself: memory may suffice for some, and a mistake is one stream's own
                for step in steps:
                    self._run([step])

    def _pass(self, steps: list[_Step]) -> None:
        sessions, ids = [step.session for step in steps], [step.ids for step in steps]
        if not any(step.tail for step in steps):
            self._model.advance(sessions, ids)
            return
        tails = [max(step.tail, 1) for step in steps]
        logits = self._model.advance(sessions, ids, tails=tails)
        for step, rows in zip(steps, np.split(logits, np.cumsum(tails)[:-1]), strict=True):
            step.logits = rows if step.tail else None

    def _leave(self, step: _Step, steps: list[_Step]) -> None:
        """End this thread's part: what it took and did not run waits again, what others run of it is waited for."""
        with self._changed:
            if steps:
                for one in steps:  # an interrupt may have come between the pass and the note that it is done
                    one.is_done = one.is_done or one.session.length > one.before
                self._waiting[:0] = [other for other in steps if not other.is_done and other is not step]
                self._is_running = False
                self._changed.notify_all()
            elif step in self._waiting:
                self._waiting.remove(step)
            else:
                while not step.is_done:
                    self._changed.wait()
