"""What the brain forgets is in no run, and in no student that is trained after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ruvllm.checkpoints import students_of
from ruvllm.config import Config
from ruvllm.memory import Memory
from ruvllm.memory.tuning_run import RUN, tuning_folder
from ruvllm.tuning.training import TrainingStopped
from ruvllm.tuning.training.brain import Hooks, tune
from ruvllm.tuning.training.progress import RunDropped
from ruvllm.tuning.validation import Limits

from .asked_brain import opened, words_on_disk


def stopped(brain: Path, config: Config) -> Path:
    """Leave an unfinished run."""
    with pytest.raises(TrainingStopped):
        tune(brain, config, hooks=Hooks(must_stop=lambda: True))
    assert words_on_disk(tuning_folder(brain), "hushword") and (tuning_folder(brain) / RUN).is_file()
    return tuning_folder(brain)


def correction_replaced(memory: Memory) -> None:
    from ruvllm.types import Feedback

    memory.feedback("default3", Feedback(correction="another place"))


@pytest.mark.parametrize(
    "change",
    [
        lambda memory: memory.forget("private"),
        lambda memory: memory.forget("feedback:default3"),
        lambda memory: memory.delete_session("session default3"),
        lambda memory: memory.revoke(memory.interaction("default3").answer_node),
        lambda memory: memory.set_trust("private", 0.0),
        correction_replaced,
    ],
    ids=["source", "correction", "session", "revoked", "distrusted", "correction replaced"],
)
def test_unfinished_run_goes_with_what_it_was_made_of(
    brain: Path, config: Config, change: Callable[[Memory], object]
) -> None:
    folder = stopped(brain, config)
    with opened(brain) as memory:
        change(memory)
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_unfinished_run_stays_where_other_things_change(brain: Path, config: Config) -> None:
    folder = stopped(brain, config)
    with opened(brain) as memory:
        memory.add([{"text": "other words", "source": "other"}])
        memory.forget("other")
        memory.compact()
    assert (folder / RUN).is_file()
    assert tune(brain, config, resume=True, limits=Limits(questions=1)).phases


def test_run_that_is_outdated_begins_anew(brain: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(brain, config)
    for face in ("documents", "requests", "care"):  # as where the process was killed right after it forgot
        monkeypatch.setattr(f"ruvllm.memory.face.{face}.drop_outdated_run", lambda store, path: None)
    with opened(brain) as memory:
        memory.delete_session("session default3")
    with pytest.raises(TrainingStopped):
        tune(brain, config, resume=True, hooks=Hooks(must_stop=lambda: True))
    assert not words_on_disk(tuning_folder(brain), "number default3") and words_on_disk(
        tuning_folder(brain), "number default4"
    )


def test_training_at_work_ends_when_the_brain_forgets(brain: Path, config: Config) -> None:
    def forget(progress: object) -> None:
        with opened(brain) as memory:
            if memory.sources():
                memory.forget("private")

    with pytest.raises(RunDropped, match="was forgotten"):
        tune(brain, config, hooks=Hooks(on_progress=forget))
    assert students_of(brain).all() == () and [path.name for path in tuning_folder(brain).iterdir()] == ["lock"]
