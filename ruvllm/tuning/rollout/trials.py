"""The trials of one brain: who takes part, what came of it, and what follows, at every request."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ruvllm.checkpoints import Phase, Serving, Step, Student, Students
from ruvllm.config import Config, RolloutConfig
from ruvllm.errors import RuvLLMError
from ruvllm.inference import Engine, ModelPool
from ruvllm.inference.served import Served
from ruvllm.memory.trials import TrialOutcome, TrialTable
from ruvllm.memory.writeback import WriteBack
from ruvllm.tuning.rollout.canary import is_treated, session_hash
from ruvllm.tuning.rollout.decision import ABDecision, Action
from ruvllm.tuning.rollout.outcomes import PhaseOutcomes, evidence_of
from ruvllm.tuning.rollout.report import RolloutReport, rollout_report
from ruvllm.tuning.rollout.shadow import Figures
from ruvllm.types import Request

__all__ = ["Arm", "TrialStatus", "Trials", "outcome_of", "start_trial", "trial_report", "trial_status"]

logger = logging.getLogger(__name__)

FLUSH_S = 0.2  # longest time an outcome waits for its commit, and what a crash can lose
FLUSH_BATCH = 256

_Key = tuple[str, int, str]  # a student, since when it is in its phase, and the control


@dataclass(frozen=True, slots=True)
class Arm:
    """The side of a trial that a request is on: the student's own, or that of whoever answers otherwise.

    `control` is the id of the student that does, "" for the tier's own model.
    """

    student: Student
    control: str
    is_treatment: bool


@dataclass(frozen=True, slots=True)
class TrialStatus:
    """Where a trial stands: against which student ("" the tier's own model), how many requests the student on trial
    answered in this phase, and what follows from them."""

    student: Student
    control: str
    requests: int
    decision: ABDecision


class Trials:
    """Says who answers a request while a student is on trial, and ends the trial. Safe to share between threads.

    Outcomes are put into the store off the caller's path, and every commit is followed by a look at what they prove:
    the student goes on, is promoted, or is retired, and the registry keeps why. A restart changes nothing.

    Args:
        pool: lends the students.
        config: shares, margins and the least number of requests.
        is_open: False where nothing can be written: then nobody takes part.
    """

    def __init__(
        self, served: Served, pool: ModelPool, table: TrialTable, config: RolloutConfig, *, is_open: bool = True
    ) -> None:
        self._served = served
        self._pool = pool
        self._table = table
        self._config = config
        self._is_open = is_open
        self._known: dict[str, tuple[_Key, PhaseOutcomes]] = {}  # by tier: of its newest phase alone
        self._lock = threading.Lock()
        self._queue = WriteBack[tuple[Arm, TrialOutcome]](self._commit, FLUSH_S, FLUSH_BATCH)

    # -- who takes part ----------------------------------------------------------------------------------------------

    def arm(self, tier: str, request: Request) -> Arm | None:
        """Return the side of the tier's trial that a request is on; None without a trial."""
        serving = self._served.serving(tier) if self._is_open else Serving()
        if serving.trial is None:
            return None
        control = serving.promoted.id if serving.promoted is not None else ""
        is_canary = serving.trial.phase == "canary"
        who = request.session or request.id
        treated = is_canary and is_treated(serving.trial.id, who, self._config.canary_share)
        return Arm(serving.trial, control, treated)

    def lend(
        self, student: Student, *, timeout_s: float | None, cancelled: Callable[[], bool]
    ) -> AbstractContextManager[Engine]:
        """Lend the engine of a student on trial; see `ModelPool.engine`."""
        return self._pool.engine(student.tier, timeout_s=timeout_s, trial=student, cancelled=cancelled)

    def models_for(self, request: Request) -> tuple[int, tuple[str, ...]]:
        """Return what is another value where other models may answer a request: an answer is given again only there."""
        version = self._served.version
        if version <= 0:
            return version, ()
        trials = (one.id for one in self._served.students.all() if one.phase == "canary")
        who = request.session or request.id
        return version, tuple(one for one in trials if is_treated(one, who, self._config.canary_share))

    def student_named(self, engine: str) -> str:
        """Return the id of the student that an engine of this name runs, "" where it runs none."""
        return self._served.id_of(engine)

    def goes_on(self, arm: Arm) -> bool:
        """Return whether a trial is still in the phase of an arm, with the same control."""
        serving = self._served.serving(arm.student.tier)
        control = serving.promoted.id if serving.promoted is not None else ""
        return serving.trial == arm.student and control == arm.control

    # -- what came of it ---------------------------------------------------------------------------------------------

    def answered(self, arm: Arm, request: Request, figures: Figures) -> None:
        """Keep how a request of the canary phase came out; returns at once."""
        if arm.student.phase == "canary":
            self._queue.put((arm, outcome_of(arm, request, figures, is_treatment=arm.is_treatment)))

    def compared(self, arm: Arm, request: Request, control: Figures, treatment: Figures) -> None:
        """Keep how both models did on a request of the shadow phase; durable on return."""
        pair = [
            outcome_of(arm, request, figures, is_treatment=is_treatment)
            for figures, is_treatment in ((control, False), (treatment, True))
        ]
        self._commit([(arm, one) for one in pair])

    def cannot_load(self, arm: Arm, why: str) -> None:
        """Retire a student on trial that cannot be loaded."""
        self._served.cannot_load(arm.student, why)

    def status(self, tier: str) -> TrialStatus | None:
        """Return where the trial of a tier stands; None without one."""
        self._queue.flush()
        return trial_status(self._served.serving(tier), self._table, self._config)

    def flush(self) -> None:
        """Wait until all that was answered is on disk, and what follows from it is done."""
        self._queue.flush()

    def close(self) -> None:
        """Drain the queue. May be called twice."""
        self._queue.close()

    # -- what follows ------------------------------------------------------------------------------------------------

    def _commit(self, group: Sequence[tuple[Arm, TrialOutcome]]) -> int:
        """Make outcomes durable and decide; return 0, the number of those that could not be stored."""
        with self._lock:
            arms = {_key(arm): arm for arm, _ in group}
            known = {key: self._outcomes(arm) for key, arm in arms.items()}  # before these are in the store
            self._table.write([outcome for _, outcome in group])
            for arm, outcome in group:
                known[_key(arm)].add([outcome])
            for key, arm in arms.items():
                if known[key].is_due and self.goes_on(arm):
                    self._follow(arm.student, known[key].decide(self._config))
        return 0

    def _outcomes(self, arm: Arm) -> PhaseOutcomes:
        """Return what is known of an arm's phase, read from the store at first. The lock is held."""
        key, tier = _key(arm), arm.student.tier
        if tier not in self._known or self._known[tier][0] != key:
            self._known[tier] = key, PhaseOutcomes(arm.student.phase, self._table.read(*key))
        return self._known[tier][1]

    def _follow(self, student: Student, decision: ABDecision) -> None:
        """Do with a student what was decided; where somebody was faster, that holds."""
        if decision.action == Action.CONTINUE:
            return
        after: Step = "canary" if student.phase == "shadow" else "promoted"
        to: Step = after if decision.action == Action.PROMOTE else "retired"
        why = f"{decision.action}: {', '.join(decision.reasons())}"
        try:
            self._served.students.move(student.id, to, why=why, evidence=evidence_of(decision))
            logger.info("%s is %s: %s", student.name, to, why)
        except (RuvLLMError, ValueError, OSError) as error:
            logger.warning("%s stays as it is: %s", student.name, error)


def start_trial(students: Students, student: str, config: Config, *, why: str = "") -> Student:
    """Put a validated student on trial for its tier, in the shadow first, and return it.

    Raises:
        ValueError: it is not known, not validated or of no tier here, another one is on trial for its tier, or answers
            are not judged.
    """
    one, tiers = students.get(student), config.models.tiers or (config.generation.model,)
    if one.tier not in tiers:
        raise ValueError(f"student: {one.name} is for {one.tier}, the tiers are {', '.join(tiers)}")
    if not config.judge.enabled:
        raise ValueError("judge.enabled must be true for a trial: it compares how good answers are")
    return students.move(one.id, "shadow", why=why)


def trial_status(serving: Serving, table: TrialTable, config: RolloutConfig) -> TrialStatus | None:
    """Return where the trial of a tier stands by what the store has; None without one."""
    if serving.trial is None:
        return None
    control = serving.promoted.id if serving.promoted is not None else ""
    known = PhaseOutcomes(serving.trial.phase, table.read(serving.trial.id, serving.trial.since, control))
    return TrialStatus(serving.trial, control, len(known), known.decide(config))


def _key(arm: Arm) -> _Key:
    return arm.student.id, arm.student.since, arm.control


def trial_report(students: Students, student: str, table: TrialTable, config: RolloutConfig) -> RolloutReport:
    """Return how the last trial of a student came to where it is, request by request.

    Raises:
        ValueError: there is no such student, or it was never on trial.
    """
    one = students.get(student)
    began = {move.after: move.line for move in students.history() if move.id == one.id}  # the last time
    if "shadow" not in began:
        raise ValueError(f"student: {one.name} was never on trial")

    def outcomes(phase: Phase, since: int) -> PhaseOutcomes:
        return PhaseOutcomes(phase, table.read(one.id, since, table.last_control(one.id, since)))

    is_canary = began.get("canary", 0) > began["shadow"]
    return rollout_report(
        one.name,
        outcomes("shadow", began["shadow"]).pairs(),
        config,
        canary=outcomes("canary", began["canary"]).arms() if is_canary else None,
    )


def outcome_of(arm: Arm, request: Request, figures: Figures, *, is_treatment: bool) -> TrialOutcome:
    """Return how one model of a trial did on a request, as the store keeps it."""
    return TrialOutcome(
        student=arm.student.id,
        since=arm.student.since,
        control=arm.control,
        treatment=is_treatment,
        request=request.id,
        session=session_hash(arm.student.id, request.session),
        quality=None if figures.failed else figures.quality,
        latency_ms=0.0 if figures.failed else figures.latency_ms,
        failed=figures.failed,
        at=time.time(),
    )
