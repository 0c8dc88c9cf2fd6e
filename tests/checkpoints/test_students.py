"""The registry of students: legal steps only, one line a decision, nothing half done, nothing edited unnoticed."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from models import converted

from checkpoints import steps
from checkpoints.steps import EVIDENCE
from ruvllm.checkpoints import Students
from ruvllm.errors import ModelDamaged, ModelUnsupported, RegistryDamaged

TIER = "smollm2-135m"


@pytest.fixture(scope="module")
def model_dirs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three tiny Llama-like decoders."""
    return [converted.decoder(tmp_path_factory.mktemp("made"), seed=seed, quantization="int8") for seed in range(3)]


@pytest.fixture
def students(tmp_path: Path) -> Students:
    return Students(tmp_path / "students")


def on_trial(students: Students, model_dir: Path) -> str:
    return steps.in_canary(students, model_dir, TIER).id


def promoted(students: Students, model_dir: Path) -> str:
    return steps.promoted(students, model_dir, TIER).id


# -- adding -----------------------------------------------------------------------------------------------------------


def test_before_the_first_student_nothing_is_made(students: Students) -> None:
    assert students.all() == () and students.history() == () and students.version == 0
    assert students.serving(TIER).promoted is None
    assert not students.folder.exists()


def test_an_added_student_is_a_whole_copy_named_by_its_base(students: Students, model_dirs: list[Path]) -> None:
    one = students.add(model_dirs[0], base=TIER, tier=TIER, about={"loss": 0.5})
    assert (one.name, one.state, one.tier, one.about) == (f"{TIER}-ruv-edition-v1", "trained", TIER, {"loss": 0.5})
    assert students.require_whole(one) == students.folder / one.name
    assert {file.name for file in one.path.iterdir()} == set(one.files)


def test_students_are_numbered_and_the_same_files_are_one(students: Students, model_dirs: list[Path]) -> None:
    first = students.add(model_dirs[0], base=TIER, tier=TIER)
    second = students.add(model_dirs[1], base=first.name, tier=TIER)
    again = students.add(model_dirs[0], base=TIER, tier=TIER)
    assert second.name == f"{TIER}-ruv-edition-v2" and again == first
    assert [one.id for one in students.all()] == [first.id, second.id]


def test_files_that_are_a_student_of_one_tier_are_refused_to_another(
    students: Students, model_dirs: list[Path]
) -> None:
    first = students.add(model_dirs[0], base=TIER, tier=TIER)
    with pytest.raises(ValueError, match=f"tier: these files are {first.name}, a student for '{TIER}' .'another'"):
        students.add(model_dirs[0], base=TIER, tier="another")
    assert students.all() == (first,)


def test_a_student_of_lfm2_is_an_lfm2_edition(students: Students, tmp_path: Path) -> None:
    one = students.add(converted.lfm2(tmp_path, quantization="int8"), base="lfm2-350m", tier="lfm2-350m")
    assert one.name == "LFM2-ruv-edition-v1"


def test_an_encoder_cannot_be_a_student(students: Students, tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupported, match="made to embed"):
        students.add(converted.encoder(tmp_path), base=TIER, tier=TIER)
    assert students.all() == ()


def test_a_damaged_model_is_not_added(students: Students, model_dirs: list[Path], tmp_path: Path) -> None:
    broken = shutil.copytree(model_dirs[0], tmp_path / "broken")
    edit(broken / "model.bin")
    with pytest.raises(ModelDamaged, match=r"model\.bin has sha256"):
        students.add(broken, base=TIER, tier=TIER)


@pytest.mark.parametrize("wrong", [{"base": " "}, {"tier": ""}, {"tier": "http://host/v1#model"}])
def test_arguments_of_a_student_are_checked(students: Students, model_dirs: list[Path], wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        students.add(model_dirs[0], **({"base": TIER, "tier": TIER} | wrong))


def test_a_full_disk_leaves_nothing_of_a_student(
    students: Students, model_dirs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            students.add(model_dirs[0], base=TIER, tier=TIER)
    assert students.all() == () and not list(students.folder.rglob("model.bin"))
    assert students.add(model_dirs[0], base=TIER, tier=TIER).name.endswith("-v1")


# -- steps ------------------------------------------------------------------------------------------------------------


def test_a_student_goes_from_trained_to_promoted(students: Students, model_dirs: list[Path]) -> None:
    id = promoted(students, model_dirs[0])
    assert students.serving(TIER).promoted == students.get(id)
    assert [(move.before, move.after) for move in students.history()] == [
        ("", "trained"),
        ("trained", "validated"),
        ("validated", "shadow"),
        ("shadow", "canary"),
        ("canary", "promoted"),
    ]


def test_a_student_on_trial_is_served_beside_the_base(students: Students, model_dirs: list[Path]) -> None:
    id = on_trial(students, model_dirs[0])
    serving = students.serving(TIER)
    assert (serving.promoted, serving.phase) == (None, "canary")
    assert serving.trial is not None and (serving.trial.id, serving.trial.state) == (id, "canary")


@pytest.mark.parametrize("to", ["shadow", "canary", "promoted", "trained"])
def test_steps_cannot_be_skipped(students: Students, model_dirs: list[Path], to: str) -> None:
    id = students.add(model_dirs[0], base=TIER, tier=TIER).id
    with pytest.raises(ValueError, match="is trained, next may come validated or retired"):
        students.move(id, to)
    assert students.get(id).step == "trained"


def test_a_step_names_what_is_wrong_with_it(students: Students, model_dirs: list[Path]) -> None:
    id = students.add(model_dirs[0], base=TIER, tier=TIER).id
    with pytest.raises(ValueError, match="to must be one of"):
        students.move(id, "famous")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="evidence must say"):
        students.move(id, "validated")
    with pytest.raises(ValueError, match="'nobody' is not known; there are smollm2-135m-ruv-edition-v1"):
        students.promote("nobody")


def test_one_student_of_a_tier_is_on_trial_at_a_time(students: Students, model_dirs: list[Path]) -> None:
    on_trial(students, model_dirs[0])
    other = students.add(model_dirs[1], base=TIER, tier=TIER).id
    students.move(other, "validated", evidence=EVIDENCE)
    with pytest.raises(ValueError, match=r"v1 is on trial"):
        students.move(other, "shadow")


def test_a_successor_retires_who_was_promoted_in_one_line(students: Students, model_dirs: list[Path]) -> None:
    first = promoted(students, model_dirs[0])
    lines = students.version
    second = on_trial(students, model_dirs[1])
    students.promote(second)
    assert [students.get(id).state for id in (first, second)] == ["retired", "promoted"]
    assert students.version == lines + 5  # added, three steps, and one line for both


def test_rollback_goes_back_to_the_one_before_and_then_to_the_base(students: Students, model_dirs: list[Path]) -> None:
    first, second = promoted(students, model_dirs[0]), promoted(students, model_dirs[1])
    back = students.rollback(TIER, why="it made things up")
    assert back is not None and (back.id, students.get(second).state) == (first, "retired")
    assert students.history()[-1].why == "it made things up"
    assert students.rollback(TIER) is None
    with pytest.raises(ValueError, match="no student answers"):
        students.rollback(TIER)


def test_one_that_was_succeeded_and_promoted_again_is_in_force(students: Students, model_dirs: list[Path]) -> None:
    first, second = promoted(students, model_dirs[0]), promoted(students, model_dirs[1])
    students.move(first, "validated", evidence=EVIDENCE)
    students.move(first, "shadow")
    students.move(first, "canary")
    students.promote(first)
    serving, back = students.serving(TIER).promoted, students.rollback(TIER)
    assert serving is not None and back is not None and (serving.id, back.id) == (first, second)


def test_a_rollback_of_one_that_answers_no_longer_does_nothing(students: Students, model_dirs: list[Path]) -> None:
    first, second = promoted(students, model_dirs[0]), promoted(students, model_dirs[1])
    back = students.rollback(TIER, of=first)
    assert back is not None and back.id == second


def test_a_student_that_was_rolled_back_needs_validation_again(students: Students, model_dirs: list[Path]) -> None:
    id = promoted(students, model_dirs[0])
    students.rollback(TIER)
    with pytest.raises(ValueError, match="is retired, next may come validated"):
        students.promote(id)
    assert students.move(id, "validated", evidence=EVIDENCE).state == "validated"


def test_the_next_one_that_comes_clears_away_all_but_the_last_that_were_retired(
    students: Students, model_dirs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ruvllm.checkpoints.students.KEPT", 1)
    added = [students.add(model_dir, base=TIER, tier=TIER) for model_dir in model_dirs]
    for one in (added[2], added[0], added[1]):
        students.move(one.id, "retired")
    assert students.add(model_dirs[1], base=TIER, tier=TIER).id == added[1].id
    assert [one.path.exists() for one in added] == [False, True, False]
    assert [one.state for one in students.all()] == ["retired"] * 3


def test_what_was_cleared_away_is_validated_again_only_after_it_came_again(
    students: Students, model_dirs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ruvllm.checkpoints.students.KEPT", 0)
    first = students.add(model_dirs[0], base=TIER, tier=TIER)
    students.move(first.id, "retired")
    students.add(model_dirs[1], base=TIER, tier=TIER)
    with pytest.raises(ModelDamaged, match="cleared away: add them again"):
        students.move(first.id, "validated", evidence=EVIDENCE)
    students.add(model_dirs[0], base=TIER, tier=TIER)
    students.require_whole(students.move(first.id, "validated", evidence=EVIDENCE))


def test_what_a_rollback_comes_to_is_kept_and_what_comes_again_is_whole(
    students: Students, model_dirs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ruvllm.checkpoints.students.KEPT", 0)
    first, second = (students.get(promoted(students, model_dir)) for model_dir in model_dirs[:2])
    third = students.add(model_dirs[2], base=TIER, tier=TIER)
    students.move(third.id, "retired")
    students.add(model_dirs[0], base=TIER, tier=TIER)
    assert [one.path.exists() for one in (first, second, third)] == [True, True, False]
    assert students.rollback(TIER) == students.get(first.id)
    students.require_whole(students.add(model_dirs[2], base=TIER, tier=TIER))
    students.require_whole(students.add(third.path, base=TIER, tier=TIER))


def test_of_two_promotions_at_once_one_wins(students: Students, model_dirs: list[Path]) -> None:
    id = on_trial(students, model_dirs[0])
    others = [Students(students.folder) for _ in range(4)]  # as processes are

    def promote(registry: Students) -> str:
        try:
            return registry.promote(id).state
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(4) as threads:
        said = sorted(threads.map(promote, others), key=len)
    assert said[0] == "promoted"
    assert all("is promoted, next may come nothing" in one for one in said[1:])
    assert sum(move.after == "promoted" for move in students.history()) == 1


def test_what_another_process_decides_is_seen_at_once(students: Students, model_dirs: list[Path]) -> None:
    id = on_trial(students, model_dirs[0])
    assert students.serving(TIER).promoted is None
    Students(students.folder).promote(id)
    serving = students.serving(TIER).promoted
    assert serving is not None and serving.id == id


def test_between_two_looks_only_what_others_decide_is_not_seen(students: Students, model_dirs: list[Path]) -> None:
    seldom = Students(students.folder, look_every_s=3600.0)
    assert seldom.version == 0
    id = on_trial(students, model_dirs[0])
    assert seldom.serving(TIER).trial is None
    seldom.promote(id)
    serving = seldom.serving(TIER).promoted
    assert serving is not None and serving.id == id


# -- what was done by hand --------------------------------------------------------------------------------------------


def edit(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)


def test_a_checkpoint_edited_by_hand_is_refused(students: Students, model_dirs: list[Path]) -> None:
    one = students.add(model_dirs[0], base=TIER, tier=TIER)
    edit(one.path / "model.bin")
    with pytest.raises(ModelDamaged, match=r"was changed since it was added: model\.bin"):
        students.require_whole(one)


def test_a_missing_file_is_named(students: Students, model_dirs: list[Path]) -> None:
    one = students.add(model_dirs[0], base=TIER, tier=TIER)
    (one.path / "tokenizer.json").unlink()
    with pytest.raises(ModelDamaged, match=r"tokenizer\.json is missing"):
        students.require_whole(one)


def log_of(students: Students) -> Path:
    return students.folder / "log.jsonl"


@pytest.mark.parametrize("how", ["changed", "left out", "swapped", "no JSON"])
def test_a_log_edited_by_hand_is_refused(students: Students, model_dirs: list[Path], how: str) -> None:
    on_trial(students, model_dirs[0])
    lines = log_of(students).read_bytes().splitlines(keepends=True)
    edited = {
        "changed": [lines[0], lines[1].replace(b"0.9", b"0.1"), *lines[2:]],
        "left out": [lines[0], *lines[2:]],
        "swapped": [lines[0], lines[2], lines[1], *lines[3:]],
        "no JSON": [b"hello\n", *lines[1:]],
    }
    log_of(students).write_bytes(b"".join(edited[how]))
    for registry in (students, Students(students.folder)):
        with pytest.raises(RegistryDamaged, match=r"log\.jsonl: line [12]"):
            registry.serving(TIER)


def test_a_log_of_another_key_is_refused_and_says_so(students: Students, model_dirs: list[Path]) -> None:
    students.add(model_dirs[0], base=TIER, tier=TIER)
    with pytest.raises(RegistryDamaged, match=r"another key.*RUVLLM_SIGNING_KEY"):
        Students(students.folder, key=b"k" * 32).all()


# -- what a crash leaves ----------------------------------------------------------------------------------------------


def test_a_line_that_was_not_finished_does_not_count(students: Students, model_dirs: list[Path]) -> None:
    id = on_trial(students, model_dirs[0])
    whole = log_of(students).read_bytes()
    log_of(students).write_bytes(whole + whole.splitlines()[-1][:40])
    assert students.get(id).step == "canary"
    assert students.promote(id).state == "promoted"
    assert [move.after for move in Students(students.folder).history()][-2:] == ["canary", "promoted"]


def test_a_line_for_which_there_is_no_room_does_not_count(
    students: Students, model_dirs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    id = on_trial(students, model_dirs[0])
    before = log_of(students).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            students.promote(id)
    assert log_of(students).read_bytes() == before
    assert students.promote(id).state == "promoted"


DIES = """
import os, sys
from pathlib import Path
from ruvllm.checkpoints import Students
students = Students(Path(sys.argv[1]))
with students.loading(students.get(sys.argv[2])):
    os._exit(9)
"""


def test_what_two_processes_died_of_is_not_loaded_again(students: Students, model_dirs: list[Path]) -> None:
    one = students.add(model_dirs[0], base=TIER, tier=TIER)
    for _ in range(2):
        with students.loading(one):  # one alone may have had another cause
            pass
        subprocess.run([sys.executable, "-c", DIES, str(students.folder), one.id], check=False)
    subprocess.run([sys.executable, "-c", DIES, str(students.folder), one.id], check=False)
    with pytest.raises(ModelDamaged, match="2 processes ended while they loaded"), students.loading(one):
        raise AssertionError("it was loaded")


KILLED = """
import os, signal, sys
from pathlib import Path
from ruvllm.checkpoints import Students
steps = int(sys.argv[3])
def dies(event, args):
    global steps
    if event in ("open", "os.rename", "os.mkdir", "shutil.copyfile", "os.remove", "os.rmdir", "os.truncate"):
        if sys.argv[1] in str(args[0]):
            steps -= 1
            if steps < 0:
                os.kill(os.getpid(), signal.SIGKILL)
students = Students(Path(sys.argv[1]))
sys.addaudithook(dies)
one = students.add(Path(sys.argv[2]), base="tiny", tier="tiny")
if one.step == "trained":
    students.move(one.id, "validated", evidence={"accuracy": 1.0})
if students.get(one.id).step == "validated":
    students.move(one.id, "shadow")
print(students.get(one.id).step)
"""


def test_killed_at_any_step_the_registry_is_consistent_and_goes_on(tmp_path: Path, model_dirs: list[Path]) -> None:
    folder, seen = tmp_path / "students", set()
    for step in range(0, 60, 3):
        command = [sys.executable, "-c", KILLED, str(folder), str(model_dirs[0]), str(step)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode in (0, -9), done.stderr
        students = Students(folder)
        for one in students.all():
            students.require_whole(one)
            seen.add(one.step)
        assert len(students.all()) <= 1
        if done.returncode == 0:
            break
    assert done.stdout.strip() == "shadow" and "trained" in seen
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["tiny-ruv-edition-v1"]
