"""One embedder from the encoding of a text to what is done with its vector, also while a brain moves to another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from ruvllm.memory.lock import ReadWriteLock

if TYPE_CHECKING:
    from ruvllm.memory.derived import Derived

__all__ = ["EmbedderLock", "with_one_embedder"]

P = ParamSpec("P")
T = TypeVar("T")


class EmbedderLock:
    """Many who use the embedder, or one who changes it; a thread that holds the lock may take it again to use it."""

    def __init__(self) -> None:
        self._lock = ReadWriteLock()
        self._own = threading.local()

    @contextmanager
    def using(self) -> Iterator[None]:
        """Hold the embedder as it is."""
        if getattr(self._own, "is_held", False):
            yield
            return
        with self._lock.reading(), self._held():
            yield

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Wait until nobody uses the embedder, and let nobody else use it."""
        with self._lock.writing(), self._held():
            yield

    @contextmanager
    def _held(self) -> Iterator[None]:
        self._own.is_held = True
        try:
            yield
        finally:
            self._own.is_held = False


class _HasDerived(Protocol):
    _derived: Derived


S = TypeVar("S", bound=_HasDerived)


def with_one_embedder(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Let the brain not move to another embedder while the method runs."""

    @wraps(method)
    def held(self: S, /, *args: P.args, **options: P.kwargs) -> T:
        with self._derived.embedder_lock.using():
            return method(self, *args, **options)

    return held
