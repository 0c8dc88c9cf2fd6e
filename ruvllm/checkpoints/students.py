"""The registry of a brain's students: added, moved from step to step, promoted, rolled back."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from ruvllm.checkpoints.ledger import Added, Ledger, Moved
from ruvllm.checkpoints.signing import SignedLog, flush_folder, local_key
from ruvllm.checkpoints.student import NEXT, STEPS, Move, Serving, Step, Student
from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.models.card import CARD_FILE, read_card, sha256_of, verify

__all__ = ["Students", "students_of"]

KEPT = 3  # students of a tier that were retired last, beside those that a rollback may come to: each has some 100 MB
DEATHS = 2  # of processes that load a student, one after another: one may have another cause

_EDITION = re.compile(r"-ruv-edition-v\d+$")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


class Students:
    """The students of one brain, in one folder that the first `add` makes. Safe from several threads and processes.

    The folder holds a directory for each student and `log.jsonl`, which is never rewritten: what a student is follows
    from its lines (see `SignedLog`). A change counts once its line is on disk; what a crash leaves beside it is
    cleared away by the next `add`, and so are the files of all but the last `KEPT` of a tier that were retired and
    would not answer after any rollback. The log keeps them.

    Args:
        folder: of these alone.
        key: signs the log; the user's own, see `local_key`, when None.
        look_every_s: how soon `version`, `all` and `serving` see what other processes change; 0 looks each time, which
            costs a call of the system. What is changed through this object, and all else, is seen at once.
    """

    def __init__(self, folder: Path, *, key: bytes | None = None, look_every_s: float = 0.0) -> None:
        self.folder = folder
        self._look_every_s = look_every_s
        self._look_at = 0.0  # by the monotonic clock, the next time
        self._log = SignedLog(folder / "log.jsonl", local_key if key is None else lambda: key)
        self._known: tuple[object, Ledger] = (None, Ledger(folder))
        self._reading = threading.Lock()

    # -- reading -----------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """A number that grows with every change, 0 while there is nothing."""
        return self._seen().lines

    def all(self, tier: str | None = None) -> tuple[Student, ...]:
        """Return all students, or those of a tier, the oldest first.

        Raises:
            RegistryDamaged: the log was changed by hand, or was signed by another key; so does everything else here.
        """
        return tuple(one for one in self._seen().students.values() if tier in (None, one.tier))

    def get(self, student: str) -> Student:
        """Return a student by its id or its name.

        Raises:
            ValueError: there is none.
        """
        return _found(self._book(), student)

    def serving(self, tier: str) -> Serving:
        """Return who answers for a tier now."""
        return self._seen().serving(tier)

    def history(self) -> tuple[Move, ...]:
        """Return everything that happened, the oldest first."""
        return tuple(self._book().moves)

    def require_whole(self, student: Student) -> Path:
        """Return a student's directory after reading every byte of it.

        Raises:
            ModelDamaged: a file is missing or is not the one that was added.
        """
        for name, sha256 in student.files.items():
            file = student.path / name
            if not file.is_file():
                raise ModelDamaged(f"{student.name} is damaged: {name} is missing", model=student.name)
            if (found := sha256_of(file)) != sha256:
                what = f"{name} has sha256 {found}, recorded {sha256}"
                raise ModelDamaged(f"{student.name} was changed since it was added: {what}", model=student.name)
        return student.path

    @contextmanager
    def loading(self, student: Student) -> Iterator[None]:
        """Keep a note on disk while the body loads a student; a process that dies of it leaves the note behind.

        Raises:
            ModelDamaged: that many processes in a row died of it (`DEATHS`); the body does not run.
        """
        note = self.folder / f"loading-{student.id}"
        deaths = _deaths(note)
        if deaths >= DEATHS:
            note.unlink(missing_ok=True)
            raise ModelDamaged(f"{deaths} processes ended while they loaded {student.name}", model=student.name)
        with suppress(OSError):  # a folder that cannot be written keeps no notes
            note.write_text(f"{deaths + 1} {os.getpid()}", encoding="ascii")
        try:
            yield
        finally:
            with suppress(OSError):
                note.unlink(missing_ok=True)

    # -- writing -----------------------------------------------------------------------------------------------------

    def add(self, model_dir: Path, *, base: str, tier: str, about: Mapping[str, Any] | None = None) -> Student:
        """Copy a converted model into the registry and return it as a trained student; durable on return.

        The same files twice are one student, for one tier. It is named after its family or base: LFM2-ruv-edition-v1,
        -v2, ...

        Args:
            model_dir: a directory with a card, as `pull` and `convert` make it.
            base: what it was trained from.
            tier: the model whose questions it is to answer, as in models.tiers.
            about: what JSON can say of how it came about: curriculum, options, losses.

        Raises:
            ModelDamaged, ModelUnsupported: a file is not what the card says; it is no model that answers.
            ValueError: `base` or `tier` is empty, `tier` is an endpoint, or these files are a student of another tier.
            OSError: the disk is full or fails; nothing of this is left.
        """
        for name, value in (("base", base), ("tier", tier)):
            if not value.strip():
                raise ValueError(f"{name} must not be empty")
        if "://" in tier:
            raise ValueError("tier must be a local model, not an endpoint")
        card = read_card(model_dir)
        if card.task != "generate":
            raise ModelUnsupported(f"{model_dir} is made to {card.task}, not to generate", model=model_dir.name)
        if problems := verify(model_dir):
            raise ModelDamaged(f"{model_dir} is damaged: {problems[0]}", model=model_dir.name)
        prefix = "LFM2" if card.family == "lfm2" else _EDITION.sub("", _NOT_IN_NAMES.sub("-", Path(base).name))
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked(".adding.lock"):
            part = self._copied(model_dir, [*card.files, CARD_FILE])
            try:
                files = {file.name: sha256_of(file) for file in sorted(part.iterdir())}
                id = hashlib.sha256("".join(f"{name} {sha}\n" for name, sha in files.items()).encode()).hexdigest()[:12]
                with self._locked("lock"):
                    book = self._book()
                    if (same := book.students.get(id)) is not None:
                        if same.tier != tier:
                            raise ValueError(
                                f"tier: these files are {same.name}, a student for {same.tier!r} ({tier!r})"
                            )
                        if not _has_files(same):
                            shutil.rmtree(same.path, ignore_errors=True)
                            os.replace(part, same.path)
                            flush_folder(self.folder)
                        return same
                    name = _next_name(f"{prefix.strip('-.') or 'model'}-ruv-edition-v", book)
                    os.replace(part, self.folder / name)
                    flush_folder(self.folder)
                    line = Added(
                        at=time.time(), id=id, name=name, tier=tier, base=base, files=files, about=dict(about or {})
                    )
                    return self._append(line).students[id]
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def move(self, student: str, to: Step, *, why: str = "", evidence: Mapping[str, Any] | None = None) -> Student:
        """Take a student to its next step and return it; durable on return.

        trained -> validated -> shadow -> canary -> promoted, or from any but the last -> retired, and from there ->
        validated again. Who is promoted retires the one before; see `rollback` for the way back.

        Args:
            student: id or name.
            why: for the history. evidence: what JSON can say of it; needed for "validated".

        Raises:
            ValueError: there is no such student or step, this one cannot come next, another student of the tier is on
                trial, or `evidence` is missing.
            ModelDamaged: it is to be validated again, and its files were cleared away meanwhile; `add` them again.
        """
        if to not in STEPS:
            raise ValueError(f"to must be one of {', '.join(STEPS)} ({to!r})")
        if to == "validated" and not evidence:
            raise ValueError("evidence must say how the student was validated")
        with self._writing() as book:
            one = _found(book, student)
            if to not in NEXT[one.step]:
                allowed = " or ".join(NEXT[one.step]) or "nothing; `rollback` ends it"
                raise ValueError(f"to: {one.name} is {one.step}, next may come {allowed} ({to!r})")
            if one.step == "retired" and not _has_files(one):
                raise ModelDamaged(f"{one.name} was retired and its files cleared away: add them again", model=one.name)
            serving = book.serving(one.tier)
            if to == "shadow" and serving.trial is not None:
                raise ValueError(f"to: {serving.trial.name} is on trial for {one.tier} already")
            steps: dict[str, Step] = {one.id: to}
            if to == "promoted" and serving.promoted is not None:
                steps[serving.promoted.id] = "retired"
            line = Moved(at=time.time(), steps=steps, why=why, evidence=dict(evidence or {}))
            return self._append(line).students[one.id]

    def promote(self, student: str, *, why: str = "", evidence: Mapping[str, Any] | None = None) -> Student:
        """Let a student that is on trial answer for its tier, and return it; as `move` to "promoted"."""
        return self.move(student, "promoted", why=why, evidence=evidence)

    def rollback(
        self, tier: str, *, why: str = "", evidence: Mapping[str, Any] | None = None, of: str | None = None
    ) -> Student | None:
        """Retire the student that answers for a tier; return the one before, which answers again, None for the base.

        Args:
            of: id of the student that is meant; nothing happens where another one answers by now.

        Raises:
            ValueError: no student answers for it.
        """
        with self._writing() as book:
            stack = book.in_force.get(tier, [])
            if of is not None and stack[-1:] != [of]:
                return book.serving(tier).promoted
            if not stack:
                raise ValueError(f"tier: no student answers for {tier!r}")
            steps: dict[str, Step] = {stack[-1]: "retired"}
            if len(stack) > 1:
                steps[stack[-2]] = "promoted"
            line = Moved(at=time.time(), steps=steps, is_rollback=True, why=why, evidence=dict(evidence or {}))
            return self._append(line).serving(tier).promoted

    def _append(self, line: Added | Moved) -> Ledger:
        """Write a line and return what the log says then. The lock is held."""
        self._log.append(msgspec.json.encode(line))
        return self._book()

    def _copied(self, model_dir: Path, names: list[str]) -> Path:
        """Return a copy of a model, flushed to the disk, where no name of a student points. The adding lock is held."""
        with self._locked("lock"):  # nobody validates again what is being cleared away
            kept = {self.folder / one.name for one in _kept(self._book())}
            left = [path for path in self.folder.iterdir() if path.is_dir() and path not in kept]
            for path in left:  # of those, and of a process that ended before its line was written
                if not path.samefile(model_dir):
                    shutil.rmtree(path, ignore_errors=True)
        part = self.folder / ".adding"
        part.mkdir()
        try:
            for name in names:
                shutil.copyfile(model_dir / name, part / name)
                with (part / name).open("rb+") as stream:
                    os.fsync(stream.fileno())
            flush_folder(part)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        return part

    def _seen(self) -> Ledger:
        """Return what the log said at the last look, which is not too long ago."""
        if time.monotonic() < self._look_at:
            return self._known[1]
        book = self._book()
        self._look_at = time.monotonic() + self._look_every_s
        return book

    def _book(self) -> Ledger:
        stamp = self._log.stamp()
        known, book = self._known
        if stamp == known:
            return book
        with self._reading:
            stamp, book = self._log.stamp(), Ledger(self.folder)
            for said in self._log.read():
                book.add(msgspec.json.decode(said, type=Added | Moved))
            self._known = stamp, book
        return book

    @contextmanager
    def _writing(self) -> Iterator[Ledger]:
        if not self.folder.is_dir():
            yield Ledger(self.folder)  # nothing is there, and nothing will be found
            return
        with self._locked("lock"):
            yield self._book()

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        from filelock import FileLock

        with FileLock(self.folder / name):
            yield


def students_of(brain: Path, *, look_every_s: float = 0.0) -> Students:
    """Return the registry of the students of a brain."""
    return Students(brain / "checkpoints" / "students", look_every_s=look_every_s)


def _deaths(note: Path) -> int:
    """Return how many processes in a row ended while they loaded a student, by the note that they left."""
    try:
        loads, pid = map(int, note.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return loads
    except (OSError, OverflowError):
        pass  # it is there, and somebody else's
    return loads if pid == os.getpid() else loads - 1


def _kept(book: Ledger) -> Iterator[Student]:
    """Yield the students whose files may still be wanted."""
    answered = {id for stack in book.in_force.values() for id in stack}
    retired: Counter[str] = Counter()  # by tier
    for one in sorted(book.students.values(), key=lambda one: one.since, reverse=True):
        is_over = one.step == "retired" and one.id not in answered
        retired[one.tier] += is_over
        if not is_over or retired[one.tier] <= KEPT:
            yield one


def _has_files(one: Student) -> bool:
    return all((one.path / name).is_file() for name in one.files)


def _found(book: Ledger, student: str) -> Student:
    named = {one.name: one for one in book.students.values()}
    found = book.students.get(student) or named.get(student)
    if found is None:
        known = f"there are {', '.join(named)}" if named else "there are none yet"
        raise ValueError(f"student: {student!r} is not known; {known}")
    return found


def _next_name(prefix: str, book: Ledger) -> str:
    numbers = [one.name.removeprefix(prefix) for one in book.students.values() if one.name.startswith(prefix)]
    return f"{prefix}{max((int(number) for number in numbers if number.isdecimal()), default=0) + 1}"
