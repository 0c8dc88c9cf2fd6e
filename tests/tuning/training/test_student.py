"""Students of tiny models."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ruvllm.errors import ModelUnsupported
from ruvllm.inference.engine import complete
from ruvllm.inference.runtime_engine import RuntimeEngine
from ruvllm.models import read_card, verify
from ruvllm.models.card import sha256_of
from ruvllm.tuning.training import TrainingStopped, phases, publish, train_student
from ruvllm.tuning.training.examples import sft_rows, split
from ruvllm.types import GenerationOptions, Message

from . import cases
from .cases import OPTIONS


def changed(**options: Any) -> Any:
    return msgspec.structs.replace(OPTIONS, **options)


def said(model_dir: Path, question: str) -> str:
    with closing(RuntimeEngine(model_dir, num_threads=1)) as engine:
        return complete(engine, (Message("user", question),), GenerationOptions(max_new_tokens=8)).text


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    return cases.curriculum(tmp_path, sft=cases.examples(), preferences=cases.preferences())


@pytest.fixture
def base(tmp_path: Path) -> Path:
    cases.needs_training()
    return cases.lfm2(tmp_path)


@pytest.mark.parametrize("family", ["lfm2", "llama"])
def test_student_says_what_it_was_taught(tmp_path: Path, colours: Path, family: str) -> None:
    cases.needs_training()
    folder = getattr(cases, family)(tmp_path)
    before = {file: sha256_of(file) for file in folder.iterdir()}
    trained = train_student(colours, folder, tmp_path / "out", changed(epochs=6.0))
    answers = [said(trained.model_dir, f"{thing} 99?") for thing in cases.COLOURS]
    assert sum(map(str.__eq__, answers, cases.COLOURS.values())) >= 3
    assert verify(trained.model_dir) == [] and read_card(trained.model_dir).quantization == "int8"
    assert before == {file: sha256_of(file) for file in folder.iterdir()}


def test_report_says_what_was_done(tmp_path: Path, colours: Path, base: Path) -> None:
    trained = train_student(colours, base, tmp_path / "out", OPTIONS)
    (phase,) = trained.phases
    assert (phase.name, phase.ended_by, phase.too_long) == ("sft", "steps", 0)
    assert phase.examples + phase.held_out == 48 and phase.steps == -(-2 * phase.examples // 8)
    assert phase.before_loss is not None and phase.held_out_loss is not None
    assert phase.held_out_loss < phase.before_loss / 2
    assert trained.about["made_on"]["device"] and trained.about["made_on"]["processor"]
    assert trained.about["base"] == "tiny-lfm2" and trained.about["phases"][0]["steps"] == phase.steps


@pytest.mark.parametrize("general", [False, True])
def test_batch_in_several_passes_teaches_what_it_teaches_in_one(
    tmp_path: Path, colours: Path, base: Path, general: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = changed(epochs=1.0, general=str(general_text(tmp_path)) if general else "", anchor=20.0)
    losses = []
    for tokens in (1024, 1):
        monkeypatch.setattr(phases, "PASS_TOKENS", tokens)
        (phase,) = train_student(colours, base, tmp_path / str(tokens), options).phases
        losses.append((phase.steps, phase.loss, phase.held_out_loss))
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)  # of bfloat16, where there is AMX


@pytest.mark.parametrize(
    ("batch", "longest", "rows"), [(32, 10, 32), (32, 200, 4), (12, 200, 4), (7, 200, 1), (8, 5000, 1)]
)
def test_passes_of_a_batch_are_alike_and_bounded(batch: int, longest: int, rows: int) -> None:
    assert phases.rows_at_once(batch, longest) == rows


def test_adapters_go_to_the_last_blocks_only(tmp_path: Path, colours: Path, base: Path) -> None:
    from safetensors.numpy import load_file

    train_student(colours, base, tmp_path / "out", changed(blocks=1, epochs=0.5))
    names = load_file(tmp_path / "out/sft/adapter/adapter_model.safetensors")
    assert {name.split("layers.")[1].split(".")[0] for name in names} == {"2"}


def test_preferences_are_a_second_phase(tmp_path: Path, base: Path) -> None:
    folder = cases.curriculum(tmp_path, sft=cases.examples(), preferences=cases.preferences())
    trained = train_student(folder, base, tmp_path / "out", changed(dpo=True, dpo_learning_rate=5e-3))
    assert [phase.name for phase in trained.phases] == ["sft", "dpo"]
    assert trained.phases[1].held_out_loss is not None and trained.phases[1].held_out_loss < 0.6  # ln 2 without it


def killed(curriculum: Path, base: Path, out: Path, phase: str, step: int, *more: object) -> None:
    """Train in a process of its own that is killed at a step of a phase."""
    child = Path(__file__).with_name("child.py")
    command = [sys.executable, "-P", child, curriculum, base, out, phase, str(step), *map(str, more)]
    paths = [str(child.parents[2]), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, paths))  # an empty one would be this folder, with the checkout in it
    died = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path})
    assert died.returncode == -signal.SIGKILL, died.stderr


def test_killed_training_ends_as_one_that_was_not(tmp_path: Path, colours: Path, base: Path) -> None:
    killed(colours, base, tmp_path / "killed", "sft", 7)
    again = train_student(colours, base, tmp_path / "killed", OPTIONS, resume=True)
    whole = train_student(colours, base, tmp_path / "whole", OPTIONS)
    assert sha256_of(again.model_dir / "model.bin") == sha256_of(whole.model_dir / "model.bin")


def test_killed_training_of_several_passes_and_an_anchor_ends_the_same(
    tmp_path: Path, colours: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = changed(general=str(general_text(tmp_path)))
    monkeypatch.setattr(phases, "PASS_TOKENS", 100)
    killed(colours, base, tmp_path / "killed", "sft", 7, options.general, 100)
    again = train_student(colours, base, tmp_path / "killed", options, resume=True)
    whole = train_student(colours, base, tmp_path / "whole", options)
    assert sha256_of(again.model_dir / "model.bin") == sha256_of(whole.model_dir / "model.bin")


def test_resumed_training_has_the_same_general_text(tmp_path: Path, colours: Path, base: Path) -> None:
    options = changed(general=str(general_text(tmp_path)))
    with pytest.raises(TrainingStopped):
        train_student(colours, base, tmp_path / "out", options, must_stop=lambda: True)
    Path(options.general).write_text(("another sea and another wind, " * 9 + "\n") * 9)
    with pytest.raises(ValueError, match="general is another one"):
        train_student(colours, base, tmp_path / "out", options, resume=True)


def general_text(folder: Path) -> Path:
    """Return a file with paragraphs of some hundred tokens."""
    (folder / "text.txt").write_text(("a calm sea and a fair wind, " * 9 + "\n") * 9)
    return folder / "text.txt"


def test_kill_between_training_and_conversion_costs_no_step(tmp_path: Path, colours: Path, base: Path) -> None:
    killed(colours, base, tmp_path / "out", "merge", 0)
    done: list[str] = []
    train_student(
        colours, base, tmp_path / "out", OPTIONS, resume=True, on_progress=lambda step: done.append(step.phase)
    )
    assert done == ["merge"]


def test_stopped_training_goes_on(tmp_path: Path, colours: Path, base: Path) -> None:
    asked = count()
    with pytest.raises(TrainingStopped, match="goes on from"):
        train_student(colours, base, tmp_path / "out", OPTIONS, must_stop=lambda: next(asked) >= 3)
    seen: list[int] = []
    trained = train_student(
        colours, base, tmp_path / "out", OPTIONS, resume=True, on_progress=lambda step: seen.append(step.step)
    )
    assert seen[0] >= 4 and trained.phases[0].ended_by == "steps"


def test_budget_ends_a_phase_with_what_it_has(tmp_path: Path, colours: Path, base: Path) -> None:
    trained = train_student(colours, base, tmp_path / "out", changed(minutes=1e-4))
    (phase,) = trained.phases
    assert phase.ended_by == "budget" and phase.steps == 1
    assert verify(trained.model_dir) == []


def test_phase_ends_when_held_out_examples_get_worse(tmp_path: Path, base: Path) -> None:
    rows = sft_rows(cases.examples(96))
    for row in split(rows, OPTIONS.held_out, max_tokens=1, count_tokens=lambda row: 1).held_out:
        row["completion"][0]["content"] = "purple"  # which no example that trains says
    sft = [{"messages": row["prompt"] + row["completion"], "weight": 1.0} for row in rows]
    folder = cases.curriculum(tmp_path, sft=sft)
    trained = train_student(folder, base, tmp_path / "out", changed(epochs=3.0, patience=1))
    assert trained.phases[0].ended_by == "held-out loss"


def test_layer_that_does_not_exist_is_an_error_before_any_work(tmp_path: Path, colours: Path, base: Path) -> None:
    with pytest.raises(ValueError, match=r"targets: lfm2 has no o_proj"):
        train_student(colours, base, tmp_path / "out", changed(targets=("o_proj",)))
    assert not (tmp_path / "out").exists()


def test_folder_in_use_is_an_error(tmp_path: Path, colours: Path, base: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists already, and holds no training"):
        train_student(colours, base, tmp_path / "out", OPTIONS)


def test_another_training_is_not_resumed(tmp_path: Path, colours: Path, base: Path) -> None:
    with pytest.raises(TrainingStopped):
        train_student(colours, base, tmp_path / "out", OPTIONS, must_stop=lambda: True)
    with pytest.raises(ValueError, match=r"rank is another one .* \(8, it was 4\)"):
        train_student(colours, base, tmp_path / "out", changed(rank=8), resume=True)
    with pytest.raises(ValueError, match="holds a training already; resume it"):
        train_student(colours, base, tmp_path / "out", OPTIONS)


def test_full_disk_leaves_no_half_student(
    tmp_path: Path, colours: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(publish, "convert_with_card", full)
        train_student(colours, base, tmp_path / "out", OPTIONS)
    assert not (tmp_path / "out/model").exists()
    trained = train_student(colours, base, tmp_path / "out", OPTIONS, resume=True)
    assert verify(trained.model_dir) == []


def test_encoder_is_no_base(tmp_path: Path, colours: Path) -> None:
    cases.needs_training()
    from tests.models import tiny

    folder = tiny.write_encoder_folder(tmp_path / "tiny-bert", tiny.encoder_weights(), tiny.encoder_config())
    with pytest.raises(ModelUnsupported, match="not of 'bert'"):
        train_student(colours, folder, tmp_path / "out", OPTIONS)


def test_missing_extra_is_named(tmp_path: Path, colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'ruvllm\[train\]'"):
        train_student(colours, cases.lfm2(tmp_path), tmp_path / "out", OPTIONS)
