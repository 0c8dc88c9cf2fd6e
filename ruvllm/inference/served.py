"""Which students answer for which tiers, as serving sees it: a registry that cannot be read serves none."""

from __future__ import annotations

import logging

from ruvllm.checkpoints import Serving, Student, Students
from ruvllm.errors import RegistryDamaged

__all__ = ["Served"]

logger = logging.getLogger(__name__)


class Served:
    """The registry of one brain for those who answer requests: nothing here raises. Safe to share between threads."""

    def __init__(self, students: Students) -> None:
        self.students = students
        self._broken: set[tuple[str, int]] = set()  # id and since, of what could not be loaded
        self._is_warned = False

    @property
    def version(self) -> int:
        """A number that changes when another model may answer, 0 while there are no students."""
        try:
            return self.students.version
        except (RegistryDamaged, OSError, ValueError):
            return -1

    def serving(self, tier: str) -> Serving:
        """Return who answers for a tier now, without those that could not be loaded."""
        try:
            serving = self.students.serving(tier)
        except (RegistryDamaged, OSError, ValueError) as error:
            if not self._is_warned:
                logger.error("no student answers: %s", error)
            self._is_warned = True
            return Serving()
        if not self._broken:
            return serving
        return Serving(self._sound(serving.promoted), self._sound(serving.trial))

    def id_of(self, name: str) -> str:
        """Return the id of the student of this name, "" where there is none."""
        if self.version <= 0:
            return ""
        return next((one.id for one in self.students.all() if one.name == name), "")

    def cannot_load(self, student: Student, why: str) -> None:
        """Retire a student that cannot be loaded; where that cannot be kept, this process serves it no more."""
        self._broken.add((student.id, student.since))
        logger.error("%s is retired: %s", student.name, why)
        try:
            if student.phase:
                self.students.move(student.id, "retired", why=f"load_failure: {why}")
            else:
                self.students.rollback(student.tier, why=f"load_failure: {why}", of=student.id)
        except (RegistryDamaged, OSError, ValueError) as error:  # somebody else was faster, or it cannot be written
            logger.info("the registry keeps %s as it is: %s", student.name, error)

    def _sound(self, student: Student | None) -> Student | None:
        return None if student is None or (student.id, student.since) in self._broken else student
