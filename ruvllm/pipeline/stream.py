"""An answer as its caller sees it: text first, then the response."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError

from ruvllm.closing import Closes
from ruvllm.types import Response

__all__ = ["AnswerStream"]


class AnswerStream(Closes, Iterator[str]):
    """An answer as it is written: iterate for text, then read `response`. `close()` stops the model.

    `response.text` is what counts: where the reader turned out to be unsure of what was streamed, it is the nearest
    passage instead (`finish_reason` "extract"), and the streamed text is `response.draft`. Threads may take turns.

    Args:
        stop: lets the step end that another thread is in when this is closed.
    """

    def __init__(self, steps: Generator[str, None, Response], *, stop: Callable[[], None] = lambda: None) -> None:
        self._steps = steps
        self._stop = stop
        self._stepping = threading.RLock()
        self._is_closed = False
        self._response: Response | None = None

    def __next__(self) -> str:
        with self._stepping:
            try:
                return next(self._steps)
            except StopIteration as stop:
                if stop.value is not None:
                    self._response = stop.value
                raise StopIteration from None
            except CancelledError:
                if not self._is_closed:
                    raise
                raise StopIteration from None

    @property
    def response(self) -> Response:
        """The finished response; what is left of the text is generated first."""
        for _ in self:
            pass
        if self._response is None:
            raise RuntimeError("the stream was closed before its answer was finished")
        return self._response

    def close(self) -> None:
        """Stop generating; nothing is recorded. Ends the step that another thread is in. May be called twice."""
        self._is_closed = True
        self._stop()
        with self._stepping:
            self._steps.close()
