"""The students of a system: on trial, promoted, rolled back."""

from __future__ import annotations

from ruvllm.checkpoints import Student
from ruvllm.memory.rows import checked_text
from ruvllm.system.parts import Parts
from ruvllm.tuning.rollout.report import RolloutReport
from ruvllm.tuning.rollout.trials import TrialStatus, start_trial, trial_report

__all__ = ["LOOK_S", "HasStudents"]

LOOK_S = 0.05  # how soon a serving process sees what others change


class HasStudents(Parts):
    """Lets students take the place of models; `students` is their registry.

    What the registry says counts from the next request on, after `LOOK_S` where another process changed it; requests
    that run finish on the model they began with.
    """

    def start_trial(self, student: str, *, why: str = "") -> Student:
        """Let a validated student answer in the shadow of its tier, and return it; what follows, its answers decide.

        Raises:
            TypeError, ValueError: it is not known, not validated or of no tier here, another one is on trial for its
                tier, or answers are not judged.
        """
        return start_trial(self.students, checked_text(student, "student"), self.config, why=_reason(why))

    def rollback_student(self, tier: str | None = None, *, why: str = "") -> Student | None:
        """Retire the student that answers for a tier, the default one when None; return who answers now, None for the
        tier's own model.

        Raises:
            TypeError, ValueError: no student answers for it.
        """
        name = self.config.generation.model if tier is None else checked_text(tier, "tier")
        return self.students.rollback(name, why=_reason(why))

    def rollout(self) -> tuple[TrialStatus, ...]:
        """Return where the trials stand, one for each tier that has one."""
        found = (self._trials.status(tier) for tier in self.pool.tiers)
        return tuple(status for status in found if status is not None)

    def rollout_report(self, student: str) -> RolloutReport:
        """Return how the trial of a student came to where it is, request by request; also when it has ended.

        Raises:
            TypeError, ValueError: there is no such student, or it was never on trial.
        """
        checked_text(student, "student")
        self._trials.flush()
        return trial_report(self.students, student, self.memory.trial_table, self.config.rollout)


def _reason(why: str) -> str:
    """Return why something is done, for the history; nothing need be said."""
    return checked_text(why, "why") if why != "" else ""
