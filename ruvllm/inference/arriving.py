"""What an endpoint sends, waited for only as long as somebody wants it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from contextlib import closing, suppress
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["Line", "arriving"]

POLL_S = 0.05  # how soon it is noticed that nobody wants more

Item = TypeVar("Item")


class Line:
    """The connection of one request, which a thread may cut while another waits for what it brings."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.is_cut = False

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Take hold of the connection once there is one, whatever is spoken over it; httpx's extension "trace".

        Raises:
            OSError: too many files are open.
        """
        if not event.endswith(".connect_tcp.complete"):
            return
        stream = info["return_value"]
        with self._lock:
            self._let_go()
            try:
                self._socket = stream.get_extra_info("socket").dup()  # TLS takes the socket itself away
            except OSError:
                stream.close()
                raise
            if self.is_cut:
                self._let_go()

    def cut(self) -> None:
        """End the connection, now or as soon as there is one: whoever waits for it finds it closed."""
        with self._lock:
            self.is_cut = True
            self._let_go()

    def _let_go(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it has ended
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._socket = None


def arriving(
    items: Generator[Item, None, None], line: Line, is_wanted: Callable[[], bool]
) -> Generator[Item, None, None]:
    """Yield `items` as they come over `line`, until nobody wants more; the line is cut at the end.

    They are made on a thread of their own, one at a time, so that neither a name that is not found nor a header that
    comes byte by byte holds whoever waits for longer than 50 ms.
    """
    asked: SimpleQueue[Future[Item | None] | None] = SimpleQueue()

    def make() -> None:
        with closing(items):
            while (coming := asked.get()) is not None:
                try:
                    coming.set_result(next(items, None))
                except BaseException as error:
                    coming.set_exception(error)

    threading.Thread(target=make, name="ruvllm-endpoint", daemon=True).start()
    try:
        while is_wanted():
            coming: Future[Item | None] = Future()
            asked.put(coming)
            while not wait((coming,), POLL_S).done:
                if not is_wanted():
                    return
            item = coming.result()
            if item is None:
                return
            yield item
    finally:
        line.cut()
        asked.put(None)
