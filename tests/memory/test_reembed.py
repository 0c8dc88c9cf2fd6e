"""ruvllm/memory/reembed.py: the same texts by another embedder, whatever happens meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from ruvllm.config import Config, load_config
from ruvllm.errors import BrainError, ModelDamaged
from ruvllm.memory import Memory, ReembedProgress
from ruvllm.memory.interactions import commit_interactions
from ruvllm.memory.reembed import BATCH_NODES
from ruvllm.types import Feedback

from .fakes import WordEmbedder, interaction

GUIDE = (
    "---\ndate: 2024-05-01\n---\n# Guide\n\n"
    + "".join(f"## Part {p}\n\n" + "".join(f"Word{p}x{i} stands here. " for i in range(120)) + "\n\n" for p in range(2))
    + "## "
    + "a very long heading " * 40
    + "\n\nIts text.\n"
)


class Killed(BaseException):
    """What a process that dies does not handle."""


class Watched(WordEmbedder):
    """Calls `at_batch` with the number of each batch before it is encoded."""

    def __init__(self, at_batch: Callable[[int], None], dim: int = 48, id: str = "words-48") -> None:
        super().__init__(dim, id)
        self._at_batch = at_batch
        self._batches = 0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self._at_batch(self._batches)
        self._batches += 1
        return super().encode(texts)


def dies_at(batch: int) -> Callable[[int], None]:
    def die(number: int) -> None:
        if number == batch:
            raise Killed

    return die


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ruvllm.memory.reembed.BATCH_NODES", 10)


def numbered(n: int, start: int = 0) -> list[dict[str, str]]:
    return [{"text": f"item{i} of shelf{i % 7}", "source": f"s{i}"} for i in range(start, start + n)]


def vectors(memory: Memory) -> dict[int, bytes]:
    return dict(memory._store.rows("SELECT node, vector FROM vectors"))  # type: ignore[arg-type]


def meta(memory: Memory) -> dict[str, str]:
    return dict(memory._store.rows("SELECT key, value FROM meta"))  # type: ignore[arg-type]


def test_texts_are_embedded_as_they_were_at_first(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "guide.md").write_text(GUIDE)
    memory.ingest(tmp_path / "guide.md")
    turns = [{"speaker": "Ann", "date": f"May {i}", "text": f"I said {i}. " * 90} for i in range(3)]
    memory.ingest([{"turns": turns, "title": "A talk"}])
    memory.add([{"text": "made-up place", "metadata": {"title": "T", "heading": "H", "embedded_prefix": "P"}}])
    memory.insert_node("a fact", metadata={"date": "May", "title": "unseen", "question": "why?"})
    memory.record(interaction("a1"))
    memory.feedback("a1", Feedback(correction="something else"))
    before = vectors(memory)
    assert memory.reembed(WordEmbedder()) == len(before) > 10
    assert vectors(memory) == before


def test_brain_moves_to_another_embedder(memory: Memory, open_memory: Callable[..., Memory], brain: Path) -> None:
    memory.add(numbered(30))
    new = WordEmbedder(48, "words-48")
    assert memory.reembed(new) == 30
    assert memory.search("item3 of shelf3", k=1)[0].node.source == "s3"
    assert memory.add(["one more"]).added == 1
    assert (memory.check().ok, meta(memory)) == (True, {"embedder": "words-48", "native_dim": "48"})
    memory.close()
    with pytest.raises(ValueError, match="ruvllm reembed"):
        open_memory()
    again = open_memory(embedder=new)
    assert again.search("one more", k=1)[0].node.text == "one more"
    assert again._store.value("SELECT count(*) FROM vectors_next") == 0


def test_killed_run_goes_on(open_memory: Callable[..., Memory], small_batches: None) -> None:
    memory = open_memory()
    memory.add(numbered(35))
    with pytest.raises(Killed):
        memory.reembed(Watched(dies_at(2)))
    memory.close()
    memory = open_memory()
    assert memory.search("item3 of shelf3", k=1)[0].node.source == "s3"
    seen: list[ReembedProgress] = []
    assert memory.reembed(WordEmbedder(48, "words-48"), on_progress=seen.append) == 15
    assert seen == [ReembedProgress(30, 35), ReembedProgress(35, 35)]
    assert memory.search("item3 of shelf3", k=1)[0].node.source == "s3"


@pytest.mark.integration
def test_killed_process_loses_no_finished_batch(open_memory: Callable[..., Memory], brain: Path) -> None:
    with open_memory() as memory:
        memory.add(numbered(2 * BATCH_NODES + 10))
    command = [sys.executable, Path(__file__).with_name("child.py"), "reembed", brain]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == str(BATCH_NODES)
        child.kill()
    memory = open_memory()
    assert memory.check().ok
    assert memory.search("item3 of shelf3", k=1)[0].node.source == "s3"
    assert memory.reembed(WordEmbedder(48, "words-48")) == BATCH_NODES + 10


def test_move_elsewhere_starts_anew(memory: Memory, small_batches: None) -> None:
    memory.add(numbered(35))
    with pytest.raises(Killed):
        memory.reembed(Watched(dies_at(2)))
    assert memory.reembed(WordEmbedder(48, "others-48")) == 35
    assert meta(memory) == {"embedder": "others-48", "native_dim": "48"}


def test_run_killed_at_the_change_leaves_the_old_vectors(
    memory: Memory, open_memory: Callable[..., Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.add(numbered(5))
    before = vectors(memory)
    monkeypatch.setattr("ruvllm.memory.face.care.remove_all_saved", lambda path: dies_at(0)(0))
    with pytest.raises(Killed):
        memory.reembed(WordEmbedder(48, "words-48"))
    assert vectors(memory) == before
    assert memory.search("item3 of shelf3", k=1)[0].node.source == "s3"


def test_searches_are_answered_while_it_runs(memory: Memory, small_batches: None) -> None:
    memory.add(numbered(60))
    errors: list[BaseException] = []
    found: list[str | None] = []
    done = threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                found.append(memory.search("item3 of shelf3", k=1)[0].node.source)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for dim in (48, 32, 64):
        memory.reembed(Watched(lambda _: None, dim, f"words-{dim}"))
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert set(found) == {"s3"}


def test_what_is_written_while_it_runs_is_covered(memory: Memory, small_batches: None) -> None:
    memory.add(numbered(30))

    def write(batch: int) -> None:
        if batch == 1:
            memory.add(numbered(25, start=100))
            memory.forget("s2")
            memory.insert_node("a fact")
            memory.record(interaction("a1"))
            memory.flush()

    memory.reembed(Watched(write))
    assert {len(blob) for blob in vectors(memory).values()} == {4 * 48}
    assert len(vectors(memory)) == 29 + 25 + 1 + 2
    assert memory.check().ok


@pytest.mark.integration
def test_writers_beside_it_lose_nothing(memory: Memory, small_batches: None) -> None:
    errors: list[BaseException] = []

    def write(name: int) -> None:
        try:
            for i in range(15):
                memory.add([f"text{i} of writer{name}"])
                memory.insert_node(f"fact{i} of writer{name}, alone{name}x{i}")
                memory.record(interaction(f"a{name}-{i}", session=f"s{name}-{i}"))
                memory.feedback(f"a{name}-{i}", Feedback(correction=f"right{i} for writer{name}"))
        except BaseException as error:
            errors.append(error)

    memory.add(numbered(20))
    threads = [threading.Thread(target=write, args=(name,)) for name in range(2)]
    for thread in threads:
        thread.start()
    for dim in (48, 32, 64, 48):
        memory.reembed(WordEmbedder(dim, f"words-{dim}"))
    for thread in threads:
        thread.join()
    memory.flush()
    assert errors == []
    assert {len(blob) for blob in vectors(memory).values()} == {4 * 48}
    assert len(vectors(memory)) == 20 + 2 * 15 * (1 + 1 + 2 + 1)


def test_vector_made_before_the_move_is_not_stored_after_it(memory: Memory) -> None:
    memory.add(["something"])
    old = memory.encode(["What is an index?"])[0]
    memory.reembed(WordEmbedder(64, "others"))
    memory.record(interaction("a1", query="What?", query_vector=old))
    memory.flush()
    stored = memory._store.value("SELECT vector FROM vectors JOIN nodes ON id = node WHERE type = 'Query'")
    assert stored == memory.encode(["What?"])[0].astype("<f4").tobytes()


def test_late_writer_is_refused(memory: Memory) -> None:
    memory.add(["something"])
    memory.reembed(WordEmbedder(48, "words-48"))
    with pytest.raises(BrainError, match="moved from words-64 to words-48 meanwhile"):
        commit_interactions(memory._store, [interaction("a1")], WordEmbedder())
    assert memory.stats().nodes == 1


def test_queue_that_was_late_encodes_again(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.add(["something"])
    encoded, moved = threading.Event(), threading.Event()
    encode = WordEmbedder.encode

    def slow(self: WordEmbedder, texts: Sequence[str]) -> np.ndarray:
        vectors = encode(self, texts)
        if self.id == "words-64" and not encoded.is_set() and "What is an index?" in texts:
            encoded.set()
            moved.wait(10)
        return vectors

    monkeypatch.setattr(WordEmbedder, "encode", slow)
    memory._writeback.put(interaction("a1"))
    assert encoded.wait(10)
    monkeypatch.setattr(memory._writeback, "flush", lambda: None)  # it would wait for the one that is held up
    memory.reembed(WordEmbedder(48, "words-48"))
    moved.set()
    monkeypatch.undo()
    memory.flush()
    assert memory.interaction("a1").query == "What is an index?"
    assert {len(blob) for blob in vectors(memory).values()} == {4 * 48}


def test_reader_beside_it_is_told(memory: Memory, open_memory: Callable[..., Memory]) -> None:
    memory.add(numbered(3))
    reader = open_memory()
    assert reader.read_only and reader.search("item1")
    memory.reembed(WordEmbedder(64, "others"))
    with pytest.raises(ValueError, match="holds vectors by 'others', not 'words-64'"):
        reader.search("item1")


def test_saved_index_and_projection_do_not_outlive_their_embedder(
    open_memory: Callable[..., Memory], monkeypatch: pytest.MonkeyPatch, brain: Path
) -> None:
    monkeypatch.setattr("ruvllm.memory.space.MIN_PCA_TEXTS", 20)
    monkeypatch.setattr("ruvllm.embedding.projection.MIN_PCA_TEXTS", 20)
    config = _small(dim=16)
    with Memory(brain, embedder=WordEmbedder(), config=config) as memory:
        memory.add(numbered(40))
    memory = open_memory(config=config)
    memory.compact()
    old = memory._space.dim_and_id()
    kept = {file.name: file.read_bytes() for file in (brain / "index").iterdir()}
    assert {"projection", "default.hnsw", "default.json"} <= kept.keys()
    new = WordEmbedder(64, "others")
    memory.reembed(new)
    assert not {"projection", "default.hnsw", "default.json"} & {file.name for file in (brain / "index").iterdir()}
    memory.close()
    for name, content in kept.items():  # as when it was killed right after the change
        (brain / "index" / name).write_bytes(content)
    memory = open_memory(embedder=new, config=config)
    assert memory._space.dim_and_id()[1].startswith("others/pca-16-")
    assert memory._space.dim_and_id() != old
    assert memory.search("item3 of shelf3", k=1)[0].node.source == "s3"


def _small(**embedding: int) -> Config:
    overrides = {"embedding": embedding, "index": {"exact_below": 10, "m": 8, "ef_construction": 64}}
    return load_config(environment={}, overrides=overrides)


def test_broken_embedder_changes_nothing(memory: Memory) -> None:
    class Broken(WordEmbedder):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            return np.full((len(texts), self.native_dim), np.nan, np.float32)

    memory.add(numbered(3))
    before = vectors(memory)
    with pytest.raises(ModelDamaged, match="broken gives no sound vectors"):
        memory.reembed(Broken(48, "broken"))
    assert vectors(memory) == before
    assert memory.search("item1")


def test_archived_nodes_are_to_be_brought_back_first(memory: Memory, small_batches: None) -> None:
    memory.add(numbered(30))
    memory.run_archival(max_age_days=0.0)
    with pytest.raises(BrainError, match="30 archived nodes"):
        memory.reembed(WordEmbedder(48, "words-48"))
    memory.rehydrate(range(1, 31))
    with pytest.raises(BrainError, match="30 archived nodes"):
        memory.reembed(Watched(lambda batch: memory.run_archival(max_age_days=0.0) and None if batch == 1 else None))
    memory.rehydrate(range(1, 31))
    assert memory.reembed(WordEmbedder(48, "words-48")) == 20
    assert memory.check().ok


def test_older_versions_move_too(memory: Memory) -> None:
    for text in ("first words", "other words"):
        memory.add([{"text": text, "source": "s"}])
    assert memory.reembed(WordEmbedder(48, "words-48")) == 2


def test_answers_are_attributed_after_the_move_too(memory: Memory) -> None:
    memory.add(numbered(3))
    old = memory.encode(["item1"])[0]
    memory.reembed(WordEmbedder(48, "words-48"))
    memory.record(interaction("a1", query="item1", answer="shelf1", query_vector=old, source_ids=(1, 2)))
    memory.flush()
    assert memory._store.value("SELECT count(*) FROM credits") == 2


def test_empty_brain_has_nothing_to_move(memory: Memory) -> None:
    assert memory.reembed(WordEmbedder(48, "words-48")) == 0
    assert meta(memory) == {}
    assert memory.add(["first"]).added == 1
