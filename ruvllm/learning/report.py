"""What was learnt, when and on how much, what the gates said, and what is in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ruvllm.checkpoints import Checkpoints, Saved
from ruvllm.memory import Memory
from ruvllm.memory.jobs import JobState

__all__ = ["LearnHistory", "Learnt", "learn_history"]


@dataclass(frozen=True, slots=True)
class Learnt:
    """One training that came to a gate, or what was put in force without one.

    Attributes:
        name: of what was trained: attention, router, judge.
        version: its number; None where it was discarded.
        at: seconds since 1970.
        examples: that it learnt from; None where nobody said.
        before_loss, loss: on examples that the training never saw, of what was compared with and of what was learnt.
        reason: why it was discarded, "" where it was not, or where nobody said.
    """

    name: str
    version: int | None
    at: float
    examples: int | None
    before_loss: float | None
    loss: float | None
    state: Literal["in force", "earlier", "taken back", "discarded"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LearnHistory:
    """All versions on disk and the newest discarded trainings, the oldest first by name, and the jobs of the brain."""

    learnt: tuple[Learnt, ...]
    jobs: tuple[JobState, ...]


def learn_history(memory: Memory) -> LearnHistory:
    """Return the history of everything that has versions in the brain."""
    folder, found = memory.path / "checkpoints", []
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    jobs = memory.jobs()
    for name in dict.fromkeys([*names, *(job.name for job in jobs)]):
        found += _versions(name, Checkpoints(folder / name, form="").history())
        for one in memory.job_table.attempts(name):
            if isinstance(one.report, dict) and _was_discarded(one.report):
                found.append(_discarded(name, one.at, one.report))
    found.sort(key=lambda one: (one.name, one.at))
    return LearnHistory(tuple(found), jobs)


def _versions(name: str, saved: Sequence[Saved]) -> list[Learnt]:
    taken_back = _taken_back(saved)
    return [
        Learnt(
            name,
            one.version,
            one.at,
            *_gate(one.about.get("report", one.about)),
            "in force" if one.in_force else "taken back" if one.version in taken_back else "earlier",
        )
        for one in saved
    ]


def _taken_back(saved: Sequence[Saved]) -> set[int]:
    """Return the versions after the one in force, and those that one which led to it came in the place of."""
    before = {one.version: one.before for one in saved}
    gone, last = set(before), max((one.version for one in saved if one.in_force), default=0)
    while last in gone:
        gone.remove(last)
        last = before[last]
    return {version for version in gone if version > last}


def _discarded(name: str, at: float, report: Mapping[str, Any]) -> Learnt:
    return Learnt(name, None, at, *_gate(report), "discarded", str(report.get("reason", "")))


def _was_discarded(report: Mapping[str, Any]) -> bool:
    """Return whether a training came to a gate and no further."""
    return report.get("accepted") is False and report.get("loss") is not None


def _gate(said: Mapping[str, Any]) -> tuple[int | None, float | None, float | None]:
    """Return examples, loss of what was compared with, and loss, of a report of attention, router or judge."""
    return (
        said.get("examples", said.get("turns")),
        said.get("before_loss", said.get("untrained_loss")),
        said.get("loss"),
    )
