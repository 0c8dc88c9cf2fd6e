"""Trials: who takes part, what is kept, and what follows from it."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoints import steps
from models import converted

from ruvllm.checkpoints import Student, Students
from ruvllm.config import GenerationConfig, ModelsConfig, RolloutConfig
from ruvllm.inference import ModelPool
from ruvllm.inference.served import Served
from ruvllm.memory.store import Store
from ruvllm.memory.trials import TrialTable
from ruvllm.tuning.rollout.outcomes import PhaseOutcomes
from ruvllm.tuning.rollout.shadow import Figures
from ruvllm.tuning.rollout.trials import Arm, Trials, outcome_of, trial_report
from ruvllm.types import Request

TIER = "tiny"
EASY = RolloutConfig(
    shadow_requests=10,
    canary_requests=10,
    canary_share=0.5,
    quality_margin=0.5,
    canary_margin=0.9,
    failure_margin=0.6,
    latency_ratio=50.0,
)
GOOD, POOR, FAILED = Figures(0.8, 10.0), Figures(0.1, 10.0), Figures(None, 0.0, failed=True)


@pytest.fixture(scope="module")
def model_dirs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    made = tmp_path_factory.mktemp
    return [converted.decoder(made("made"), seed=seed, quantization="int8") for seed in range(2)]


@pytest.fixture
def students(tmp_path: Path) -> Students:
    return Students(tmp_path / "students")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "brain.db", read_only=False)
    yield store
    store.close()


@pytest.fixture
def trials(students: Students, store: Store) -> Iterator[Trials]:
    with closing(trials_of(students, store)) as trials:
        yield trials


def trials_of(students: Students, store: Store, config: RolloutConfig = EASY, *, is_open: bool = True) -> Trials:
    pool = ModelPool(GenerationConfig(model=TIER), ModelsConfig(offline=True))  # nothing is lent here
    return Trials(Served(students), pool, TrialTable(store), config, is_open=is_open)


def arm_of(trials: Trials, request: Request) -> Arm:
    arm = trials.arm(TIER, request)
    assert arm is not None
    return arm


def answer(trials: Trials, count: int, *, control: Figures = GOOD, treatment: Figures = GOOD) -> None:
    """Let requests of the canary phase come out, until the trial is over."""
    for i in range(count):
        request = Request("?")
        arm = trials.arm(TIER, request)
        if arm is None:
            return
        trials.answered(arm, request, treatment if arm.is_treatment else control)
        if i % 100 == 0:
            trials.flush()
    trials.flush()


def compare(trials: Trials, count: int, *, control: Figures = GOOD, treatment: Figures = GOOD) -> None:
    for _ in range(count):
        request = Request("?")
        trials.compared(arm_of(trials, request), request, control, treatment)


# -- who takes part ---------------------------------------------------------------------------------------------------


def test_without_a_trial_there_are_no_arms(trials: Trials, students: Students, model_dirs: list[Path]) -> None:
    assert trials.arm(TIER, Request("?")) is None
    steps.promoted(students, model_dirs[0], TIER)
    assert trials.arm(TIER, Request("?")) is None
    assert trials.status(TIER) is None


def test_in_the_shadow_phase_the_control_answers_everybody(
    trials: Trials, students: Students, model_dirs: list[Path]
) -> None:
    steps.in_shadow(students, model_dirs[0], TIER)
    assert not any(arm_of(trials, Request("?")).is_treatment for _ in range(50))


def test_a_session_stays_on_its_side(trials: Trials, students: Students, model_dirs: list[Path]) -> None:
    steps.in_canary(students, model_dirs[0], TIER)
    sides = [[arm_of(trials, Request("?", f"s{i}")).is_treatment for _ in range(3)] for i in range(40)]
    assert all(len(set(side)) == 1 for side in sides)
    assert len({side[0] for side in sides}) == 2


def test_the_share_of_sessions_that_a_student_answers_is_the_configured_one(
    students: Students, store: Store, model_dirs: list[Path]
) -> None:
    trials, n = trials_of(students, store, RolloutConfig()), 4000
    steps.in_canary(students, model_dirs[0], TIER)
    treated = sum(arm_of(trials, Request("?", f"session {i}")).is_treatment for i in range(n))
    assert abs(treated / n - 0.1) < 4.0 * math.sqrt(0.1 * 0.9 / n)


def test_another_student_has_other_sessions(trials: Trials, students: Students, model_dirs: list[Path]) -> None:
    def sides() -> list[bool]:
        return [arm_of(trials, Request("?", f"s{i}")).is_treatment for i in range(64)]

    first = steps.in_canary(students, model_dirs[0], TIER)
    of_first = sides()
    students.move(first.id, "retired")
    steps.in_canary(students, model_dirs[1], TIER)
    assert sides() != of_first


def test_where_nothing_can_be_written_nobody_takes_part(
    students: Students, store: Store, model_dirs: list[Path]
) -> None:
    steps.in_canary(students, model_dirs[0], TIER)
    trials = trials_of(students, store, is_open=False)
    assert trials.arm(TIER, Request("?")) is None


def test_an_answer_is_given_again_only_where_the_same_models_may_answer(
    trials: Trials, students: Students, model_dirs: list[Path]
) -> None:
    alone = trials.models_for(Request("?"))
    student = steps.in_canary(students, model_dirs[0], TIER)
    requests = [Request("?", f"s{i}") for i in range(40)]
    assert len({trials.models_for(request) for request in requests} | {alone}) == 3
    before = trials.models_for(requests[0])
    students.promote(student.id)
    assert trials.models_for(requests[0]) not in (before, alone)


# -- what is kept -----------------------------------------------------------------------------------------------------


def rows(store: Store, *columns: str) -> list[tuple[object, ...]]:
    return store.rows(f"SELECT {', '.join(columns)} FROM trial_outcomes ORDER BY number")


def test_outcomes_are_figures_without_names(
    trials: Trials, students: Students, store: Store, model_dirs: list[Path]
) -> None:
    student = steps.in_canary(students, model_dirs[0], TIER)
    request = Request("Who am I?", "alice")
    trials.answered(arm_of(trials, request), request, GOOD)
    trials.flush()
    ((id, session, quality, latency_ms, failed),) = rows(store, "student", "session", "quality", "latency_ms", "failed")
    assert (id, quality, latency_ms, failed) == (student.id, 0.8, 10.0, 0)
    assert session and "alice" not in str(session)


def test_a_pair_is_kept_once(trials: Trials, students: Students, store: Store, model_dirs: list[Path]) -> None:
    steps.in_shadow(students, model_dirs[0], TIER)
    request = Request("?")
    for _ in range(2):
        trials.compared(arm_of(trials, request), request, GOOD, FAILED)
    assert rows(store, "treatment", "quality", "failed") == [(0, 0.8, 0), (1, None, 1)]


def test_what_was_kept_survives_a_restart(
    trials: Trials, students: Students, store: Store, model_dirs: list[Path]
) -> None:
    steps.in_shadow(students, model_dirs[0], TIER)
    compare(trials, 7)
    again = trials_of(Students(students.folder), store).status(TIER)
    before = trials.status(TIER)
    assert again is not None and before is not None
    assert (again.requests, again.decision.reasons()) == (7, before.decision.reasons())


def test_outcomes_against_another_control_do_not_count(
    trials: Trials, students: Students, model_dirs: list[Path]
) -> None:
    control = steps.promoted(students, model_dirs[1], TIER)
    steps.in_shadow(students, model_dirs[0], TIER)
    compare(trials, 5)
    students.rollback(TIER, of=control.id)
    status = trials.status(TIER)
    assert status is not None and status.requests == 0


# -- what follows -----------------------------------------------------------------------------------------------------


def test_a_good_student_goes_from_shadow_to_canary_to_promoted(
    trials: Trials, students: Students, store: Store, model_dirs: list[Path]
) -> None:
    student = steps.in_shadow(students, model_dirs[0], TIER)
    arm = arm_of(trials, Request("?"))
    earlier = [outcome_of(arm, Request("?"), GOOD, is_treatment=i % 2 == 1) for i in range(2)]
    TrialTable(store).write([replace(one, request=str(i)) for i in range(250) for one in earlier])
    trials.compared(arm, Request("?"), GOOD, GOOD)
    assert students.get(student.id).step == "canary"
    answer(trials, 600)
    assert students.get(student.id).step == "promoted"
    assert [move.why.partition(":")[0] for move in students.history()[-2:]] == ["Promote", "Promote"]
    assert students.history()[-1].evidence["requests"] >= EASY.canary_requests


@pytest.mark.parametrize(("treatment", "reason"), [(POOR, "quality_regression"), (FAILED, "failure_rate_regression")])
def test_a_bad_student_is_retired_in_the_shadow(
    trials: Trials, students: Students, model_dirs: list[Path], treatment: Figures, reason: str
) -> None:
    student = steps.in_shadow(students, model_dirs[0], TIER)
    for _ in range(200):
        if students.get(student.id).step == "retired":
            break
        compare(trials, 1, treatment=treatment)
    last = students.history()[-1]
    assert (last.id, last.after) == (student.id, "retired")
    assert last.why.startswith("KeepControl") and reason in last.why


def test_a_student_that_fails_in_the_canary_phase_is_rolled_back(
    trials: Trials, students: Students, model_dirs: list[Path]
) -> None:
    student = steps.in_canary(students, model_dirs[0], TIER)
    answer(trials, 500, treatment=FAILED)
    assert students.get(student.id).step == "retired"
    assert "regression" in students.history()[-1].why
    assert trials.arm(TIER, Request("?")) is None


def test_a_trial_that_somebody_ended_is_not_decided_again(
    trials: Trials, students: Students, model_dirs: list[Path]
) -> None:
    student: Student = steps.in_canary(students, model_dirs[0], TIER)
    arm = arm_of(trials, Request("?"))
    students.move(student.id, "retired", why="changed my mind")
    rng = np.random.default_rng(0)
    for quality in rng.uniform(0.4, 0.6, 50):
        trials.answered(arm, Request("?"), Figures(float(quality), 10.0))
    trials.flush()
    assert students.history()[-1].why == "changed my mind"


# -- reports ----------------------------------------------------------------------------------------------------------


def test_outcomes_of_a_trial_that_is_over_are_not_held(
    trials: Trials, students: Students, model_dirs: list[Path]
) -> None:
    held = weakref.WeakSet[PhaseOutcomes]()
    for model_dir in model_dirs:
        student = steps.in_canary(students, model_dir, TIER)
        answer(trials, 20)
        held.update(one for one in gc.get_objects() if type(one) is PhaseOutcomes)
        if students.get(student.id).phase:
            students.move(student.id, "retired")
    gc.collect()
    assert len(held) == 1


def test_a_report_tells_both_phases_of_a_trial_that_has_ended(
    trials: Trials, students: Students, store: Store, model_dirs: list[Path]
) -> None:
    student = steps.in_shadow(students, model_dirs[0], TIER)
    compare(trials, 3)
    students.move(student.id, "canary")
    answer(trials, 30)
    students.move(student.id, "retired")
    report = trial_report(students, student.name, TrialTable(store), EASY)
    assert [phase.name for phase in report.phases] == ["shadow", "canary"]
    assert report.phases[0].decision.requests == 3 and report.phases[1].decision.requests > 0


def test_who_was_never_on_trial_has_no_report(students: Students, store: Store, model_dirs: list[Path]) -> None:
    student = students.add(model_dirs[0], base=TIER, tier=TIER)
    with pytest.raises(ValueError, match="was never on trial"):
        trial_report(students, student.id, TrialTable(store), EASY)
