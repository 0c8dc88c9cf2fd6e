"""A brain's own documents against forgetting, where no general text is given."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from memory.fakes import WordEmbedder

from ruvllm.config import Config
from ruvllm.memory.tuning_run import tuning_folder
from ruvllm.tuning.training import TrainingStopped
from ruvllm.tuning.training.brain import Hooks, tune
from ruvllm.tuning.training.own_text import HALF_CHARS, write_own_text
from ruvllm.tuning.validation import Limits

from .asked_brain import asked_brain, configured, opened, words_on_disk

WORDS = "the keeper of the tower writes down each ship that passes and what it carries".split()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configured(tmp_path, epochs=0.5)


@pytest.fixture
def brain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("ruvllm.embedding.open_embedder", lambda *given: WordEmbedder())
    return asked_brain(tmp_path / "brain")


def filled(brain: Path, documents: int = 40) -> Path:
    """Add documents, of which 40 are enough."""
    with opened(brain) as memory:
        for number in range(documents):
            text = " ".join(f"{word}{number}" for word in WORDS) + ". "
            memory.ingest([{"text": text * (3 * HALF_CHARS // 40 // len(text)), "source": f"log {number}"}])
    return brain


def stopped(brain: Path, config: Config) -> Path:
    with pytest.raises(TrainingStopped):
        tune(brain, config, hooks=Hooks(must_stop=lambda: True))
    return tuning_folder(brain)


def sources(path: Path) -> set[str]:
    return {word.removeprefix("keeper") for word in path.read_text().split() if word.startswith("keeper")}


def test_halves_are_of_different_documents_and_the_same_every_time(tmp_path: Path, brain: Path, config: Config) -> None:
    filled(brain)
    model = Path(config.generation.model)
    own = write_own_text(brain, tmp_path, ("default",), model)
    assert own is not None and own.nodes
    held, measured = sources(own.general), sources(own.text)
    assert held and measured and len(held & measured) <= 1  # one may be cut where the halves meet
    before = own.general.read_text()
    again = write_own_text(brain, tmp_path, ("default",), model)
    assert again == own and own.general.read_text() == before


def test_few_documents_are_not_enough(tmp_path: Path, brain: Path, config: Config) -> None:
    filled(brain, 20)
    assert write_own_text(brain, tmp_path, ("default",), Path(config.generation.model)) is None
    assert write_own_text(brain, tmp_path, ("another",), Path(config.generation.model)) is None
    assert not list(tmp_path.glob("*.txt"))


def test_student_is_measured_on_what_the_brain_holds(brain: Path, config: Config) -> None:
    tuned = tune(filled(brain), config, limits=Limits(questions=1))
    assert tuned.result is not None and tuned.result.student.perplexity is not None
    assert tuned.student.about["options"]["general"]
    assert [path.name for path in tuning_folder(brain).iterdir()] == ["lock"]


def test_who_wants_no_anchor_has_none(brain: Path, config: Config) -> None:
    free = msgspec.structs.replace(config, training=msgspec.structs.replace(config.training, anchor=0.0))
    tuned = tune(filled(brain), free, limits=Limits(questions=1))
    assert tuned.result is not None and tuned.result.student.perplexity is not None
    assert not tuned.student.about["options"]["general"]


def test_forgotten_document_is_in_no_run(brain: Path, config: Config) -> None:
    folder = stopped(filled(brain), config)
    source = next(iter(sources(folder / "general.txt")))
    with opened(brain) as memory:
        memory.forget(f"log {source}")
    assert not words_on_disk(folder, f"keeper{source}")
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_short_text_is_an_error_before_the_training(tmp_path: Path, brain: Path, config: Config) -> None:
    (tmp_path / "text.txt").write_text("too little")
    with pytest.raises(ValueError, match=r"text: .* 32 windows of 512 need 16384"):
        tune(brain, config, text=tmp_path / "text.txt")
