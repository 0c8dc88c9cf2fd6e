"""Work at the lowest priority: the system runs it where nobody else wants the processor."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["at_idle_priority", "become_idle"]

logger = logging.getLogger(__name__)
T = TypeVar("T")


def at_idle_priority(work: Callable[[], T]) -> T:
    """Run `work` in a thread of its own at idle priority, wait for it, and return or raise what it does.

    A thread of its own, because none can raise its priority again without privileges, and because threads inherit it:
    what opens a model, whose threads stay, must not run here. Where threads have no such priority (outside Linux), it
    is the normal one.
    """
    done: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        become_idle()
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="ruvllm-idle", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    value: T = done[0]
    return value


def become_idle() -> None:
    """Give the calling thread, and those that it starts from now on, idle priority, for good; needs Linux."""
    if not hasattr(os, "SCHED_IDLE"):
        return
    try:
        os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))
    except OSError as error:  # a sandbox may forbid it
        logger.info("background work runs at normal priority: %s", error)
