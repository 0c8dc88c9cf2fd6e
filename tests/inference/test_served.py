"""Students in the pool: in their tier's place from the next lease on, and never what was not recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from checkpoints import steps
from models import converted

from ruvllm import models
from ruvllm.checkpoints import Student, Students
from ruvllm.config import GenerationConfig, ModelsConfig
from ruvllm.errors import EngineError, ModelDamaged
from ruvllm.inference import Engine, ModelPool, complete, open_engine
from ruvllm.inference.open import WINDOW_TOKENS
from ruvllm.inference.pool import memory_bytes
from ruvllm.inference.served import Served
from ruvllm.types import GenerationOptions, Message

PROMPT = [Message("user", "one two three")]
OPTIONS = GenerationOptions(max_new_tokens=4)
WAIT_S = 20.0


@pytest.fixture(scope="module")
def model_dirs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three tiny Llama-like decoders: a base and two that may become its students."""
    made = tmp_path_factory.mktemp
    return [converted.decoder(made("made"), seed=seed, quantization="int8", ascii_only=True) for seed in range(3)]


@pytest.fixture
def students(tmp_path: Path) -> Students:
    return Students(tmp_path / "students")


@pytest.fixture
def opened() -> list[str]:
    """Names of the models that were loaded, in order."""
    return []


@pytest.fixture
def pool_of(students: Students, model_dirs: list[Path], opened: list[str]) -> Iterator[Callable[..., ModelPool]]:
    """Make pools whose one tier is the base; closed with the test."""
    with ExitStack() as pools:

        def make(room: int = 0) -> ModelPool:
            config = ModelsConfig(offline=True)
            need = memory_bytes(models.read_card(model_dirs[0]), WINDOW_TOKENS)
            config = msgspec.structs.replace(config, budget_bytes=room * need)

            def noted(model: str, generation: GenerationConfig, section: ModelsConfig) -> Engine:
                opened.append(Path(model).name)
                return open_engine(model, generation, section)

            generation = GenerationConfig(model=str(model_dirs[0]), timeout_s=WAIT_S)
            return pools.enter_context(ModelPool(generation, config, open=noted, served=Served(students)))

        yield make


def name_of(pool: ModelPool, trial: Student | None = None) -> str:
    with pool.engine(trial=trial) as engine:
        complete(engine, PROMPT, OPTIONS)
        return engine.name


def loaded(pool: ModelPool) -> list[str]:
    return [Path(one.model).name for one in pool.stats().loaded]


def test_a_promoted_student_answers_from_the_next_lease_on(
    pool_of: Callable[..., ModelPool], students: Students, model_dirs: list[Path]
) -> None:
    pool = pool_of()
    before = name_of(pool)
    student = steps.promoted(students, model_dirs[1], str(model_dirs[0]))
    assert (before, name_of(pool)) == (model_dirs[0].name, student.name)
    assert loaded(pool) == [student.name]
    students.rollback(student.tier)
    assert name_of(pool) == model_dirs[0].name
    assert loaded(pool) == [model_dirs[0].name]


def test_who_uses_the_model_before_finishes_on_it_and_closes_it(
    pool_of: Callable[..., ModelPool], students: Students, model_dirs: list[Path]
) -> None:
    pool = pool_of()
    with pool.engine() as old:
        expected = complete(old, PROMPT, OPTIONS)
        student = steps.promoted(students, model_dirs[1], str(model_dirs[0]))
        with ThreadPoolExecutor(1) as other:
            assert other.submit(name_of, pool).result(WAIT_S) == student.name
        assert complete(old, PROMPT, OPTIONS) == expected
        assert loaded(pool) == [model_dirs[0].name, student.name]
    assert loaded(pool) == [student.name]
    with pytest.raises(EngineError, match="closed"):
        complete(old, PROMPT, OPTIONS)


def test_the_old_model_makes_room_for_the_student_under_a_budget(
    pool_of: Callable[..., ModelPool], students: Students, model_dirs: list[Path]
) -> None:
    pool = pool_of(room=1)
    name_of(pool)
    student = steps.promoted(students, model_dirs[1], str(model_dirs[0]))
    assert name_of(pool) == student.name
    assert pool.stats().bytes <= pool.stats().budget_bytes


def test_a_student_on_trial_is_lent_beside_the_control(
    pool_of: Callable[..., ModelPool], students: Students, model_dirs: list[Path]
) -> None:
    pool = pool_of()
    student = steps.in_canary(students, model_dirs[1], str(model_dirs[0]))
    assert [name_of(pool, student), name_of(pool)] == [student.name, model_dirs[0].name]
    assert sorted(loaded(pool)) == sorted([student.name, model_dirs[0].name])
    students.move(student.id, "retired")
    name_of(pool)
    assert loaded(pool) == [model_dirs[0].name]


def edit(student: Student) -> None:
    raw = bytearray((student.path / "model.bin").read_bytes())
    raw[-1] ^= 1
    (student.path / "model.bin").write_bytes(raw)


def test_a_promoted_student_that_was_edited_is_rolled_back_and_never_loaded(
    pool_of: Callable[..., ModelPool], students: Students, model_dirs: list[Path], opened: list[str]
) -> None:
    first = steps.promoted(students, model_dirs[1], str(model_dirs[0]))
    second = steps.promoted(students, model_dirs[2], str(model_dirs[0]))
    edit(second)
    assert name_of(pool_of()) == first.name
    assert opened == [first.name]
    assert (students.get(first.id).state, students.get(second.id).state) == ("promoted", "retired")
    assert "load_failure" in students.history()[-1].why


def test_a_trial_that_cannot_be_loaded_is_damaged_whatever_the_reason(
    pool_of: Callable[..., ModelPool], students: Students, model_dirs: list[Path]
) -> None:
    student = steps.in_canary(students, model_dirs[1], str(model_dirs[0]))
    (student.path / "tokenizer.json").unlink()
    with pytest.raises(ModelDamaged, match=f"{student.name} cannot be loaded.*tokenizer"):
        name_of(pool_of(), student)


def test_a_student_that_cannot_be_rolled_back_is_not_served_either(
    pool_of: Callable[..., ModelPool], students: Students, model_dirs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    student = steps.promoted(students, model_dirs[1], str(model_dirs[0]))
    edit(student)

    def read_only(*args: object, **fields: object) -> None:
        raise PermissionError("read-only file system")

    monkeypatch.setattr(students, "rollback", read_only)
    pool = pool_of()
    assert [name_of(pool), name_of(pool)] == [model_dirs[0].name] * 2


def test_of_a_log_edited_by_hand_nothing_is_served(
    pool_of: Callable[..., ModelPool], students: Students, model_dirs: list[Path]
) -> None:
    steps.promoted(students, model_dirs[1], str(model_dirs[0]))
    log = students.folder / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b"0.9", b"1.0"))
    assert name_of(pool_of()) == model_dirs[0].name


def test_promotion_and_rollback_under_load_lose_no_request(
    pool_of: Callable[..., ModelPool], students: Students, model_dirs: list[Path]
) -> None:
    tier, pool, is_over = str(model_dirs[0]), pool_of(), threading.Event()
    answered: list[str] = []

    def ask() -> None:
        while not is_over.is_set():
            answered.append(name_of(pool))

    with ThreadPoolExecutor(3) as threads:
        asking = [threads.submit(ask) for _ in range(3)]
        for model_dir in (model_dirs[1], model_dirs[2]) * 2:
            student = students.add(model_dir, base=tier, tier=tier)
            students.move(student.id, "validated", evidence=steps.EVIDENCE)
            students.move(student.id, "shadow")
            students.move(student.id, "canary")
            students.promote(student.id)
            name_of(pool)
            students.rollback(tier)
            name_of(pool)
        is_over.set()
        for one in asking:
            one.result(WAIT_S)
    assert len(set(answered)) >= 2
    assert loaded(pool) == [model_dirs[0].name] and pool.stats().loaded[0].users == 0
