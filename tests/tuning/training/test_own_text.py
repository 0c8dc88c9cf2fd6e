"""A brain's own documents against forgetting, where no general text is given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from memory.fakes import WordEmbedder

from ruvllm.checkpoints import students_of
from ruvllm.config import Config, TuningConfig
from ruvllm.memory import Memory
from ruvllm.memory.tuning_run import GENERAL, TEXT, tuning_folder
from ruvllm.tuning.training import TrainingStopped
from ruvllm.tuning.training.brain import Hooks, tune
from ruvllm.tuning.training.own_text import HALF_CHARS, write_own_text
from ruvllm.tuning.validation import Limits

from .asked_brain import opened, words_on_disk

WORDS = "the keeper of the tower writes down each ship that passes and what it carries".split()


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
    base = Path(config.training.base)
    nodes = write_own_text(filled(brain), tmp_path, TuningConfig(), base)
    held, measured = sources(tmp_path / GENERAL), sources(tmp_path / TEXT)
    assert nodes and held and measured and len(held & measured) <= 1  # one may be cut where the halves meet
    before = (tmp_path / GENERAL).read_text()
    assert write_own_text(brain, tmp_path, TuningConfig(), base) == nodes
    assert (tmp_path / GENERAL).read_text() == before


def test_few_documents_are_not_enough(tmp_path: Path, brain: Path, config: Config) -> None:
    base = Path(config.training.base)
    assert write_own_text(filled(brain, 20), tmp_path, TuningConfig(), base) == ()
    assert write_own_text(brain, tmp_path, TuningConfig(namespaces=("another",)), base) == ()
    assert not list(tmp_path.glob("*.txt"))


def test_one_document_of_all_words_is_not_enough(tmp_path: Path, brain: Path, config: Config) -> None:
    with opened(brain) as memory:
        memory._store.write(
            lambda c: c.execute(
                "INSERT INTO nodes (namespace, type, text, source, created, last_used) "
                "VALUES ('default', 'Document', ?, 'book', 0, 0)",
                ("a ship " * HALF_CHARS,),
            ).fetchall()
        )
    assert write_own_text(brain, tmp_path, TuningConfig(), Path(config.training.base)) == ()


def test_own_documents_are_redacted_as_all_else(
    tmp_path: Path, brain: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datafog", reason="needs pip install 'ruvllm[pii]'")
    monkeypatch.setitem(globals(), "WORDS", [*WORDS, "keeper@tower.example"])
    assert write_own_text(filled(brain), tmp_path, TuningConfig(redact=True), Path(config.training.base))
    text = (tmp_path / TEXT).read_text()
    assert "[EMAIL]" in text and "@" not in text


def test_student_is_measured_on_what_the_brain_holds(brain: Path, config: Config) -> None:
    tuned = tune(filled(brain), config, limits=Limits(questions=1))
    assert tuned.result is not None and tuned.result.student.perplexity is not None
    assert tuned.student.about["options"]["general"]
    assert [path.name for path in tuning_folder(brain).iterdir()] == ["lock"]


def test_run_goes_on_from_another_folder(brain: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(brain)
    monkeypatch.chdir(brain.parent)
    steps = iter(range(99))
    with pytest.raises(TrainingStopped):
        tune(Path("brain"), config, hooks=Hooks(must_stop=lambda: next(steps) > 2))
    moved = brain.rename(brain.parent / "moved")
    monkeypatch.chdir("/")
    tuned = tune(moved, config, resume=True, limits=Limits(questions=1))
    assert tuned.result is not None and tuned.result.student.perplexity is not None


def test_who_wants_no_anchor_has_none(brain: Path, config: Config) -> None:
    free = msgspec.structs.replace(config, training=msgspec.structs.replace(config.training, anchor=0.0))
    tuned = tune(filled(brain), free, limits=Limits(questions=1))
    assert tuned.result is not None and tuned.result.student.perplexity is not None
    assert not tuned.student.about["options"]["general"]


def forgotten(memory: Memory, source: str) -> None:
    memory.forget(source)


def distrusted(memory: Memory, source: str) -> None:
    memory.set_trust(source, 0.0)


@pytest.mark.parametrize("change", [forgotten, distrusted])
def test_document_that_is_gone_is_in_no_run(brain: Path, config: Config, change: Callable[[Memory, str], None]) -> None:
    folder = stopped(filled(brain), config)
    source = next(iter(sources(folder / GENERAL)))
    with opened(brain) as memory:
        change(memory, f"log {source}")
    assert not words_on_disk(folder, f"keeper{source}")
    assert [path.name for path in folder.iterdir()] == ["lock"]


@pytest.mark.parametrize("is_imported", [True, False])
def test_document_that_is_replaced_is_history_and_stays_in_a_run(
    tmp_path: Path, brain: Path, config: Config, is_imported: bool
) -> None:
    folder = stopped(filled(brain), config)
    source = next(iter(sources(folder / GENERAL)))
    words = [{"text": "Other words.", "source": f"log {source}"}]
    with Memory(tmp_path / "other", embedder=WordEmbedder()) as other:
        other.ingest(words)
        other.export(tmp_path / "other.jsonl")
    with opened(brain) as memory:
        if is_imported:
            memory.import_file(tmp_path / "other.jsonl")
        else:
            memory.ingest(words)
        assert source in sources(folder / GENERAL)
        memory.forget(f"log {source}")
    assert [path.name for path in folder.iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("words", "says"),
    [("too little", "32 windows of 512 need 16384"), ("a ship " * 20_000, "read it in other tokens")],
)
def test_text_that_does_not_compare_is_an_error_before_the_training(
    tmp_path: Path, brain: Path, config: Config, words: str, says: str
) -> None:
    tokenizer = Path(config.training.base) / "tokenizer.json"
    changed = json.loads(tokenizer.read_text())
    changed["normalizer"] = {"type": "Replace", "pattern": {"String": "ship"}, "content": "boat"}
    tokenizer.write_text(json.dumps(changed))
    (tmp_path / "text.txt").write_text(words)
    done: list[object] = []
    with pytest.raises(ValueError, match=f"text: .*{says}"):
        tune(brain, config, text=tmp_path / "text.txt", hooks=Hooks(on_progress=done.append))
    assert not done and students_of(brain).all() == ()
