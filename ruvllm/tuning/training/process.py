"""A training as a process of its own, which takes what processor time others leave, and when a brain starts one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from ruvllm.config import TrainingConfig
from ruvllm.memory.jobs import JobTable
from ruvllm.priority import become_idle

__all__ = ["JOB", "at_low_priority", "every_s", "set_schedule", "start_apart"]

JOB = "tuning"
LOG = "tuning.log"
NICE = 19
EVERY_S = {"daily": 86_400.0, "weekly": 7 * 86_400.0, "off": None}


def at_low_priority() -> None:
    """Take only what other processes leave from now on.

    Where Linux shares processors between sessions and not between processes, a priority ranks only within a session: a
    process that leads one of its own ranks that one, too.
    """
    become_idle()  # who wakes up need not wait for it, as beside a nice process
    if not hasattr(os, "nice"):
        return
    os.nice(max(0, NICE - os.nice(0)))
    group = Path("/proc/self/autogroup")
    if os.getsid(0) == os.getpid() and group.is_file():
        with suppress(OSError):  # a sandbox may forbid it
            group.write_text(str(NICE))


def every_s(table: JobTable, config: TrainingConfig) -> float | None:
    """Return how often a brain is to be tuned: as `set_schedule` said, else as the configuration says; None: never."""
    return EVERY_S[table.said(JOB) or config.schedule]


def set_schedule(table: JobTable, schedule: Literal["daily", "weekly", "off"]) -> None:
    """Keep in the brain how often it is to be tuned; durable on return, and in force from its next opening on."""
    table.say(JOB, schedule)


def start_apart(brain: Path) -> dict[str, Any]:
    """Start `ruvllm tune` on a brain and return at once, {pid, log}; what it prints goes to the log.

    It goes on with what an earlier one left. Two at once are harmless: the second one ends with an error.
    """
    log = brain / LOG
    command = [sys.executable, "-P", "-m", "ruvllm", "tune", str(brain.absolute()), "--resume", "--json"]
    with log.open("ab") as stream:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
        )
    threading.Thread(target=child.wait, name=f"ruvllm-tuning-{child.pid}", daemon=True).start()  # leaves no zombie
    return {"pid": child.pid, "log": str(log)}
