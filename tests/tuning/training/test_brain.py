"""From a brain to a registered student."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from memory.fakes import WordEmbedder

from ruvllm.checkpoints import students_of
from ruvllm.config import Config, GenerationConfig
from ruvllm.memory import Memory
from ruvllm.memory.tuning_run import tuning_folder
from ruvllm.models import pull
from ruvllm.tuning.training import TrainingStopped
from ruvllm.tuning.training import brain as module
from ruvllm.tuning.training.brain import Hooks, tune
from ruvllm.tuning.validation import HoldoutDataset, HoldoutItem, Limits, validate
from ruvllm.types import Message

from . import cases

EASY = Limits(0.5, 0.5, refusal_rate=0.5, format_rate=0.5, questions=4, latency_ms=10.0)


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    with Memory(tmp_path / "brain", embedder=WordEmbedder()):
        return tmp_path / "brain"


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    return cases.curriculum(tmp_path, sft=cases.examples())


@pytest.fixture
def holdout(tmp_path: Path) -> Path:
    items = [
        HoldoutItem(f"{thing}{i}", (Message("user", f"{thing} 7{i}?"),), (colour,))
        for thing, colour in cases.COLOURS.items()
        for i in range(2)
    ]
    HoldoutDataset(tuple(items)).write(tmp_path / "holdout.jsonl")
    return tmp_path / "holdout.jsonl"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    cases.needs_training()
    base = cases.lfm2(tmp_path)
    models = msgspec.structs.replace(Config().models, cache_dir=str(tmp_path / "cache"), offline=True)
    tier = pull(f"path:{base}", models)
    training = msgspec.structs.replace(cases.OPTIONS, base=str(base), epochs=6.0)
    return Config(models=models, generation=GenerationConfig(model=str(tier)), training=training)


def changed(config: Config, **options: Any) -> Config:
    return msgspec.structs.replace(config, training=msgspec.structs.replace(config.training, **options))


def test_student_that_learnt_its_task_is_validated(brain: Path, config: Config, colours: Path, holdout: Path) -> None:
    tuned = tune(brain, config, curriculum=colours, holdout=holdout, limits=EASY)
    assert tuned.result is not None and tuned.result.reasons() == ()
    assert (tuned.student.state, tuned.student.name) == ("validated", "LFM2-ruv-edition-v1")
    assert [move.after for move in students_of(brain).history()] == ["trained", "validated"]
    assert [path.name for path in tuning_folder(brain).iterdir()] == ["lock"]


def test_student_of_wrong_labels_is_refused(brain: Path, config: Config, tmp_path: Path, holdout: Path) -> None:
    (tmp_path / "right").mkdir()
    right = cases.curriculum(tmp_path / "right", sft=cases.examples())
    good = tune(brain, config, curriculum=right, holdout=holdout, limits=EASY).student
    for step in ("shadow", "canary", "promoted"):
        students_of(brain).move(good.id, step)
    labels = dict(zip(cases.COLOURS, ["green", "white", "black", "blue"], strict=True))
    wrong = cases.curriculum(
        tmp_path, sft=[cases.example(f"{thing} {i}?", labels[thing]) for i in range(12) for thing in labels]
    )
    tuned = tune(brain, config, curriculum=wrong, holdout=holdout, limits=EASY)
    assert tuned.student.state == "retired" and tuned.result is not None
    assert "accuracy_regression" in tuned.result.reasons()
    assert students_of(brain).serving(good.tier).promoted == students_of(brain).get(good.id)


def test_best_of_several_learning_rates_is_kept(brain: Path, config: Config, colours: Path) -> None:
    tuned = tune(brain, changed(config, epochs=1.0), curriculum=colours, rates=[1e-5, 1e-2])
    assert tuned.student.about["options"]["learning_rate"] == 1e-2
    assert tuned.student.state == "trained" and tuned.result is None


def test_stopped_run_is_resumed(brain: Path, config: Config, colours: Path, holdout: Path) -> None:
    with pytest.raises(TrainingStopped):
        tune(brain, config, curriculum=colours, holdout=holdout, hooks=Hooks(must_stop=lambda: True))
    with pytest.raises(ValueError, match="resume: a run is unfinished in"):
        tune(brain, config, curriculum=colours)
    tuned = tune(brain, config, resume=True, limits=EASY)
    assert tuned.student.state == "validated"


def test_brain_without_traces_says_so(brain: Path, config: Config) -> None:
    with pytest.raises(ValueError, match="traces: nothing to train on in 0 traces"):
        tune(brain, config)
    with pytest.raises(ValueError, match="traces: nothing"):  # and leaves nothing that would have to be resumed
        tune(brain, config)


def test_training_and_validation_take_half_of_the_processors(
    brain: Path, config: Config, colours: Path, holdout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    def noted(*given: Any, num_threads: int, **more: Any) -> Any:
        taken.append(num_threads)
        return validate(*given, num_threads=num_threads, **more)

    monkeypatch.setattr(module, "available_threads", lambda wanted: 6)
    monkeypatch.setattr(module, "validate", noted)
    tuned = tune(brain, changed(config, threads=0, epochs=0.2), curriculum=colours, holdout=holdout, limits=EASY)
    assert [tuned.student.about["options"]["threads"], *taken] == [3, 3]


def test_validation_can_be_stopped_and_gone_on_with(brain: Path, config: Config, colours: Path, holdout: Path) -> None:
    asked: list[str] = []
    hooks = Hooks(on_validate=lambda what, done, total: asked.append(what), must_stop=lambda: len(asked) >= 2)
    with pytest.raises(TrainingStopped):
        tune(brain, changed(config, epochs=0.2), curriculum=colours, holdout=holdout, hooks=hooks)
    assert len(asked) == 2
    assert tune(brain, config, resume=True, limits=EASY).result is not None
    assert len(students_of(brain).all()) == 1


def test_endpoint_has_no_students(brain: Path, config: Config) -> None:
    with pytest.raises(ValueError, match="is an endpoint"):
        tune(brain, config, tier="http://host/v1#model")


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({"base": "SmolLM-typo"}, {}, "no model is called"),
        ({"targets": ("o_proj",)}, {}, "targets: lfm2 has no o_proj"),
        ({"general": "nowhere.txt"}, {}, "general: there is no file"),
        ({}, {"tier": "no-such-tier"}, "tier: no-such-tier answers nobody here"),
        ({}, {"text": Path("nowhere.txt")}, "text: there is no file"),
    ],
)
def test_run_that_cannot_succeed_does_not_begin(
    brain: Path, config: Config, colours: Path, options: dict[str, Any], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        tune(brain, changed(config, **options), curriculum=colours, **arguments)
    assert students_of(brain).all() == () and [path.name for path in tuning_folder(brain).iterdir()] == ["lock"]


def test_curriculum_of_one_answer_leaves_no_run(brain: Path, config: Config, tmp_path: Path) -> None:
    one = cases.curriculum(tmp_path, sft=[cases.example(f"{i}?", "blue") for i in range(9)])
    with pytest.raises(ValueError, match="all 9 examples"):
        tune(brain, config, curriculum=one)
    assert [path.name for path in tuning_folder(brain).iterdir()] == ["lock"]


def test_rate_that_diverges_is_not_the_best(brain: Path, config: Config, colours: Path) -> None:
    tuned = tune(brain, changed(config, epochs=1.0), curriculum=colours, rates=[1e30, 1e-2])
    assert tuned.student.about["options"]["learning_rate"] == 1e-2


def test_training_that_only_diverges_says_so(brain: Path, config: Config, colours: Path) -> None:
    with pytest.raises(ValueError, match=r"learning_rate: at 1e\+30 the loss of sft is no number"):
        tune(brain, changed(config, epochs=1.0), curriculum=colours, rates=[1e30])
    assert [path.name for path in tuning_folder(brain).iterdir()] == ["lock"]
