"""A student from the registry to service, in a whole system on tiny real models."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from checkpoints import steps
from memory.fakes import WordEmbedder
from models import converted

from ruvllm.checkpoints import Student
from ruvllm.config import CacheConfig, Config, GenerationConfig, JudgeConfig, ModelsConfig, RolloutConfig, WorkerConfig
from ruvllm.errors import EngineError
from ruvllm.inference import Engine, open_engine
from ruvllm.system import RuvLLM

pytestmark = pytest.mark.integration

TEXTS = ["The supply ship arrives every six weeks.", "Bread is baked on Fridays.", "Terns nest on the high cliffs."]
QUESTION = "When does the supply ship arrive?"
EASY = RolloutConfig(
    shadow_requests=3,
    canary_requests=10,
    canary_share=0.5,
    quality_margin=0.9,
    canary_margin=0.9,
    failure_margin=0.9,
    latency_ratio=90.0,
)
WAIT_S = 60.0
ASKED = 60


@pytest.fixture(scope="module")
def model_dirs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A tiny Llama-like base, another one like it, and an LFM2."""
    made = tmp_path_factory.mktemp
    llamas = [converted.decoder(made("made"), seed=seed, quantization="int8", ascii_only=True) for seed in range(2)]
    return [*llamas, converted.lfm2(made("made"), quantization="int8", ascii_only=True)]


class _Failing:
    """An engine that fails as soon as it is to generate, in a share of the answers."""

    def __init__(self, engine: Engine, fails: Callable[[], bool]) -> None:
        self._engine, self._fails = engine, fails
        self.name, self.context_tokens, self.parameters = engine.name, engine.context_tokens, engine.parameters

    def count_tokens(self, messages: object) -> int:
        return self._engine.count_tokens(messages)  # type: ignore[arg-type]

    def stream(self, *args: object, **fields: object) -> Iterator[object]:
        if self._fails():
            raise EngineError("the weights caught fire", engine=self.name)
        return self._engine.stream(*args, **fields)  # type: ignore[arg-type, return-value]

    def close(self) -> None:
        self._engine.close()


@pytest.fixture
def open_brain(tmp_path: Path, model_dirs: list[Path]) -> Iterator[Callable[..., RuvLLM]]:
    """Open the one brain of the test, whose reader is the base; closed with the test."""
    with ExitStack() as opened:

        def make(
            *, failing: str = "nobody", share: float = 1.0, cache: bool = False, rollout: RolloutConfig = EASY
        ) -> RuvLLM:
            chance = random.Random(0)
            config = Config(
                generation=GenerationConfig(
                    model=str(model_dirs[0]), max_new_tokens=4, context_tokens=500, min_confidence=0.0
                ),
                worker=WorkerConfig(enabled=False),
                cache=CacheConfig(enabled=cache),
                rollout=rollout,
            )

            def engine_of(model: str, generation: GenerationConfig, section: ModelsConfig) -> Engine:
                engine = open_engine(model, generation, section)
                if failing not in model:
                    return engine
                return _Failing(engine, lambda: chance.random() < share)  # type: ignore[return-value]

            llm = RuvLLM(tmp_path / "brain", config=config, embedder=WordEmbedder(), open_engine=engine_of)
            llm.memory.add(TEXTS)
            return opened.enter_context(llm)

        yield make


def tier_of(llm: RuvLLM) -> str:
    return llm.config.generation.model


def test_the_answer_and_its_record_say_which_student_answered(
    open_brain: Callable[..., RuvLLM], model_dirs: list[Path]
) -> None:
    llm = open_brain()
    assert llm.ask(QUESTION).route.student == ""
    student = steps.promoted(llm.students, model_dirs[1], tier_of(llm))
    response = llm.ask(QUESTION)
    assert (response.route.model, response.route.student) == (student.name, student.id)
    assert llm.memory.interaction(response.id).route.student == student.id


def test_a_student_of_another_architecture_takes_the_place_and_leaves_it(
    open_brain: Callable[..., RuvLLM], model_dirs: list[Path]
) -> None:
    llm = open_brain()
    student = steps.promoted(llm.students, model_dirs[2], tier_of(llm))
    assert llm.ask(QUESTION, session="alice").route.model == student.name == "LFM2-ruv-edition-v1"
    assert llm.rollback_student(why="not mine") is None
    assert llm.ask(QUESTION, session="alice").route.model == model_dirs[0].name


def shadowed(llm: RuvLLM, count: int, first: int = 0) -> None:
    """Ask, and let the shadow answer each before the next."""
    for i in range(first, first + count):
        llm.ask(f"{QUESTION} {i}", session=f"s{i % 3}")
        llm.worker.flush()


def test_in_the_shadow_both_models_answer_and_people_see_the_control(
    open_brain: Callable[..., RuvLLM], model_dirs: list[Path]
) -> None:
    llm = open_brain()
    student = steps.in_shadow(llm.students, model_dirs[1], tier_of(llm))
    answered = [llm.ask(QUESTION, session="alice") for _ in range(2)]
    llm.worker.flush()
    (status,) = llm.rollout()
    assert {response.route.student for response in answered} == {""}
    assert (status.student.id, status.requests) == (student.id, 2)
    assert llm.students.get(student.id).step == "shadow"


def test_a_student_that_fails_in_the_shadow_is_retired_and_nobody_notices(
    open_brain: Callable[..., RuvLLM], model_dirs: list[Path]
) -> None:
    llm = open_brain(failing="edition", rollout=RolloutConfig())
    student = steps.in_shadow(llm.students, model_dirs[1], tier_of(llm))
    for _ in range(60):
        if llm.students.get(student.id).step == "retired":
            break
        shadowed(llm, 1)
    assert llm.students.get(student.id).step == "retired"
    assert "failure_rate_regression" in llm.students.history()[-1].why


def test_a_student_that_fails_as_often_as_the_model_goes_on(
    open_brain: Callable[..., RuvLLM], model_dirs: list[Path]
) -> None:
    llm = open_brain(failing="", share=0.5, rollout=msgspec.structs.replace(EASY, shadow_requests=200))
    student = steps.in_shadow(llm.students, model_dirs[0], tier_of(llm))
    failed = 0
    for i in range(ASKED):
        try:
            shadowed(llm, 1, first=i)
        except EngineError:
            failed += 1
            llm.worker.flush()
    (status,) = llm.rollout()
    rates = next(one for one in status.decision.evidence if one.metric == "failure_rate")
    assert (llm.students.get(student.id).step, status.requests) == ("shadow", ASKED)
    assert (rates.control, rates.is_worse) == (failed / ASKED, False)
    assert 0.3 < rates.treatment < 0.7


def sessions_of(llm: RuvLLM, student: Student, count: int) -> tuple[list[str], list[str]]:
    """Return the first `count` sessions that the student on trial answers, and as many that it does not."""
    from ruvllm.tuning.rollout.canary import is_treated

    sides: tuple[list[str], list[str]] = ([], [])
    for session in (f"s{i}" for i in range(999)):
        sides[not is_treated(student.id, session, llm.config.rollout.canary_share)].append(session)
    return sides[0][:count], sides[1][:count]


def test_in_the_canary_phase_sessions_are_answered_by_one_of_both(
    open_brain: Callable[..., RuvLLM], model_dirs: list[Path]
) -> None:
    llm = open_brain()
    student = steps.in_canary(llm.students, model_dirs[1], tier_of(llm))
    treated, others = sessions_of(llm, student, 4)
    answered = {name: [llm.ask(QUESTION, session=name).route.student for _ in range(2)] for name in treated + others}
    assert {name for name, by in answered.items() if by == [student.id] * 2} == set(treated)
    assert {name for name, by in answered.items() if by == [""] * 2} == set(others)
    (status,) = llm.rollout()
    assert status.requests == 2 * len(treated)


def test_where_a_canary_fails_the_control_answers_and_it_is_counted(
    open_brain: Callable[..., RuvLLM], model_dirs: list[Path]
) -> None:
    llm = open_brain(failing="edition")
    student = steps.in_canary(llm.students, model_dirs[1], tier_of(llm))
    response = llm.ask(QUESTION, session=sessions_of(llm, student, 1)[0][0])
    assert response.route.model == model_dirs[0].name and response.route.student == ""
    assert any(f"{student.name} did not answer" in warning for warning in response.warnings)
    (status,) = llm.rollout()
    rates = {one.metric: one.treatment for one in status.decision.evidence}
    assert (status.requests, rates["failure_rate"]) == (1, 1.0)


def test_a_canary_that_crashes_on_load_is_rolled_back_and_counted(
    open_brain: Callable[..., RuvLLM], model_dirs: list[Path]
) -> None:
    llm = open_brain()
    student = steps.in_canary(llm.students, model_dirs[1], tier_of(llm))
    (student.path / "model.bin").write_bytes(b"not a model")
    session = sessions_of(llm, student, 1)[0][0]
    assert [llm.ask(QUESTION, session=session).route.student for _ in range(2)] == ["", ""]
    last = llm.students.history()[-1]
    assert (last.id, last.after) == (student.id, "retired") and last.why.startswith("load_failure")
    llm.flush()
    assert llm.memory.trial_table.read(student.id, student.since, "")[0].failed


def test_an_answer_of_the_model_before_is_not_given_again(
    open_brain: Callable[..., RuvLLM], model_dirs: list[Path]
) -> None:
    llm = open_brain(cache=True)
    assert [llm.ask(QUESTION).cached for _ in range(2)] == [False, True]
    student = steps.promoted(llm.students, model_dirs[1], tier_of(llm))
    response = llm.ask(QUESTION)
    assert (response.cached, response.route.student) == (False, student.id)


def test_a_trial_needs_a_validated_student_of_a_tier_and_a_judge(
    open_brain: Callable[..., RuvLLM], model_dirs: list[Path], tmp_path: Path
) -> None:
    llm = open_brain()
    student = llm.students.add(model_dirs[1], base="base", tier=tier_of(llm))
    with pytest.raises(ValueError, match="is trained, next may come validated"):
        llm.start_trial(student.id)
    stranger = llm.students.add(model_dirs[2], base="base", tier="another")
    with pytest.raises(ValueError, match="is for another, the tiers are"):
        llm.start_trial(stranger.id)
    llm.students.move(student.id, "validated", evidence=steps.EVIDENCE)
    assert llm.start_trial(student.name).step == "shadow"
    unjudged = Config(judge=JudgeConfig(enabled=False))
    with RuvLLM(tmp_path / "other", config=unjudged, embedder=WordEmbedder()) as other:
        one = other.students.add(model_dirs[1], base="base", tier=tier_of(other))
        with pytest.raises(ValueError, match=r"judge\.enabled"):
            other.start_trial(one.id)


def test_check_names_a_student_that_was_edited(open_brain: Callable[..., RuvLLM], model_dirs: list[Path]) -> None:
    llm = open_brain()
    student = steps.promoted(llm.students, model_dirs[1], tier_of(llm))
    assert not [one for one in llm.check().findings if student.name in one.what]
    (student.path / "tokenizer.json").write_text("{}")
    assert [one.what for one in llm.check().findings if student.name in one.what]


def test_rollback_in_one_call_under_load_loses_no_request(
    open_brain: Callable[..., RuvLLM], model_dirs: list[Path]
) -> None:
    llm, is_over = open_brain(), threading.Event()
    steps.promoted(llm.students, model_dirs[1], tier_of(llm))

    def ask(name: str) -> set[str]:
        models = set()
        while not is_over.is_set():
            models.add(llm.ask(QUESTION, session=name).route.model)
        return models

    with ThreadPoolExecutor(3) as threads:
        asking = [threads.submit(ask, f"s{i}") for i in range(3)]
        steps.promoted(llm.students, model_dirs[2], tier_of(llm))
        llm.ask(QUESTION)
        back = llm.rollback_student()
        after = llm.ask(QUESTION).route.model
        is_over.set()
        seen = set().union(*(one.result(WAIT_S) for one in asking))
    assert back is not None and after == back.name
    assert {"LFM2-ruv-edition-v1", back.name} <= seen | {after, "LFM2-ruv-edition-v1"}
    assert [Path(one.model).name for one in llm.pool.stats().loaded] == [back.name]
