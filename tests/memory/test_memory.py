"""ruvllm/memory/memory.py: opening, sharing, nodes and edges, the index across openings, care."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from full_disk import full

from ruvllm.config import Config, load_config
from ruvllm.errors import BrainDamaged, BrainError, BrainLocked, BrainReadOnly, BrainTooNew
from ruvllm.memory import Memory
from ruvllm.memory.lock import WriterLock
from ruvllm.memory.store import Store
from ruvllm.types import EdgeType, Feedback, NodeType

from .fakes import WordEmbedder, interaction

CHILD = Path(__file__).with_name("child.py")


def numbered(n: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"text": f"item{i} of shelf{i % 7} in room{i % 3}", "source": f"s{i}"} for i in range(start, start + n)]


def must_not_open(*_: object) -> None:
    raise AssertionError("the embedder was opened")


# -- opening


def test_directory_is_made_and_holds_what_is_documented(brain: Path, memory: Memory) -> None:
    memory.add(["one"])
    assert {file.name for file in brain.iterdir()} == {"brain.db", "brain.db-wal", "brain.db-shm", "lock"}
    assert (brain / "lock").read_text() == f"{os.getpid()}\n"
    memory.close()
    assert {file.name for file in brain.iterdir()} == {"brain.db", "lock"}


def test_close_may_be_called_twice_and_then_everything_says_closed(memory: Memory) -> None:
    memory.close()
    memory.close()
    for act in (lambda: memory.add(["x"]), memory.stats, lambda: memory.search("x", query_vector=np.ones(64))):
        with pytest.raises(ValueError, match="closed"):
            act()


def test_care_needs_no_embedder(
    open_memory: Callable[..., Memory], brain: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    first = open_memory()
    first.add(numbered(3))
    first.close()
    monkeypatch.setattr("ruvllm.embedding.open_embedder", must_not_open)
    with Memory(brain) as memory:
        assert memory.stats().nodes == 3
        assert memory.check().ok
        memory.export(tmp_path / "x.jsonl")
        memory.forget("s1")
        memory.compact()


def test_configuration_is_read_from_the_brain(open_memory: Callable[..., Memory], brain: Path) -> None:
    brain.mkdir()
    (brain / "ruvllm.toml").write_text("[retrieval]\nk = 3\n")
    assert open_memory().config.retrieval.k == 3


def test_second_opener_reads_and_its_writes_are_refused(open_memory: Callable[..., Memory]) -> None:
    first = open_memory()
    first.add(["cats purr"])
    first.record(interaction())
    first.flush()
    second = open_memory()
    assert second.read_only and not first.read_only
    assert second.search("cats")[0].node.text == "cats purr"
    assert second.turns("alice", 3)
    writes: list[Callable[[], object]] = [
        lambda: second.add(["x"]),
        lambda: second.insert_node("x"),
        lambda: second.insert_edge(1, 1, EdgeType.CITES),
        lambda: second.feedback("a1", Feedback(rating=3)),
        lambda: second.forget("s"),
        lambda: second.compact(),
        lambda: second.check(repair=True),
        lambda: second.import_file("x"),
    ]
    for write in writes:
        with pytest.raises(BrainLocked) as caught:
            write()
        assert caught.value.pid == os.getpid()
    second.record(interaction("a2"))
    assert second.stats().failed_records == 1


def test_reader_follows_the_writer(open_memory: Callable[..., Memory], hnsw_config: Config) -> None:
    for config in (None, hnsw_config):
        writer = open_memory(config=config)
        writer.add(numbered(20))
        reader = open_memory(config=config)
        assert reader.search("zebra9 stripes", k=1)[0].node.text != "zebra9 stripes"
        writer.add([{"text": "zebra9 stripes", "source": "new"}])
        assert reader.search("zebra9 stripes", k=1)[0].node.text == "zebra9 stripes"
        writer.forget("new")
        assert reader.search("zebra9 stripes", k=1)[0].node.text != "zebra9 stripes"
        reader.close()
        writer.close()


def test_lock_is_free_again_after_closing(open_memory: Callable[..., Memory]) -> None:
    open_memory().close()
    assert not open_memory().read_only


@pytest.mark.integration
def test_another_process_opens_for_reading(memory: Memory, brain: Path) -> None:
    memory.add(["cats purr"])
    child = subprocess.run([sys.executable, CHILD, "search", brain, "cats"], capture_output=True, text=True, timeout=60)
    assert child.stdout.splitlines() == ["read_only True", "cats purr"]


def test_who_comes_second_waits_until_the_first_has_made_the_database(brain: Path) -> None:
    brain.mkdir()
    lock = WriterLock.acquire(brain)
    making = threading.Timer(0.3, lambda: Store(brain / "brain.db", read_only=False).close())
    making.start()
    with Memory(brain, embedder=WordEmbedder()) as memory:
        assert memory.read_only and memory.stats().nodes == 0
    making.join()
    lock.release()


def test_read_only_directory_opens_for_reading(unprivileged: Path) -> None:
    brain = unprivileged / "brain"
    with Memory(brain, embedder=WordEmbedder()) as memory:
        memory.add(["cats purr"])
    (brain / "brain.db").chmod(0o400)
    (brain / "lock").chmod(0o400)
    brain.chmod(0o500)
    before = sorted(file.name for file in brain.iterdir())
    with Memory(brain, embedder=WordEmbedder()) as memory:
        assert memory.read_only
        assert memory.search("cats")[0].node.text == "cats purr"
        with pytest.raises(BrainReadOnly):
            memory.add(["x"])
    assert sorted(file.name for file in brain.iterdir()) == before


def test_read_only_database_file_opens_for_reading(unprivileged: Path) -> None:
    brain = unprivileged / "brain"
    with Memory(brain, embedder=WordEmbedder()) as memory:
        memory.add(["cats purr"])
    (brain / "brain.db").chmod(0o400)
    with Memory(brain, embedder=WordEmbedder()) as memory:
        assert memory.read_only
        assert memory.search("cats")[0].node.text == "cats purr"
        with pytest.raises(BrainReadOnly):
            memory.insert_node("x")


@pytest.mark.parametrize("read_only", [False, True])
def test_full_disk_opens_for_reading(small_disk: Path, read_only: bool) -> None:
    brain = small_disk / "brain"
    with Memory(brain, embedder=WordEmbedder()) as memory:
        memory.add(["cats purr"])
    with full(small_disk):
        memory = Memory(brain, embedder=WordEmbedder(), read_only=read_only)
        with Memory(brain, embedder=WordEmbedder(), read_only=True) as beside:
            assert beside.search("cats")[0].node.text == "cats purr"
        assert memory.read_only and memory.search("cats")[0].node.text == "cats purr"
    with Memory(brain, embedder=WordEmbedder()) as other:  # there is room again, but it is read without SQLite's locks
        assert other.read_only
    memory.close()
    with Memory(brain, embedder=WordEmbedder()) as memory:
        assert not memory.read_only and memory.check().findings == ()


def test_full_disk_does_not_hide_what_the_log_holds(small_disk: Path) -> None:
    with Memory(small_disk / "brain", embedder=WordEmbedder()) as memory:
        memory.add(["cats purr"])
        shutil.copytree(memory.path, small_disk / "cut")
    (small_disk / "cut" / "brain.db-shm").unlink()
    with full(small_disk), pytest.raises(BrainError, match=r"disk is full, and what brain\.db-wal holds"):
        Memory(small_disk / "cut", embedder=WordEmbedder())
    with Memory(small_disk / "cut", embedder=WordEmbedder()) as memory:
        assert memory.search("cats")[0].node.text == "cats purr"


def test_new_brain_on_a_full_disk_says_that_there_is_no_room(small_disk: Path) -> None:
    with full(small_disk), pytest.raises(BrainReadOnly, match=r"brain.*No space left"):
        Memory(small_disk / "brain", embedder=WordEmbedder())
    with Memory(small_disk / "brain", embedder=WordEmbedder()) as memory:
        assert not memory.read_only


def test_directory_that_cannot_be_made_is_an_error(unprivileged: Path) -> None:
    unprivileged.chmod(0o500)
    with pytest.raises(BrainReadOnly):
        Memory(unprivileged / "brain", embedder=WordEmbedder())


def test_reading_what_does_not_exist_is_an_error(brain: Path) -> None:
    with pytest.raises(BrainReadOnly, match="does not exist"):
        Memory(brain, read_only=True)
    assert not brain.exists()


def test_path_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="not a directory"):
        Memory(tmp_path / "file")


@pytest.mark.parametrize("kind", ["newer", "garbage"])
def test_unusable_database_is_refused_and_its_lock_is_free(
    open_memory: Callable[..., Memory], brain: Path, kind: str
) -> None:
    open_memory().close()
    if kind == "newer":
        connection = apsw.Connection(str(brain / "brain.db"))
        connection.pragma("user_version", 99)
        connection.close()
    else:
        (brain / "brain.db").write_bytes(b"garbage" * 1000)
    for _ in range(2):
        with pytest.raises(BrainTooNew if kind == "newer" else BrainDamaged):
            open_memory()


def test_other_embedder_is_refused_and_says_what_to_do(open_memory: Callable[..., Memory]) -> None:
    first = open_memory()
    first.add(["one"])
    first.close()
    with pytest.raises(ValueError, match=r"by 'words-64', not 'other'; set embedding.model back"):
        open_memory(embedder=WordEmbedder(id="other"))
    assert not open_memory().read_only


def test_failed_opening_leaves_no_connection_open(open_memory: Callable[..., Memory], brain: Path) -> None:
    first = open_memory()
    first.add(["one"])
    first.close()
    with pytest.raises(ValueError, match="words-64") as caught:  # its traceback holds on to the memory
        open_memory(embedder=WordEmbedder(id="other"))
    assert caught.traceback and {file.name for file in brain.iterdir()} == {
        "brain.db",
        "lock",
    }  # the last to close folds the log


def test_interrupt_while_closing_loses_no_answer(
    open_memory: Callable[..., Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    first = open_memory(config=load_config(environment={}, overrides={"store": {"flush_interval_s": 3600.0}}))
    first.record(interaction())
    monkeypatch.setattr(first._writeback, "flush", interrupted)
    with pytest.raises(KeyboardInterrupt):
        first.close()
    second = open_memory()
    assert not second.read_only and second.interaction("a1").id == "a1"


# -- nodes and edges


def test_nearly_the_same_words_are_one_node(memory: Memory) -> None:
    text = "The quick brown fox jumps over the lazy dog while the sun sets behind the old red barn"
    first = memory.insert_node(text)
    assert memory.insert_node(text) == first
    assert memory.insert_node(text + "!") == first
    assert memory.get(first).use_count == 2
    assert memory.insert_node(text, type=NodeType.CONCEPT) != first
    assert memory.insert_node("The quick brown fox jumps over the lazy cat near a new green shed at dawn") != first
    assert memory.stats().nodes == 3


def test_same_text_from_many_threads_is_one_node(memory: Memory) -> None:
    ids: list[int] = []
    threads = [
        threading.Thread(target=lambda: ids.append(memory.insert_node("one and the same text"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 1 and len(ids) == 8


def test_nearly_the_same_texts_from_many_threads_are_one_node(memory: Memory) -> None:
    text = "The quick brown fox jumps over the lazy dog while the sun sets behind the old red barn"
    texts = [text, text + "!"] * 4
    threads = [threading.Thread(target=memory.insert_node, args=(one,)) for one in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.stats().nodes == 1


def test_nodes_are_stored_together_or_not_at_all(memory: Memory) -> None:
    first, second, again = memory.insert_nodes(["alpha one", {"text": "beta two", "trust": 0.5}, "alpha one"])
    assert (again, memory.get(second).trust, memory.get(first).use_count) == (first, 0.5, 1)
    with pytest.raises(ValueError, match="trust"):
        memory.insert_nodes(["gamma three", {"text": "delta", "trust": 2.0}])
    assert memory.stats().nodes == 2


def test_one_failure_in_a_block_of_new_nodes_leaves_no_other(memory: Memory) -> None:
    with pytest.raises(ValueError, match="metadata"):
        memory.insert_nodes(["alpha", {"text": "beta", "metadata": {"half": "a pair \ud800"}}])
    assert memory.stats().nodes == 0


def test_texts_of_one_call_that_say_the_same_are_one_node(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ruvllm.memory.newnodes.BLOCK", 2)
    known = memory.insert_node("alpha one")
    ids = memory.insert_nodes(["beta two", "beta two", "gamma three", "alpha one", "beta two"])
    assert ids == [known + 1, known + 1, known + 2, known, known + 1]
    assert memory.get(known + 1).use_count == 2


def test_node_is_read_back(memory: Memory) -> None:
    node = memory.get(memory.insert_node("A fact.", source="me", metadata={"tags": ["x"]}, trust=0.5))
    assert (node.type, node.text, node.source, node.metadata, node.trust) == (
        NodeType.FACT, "A fact.", "me", {"tags": ["x"]}, 0.5,
    )  # fmt: skip


def test_ids_are_never_reused(memory: Memory) -> None:
    first = memory.insert_node("short lived", source="s")
    memory.forget("s")
    assert memory.insert_node("another") > first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"text": ""}, "text"), ({"text": "x", "trust": 2}, "trust"), ({"text": "x", "metadata": {"a": {1}}}, "metadata"),
     ({"text": "x", "metadata": {"a": float("nan")}}, "metadata"), ({"text": "x", "type": "Foo"}, "Foo")],
)  # fmt: skip
def test_bad_nodes_are_named(memory: Memory, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        memory.insert_node(**arguments)


def test_edges_are_found_from_both_ends(memory: Memory) -> None:
    a, b = memory.insert_node("alpha"), memory.insert_node("beta")
    memory.insert_edge(a, b, EdgeType.SAME_TOPIC, 0.7)
    memory.insert_edge(a, b, EdgeType.CITES)
    memory.insert_edge(a, b, EdgeType.SAME_TOPIC, 0.9)
    edges = memory.neighbours(a)
    assert [(e.type, n.id) for e, n in edges] == [("SameTopic", b), ("Cites", b)]
    assert [e.weight for e, _ in edges] == pytest.approx([0.9, 0.5])  # they have faded for a moment
    assert [n.id for _, n in memory.neighbours(b, EdgeType.CITES)] == [a]


def test_steps_of_an_agent_lead_to_the_next_one(memory: Memory) -> None:
    first, second = memory.insert_nodes(["alpha opens", "beta reads"], type=NodeType.AGENT_STEP, source="run 1")
    third = memory.insert_node("gamma writes", type=NodeType.AGENT_STEP, source="run 1")
    memory.insert_node("delta rests", type=NodeType.AGENT_STEP, source="run 2")
    ways = [(e.src, e.dst, e.created_by) for e, _ in memory.neighbours(second, EdgeType.AGENT_STEP)]
    assert sorted(ways) == [(first, second, "order"), (second, third, "order")]
    assert len(memory.neighbours(third)) == 1


def test_a_step_that_is_known_already_is_linked_once_more(memory: Memory) -> None:
    known = memory.insert_node("alpha opens", type=NodeType.AGENT_STEP, source="run")
    again = memory.insert_nodes(["beta reads", "alpha opens"], type=NodeType.AGENT_STEP, source="run")
    assert again[1] == known
    assert {(e.src, e.dst) for e, _ in memory.neighbours(known)} == {(known, again[0]), (again[0], known)}


def test_bad_edges_are_named(memory: Memory) -> None:
    node = memory.insert_node("alpha")
    with pytest.raises(ValueError, match="dst: there is no node 99"):
        memory.insert_edge(node, 99, EdgeType.CITES)
    with pytest.raises(ValueError, match="weight"):
        memory.insert_edge(node, node, EdgeType.CITES, 1.5)
    with pytest.raises(KeyError):
        memory.neighbours(99)
    with pytest.raises(KeyError):
        memory.get(99)


# -- the index across openings


def test_few_vectors_are_searched_exactly(memory: Memory) -> None:
    memory.add(numbered(20))
    memory.search("item3")
    assert memory.stats().index == "exact"


def test_saved_index_is_used_again(open_memory: Callable[..., Memory], hnsw_config: Config, monkeypatch: Any) -> None:
    first = open_memory(config=hnsw_config)
    first.add(numbered(400))
    first.close()
    monkeypatch.setattr("ruvllm.memory.nearest.Nearest._build", must_not_open)
    memory = open_memory(config=hnsw_config)
    assert memory.search("item3 of shelf3 in room0", k=1)[0].node.source == "s3"
    assert memory.stats().indexed == 400


@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone", "manifest"])
def test_damaged_index_is_rebuilt_from_the_database(
    open_memory: Callable[..., Memory], brain: Path, hnsw_config: Config, damage: str
) -> None:
    first = open_memory(config=hnsw_config)
    first.add(numbered(400))
    first.close()
    file, manifest = brain / "index" / "default.hnsw", brain / "index" / "default.json"
    content = bytearray(file.read_bytes())
    if damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif damage == "gone":
        file.unlink()
    else:
        manifest.write_text("{")

    memory = open_memory(config=hnsw_config)
    assert not memory.check().ok
    assert memory.search("item3 of shelf3 in room0", k=1)[0].node.source == "s3"
    assert memory.check(repair=True).ok
    assert memory.stats().indexed == 400
    memory.close()
    memory = open_memory(config=hnsw_config)
    assert memory.check().findings == ()


def test_index_that_lags_behind_is_brought_in_step(open_memory: Callable[..., Memory], hnsw_config: Config) -> None:
    first = open_memory(config=hnsw_config)
    first.add(numbered(400))
    first.close()
    second = open_memory(config=hnsw_config)
    second.forget("s3")
    second.add(numbered(1, start=900))
    second.close()
    memory = open_memory(config=hnsw_config)
    sources = [hit.node.source for hit in memory.search("item3 of shelf3 in room0", k=50)]
    assert "s3" not in sources
    assert memory.search("item900", k=1)[0].node.source == "s900"
    assert memory.stats().indexed == 400


def test_compact_rebuilds_past_a_fifth_of_tombstones(open_memory: Callable[..., Memory], hnsw_config: Config) -> None:
    memory = open_memory(config=hnsw_config)
    memory.add(numbered(100))
    for i in range(10):
        memory.forget(f"s{i}")
    assert not memory.compact().rebuilt
    for i in range(10, 30):
        memory.forget(f"s{i}")
    report = memory.compact()
    assert (report.rebuilt, report.indexed) == (True, 70)
    assert len(memory.search("item50", k=100)) == 70


def test_smaller_dimension_projects_and_moves_to_pca(open_memory: Callable[..., Memory], monkeypatch: Any) -> None:
    monkeypatch.setattr("ruvllm.memory.space.MIN_PCA_TEXTS", 200)
    monkeypatch.setattr("ruvllm.embedding.projection.MIN_PCA_TEXTS", 200)
    config = load_config(environment={}, overrides={"embedding": {"dim": 16}, "index": {"exact_below": 100}})
    first = open_memory(config=config)
    first.add(numbered(150))
    assert first._space.dim_and_id() == (16, "words-64/gaussian-16-seed0")
    first.add(numbered(60, start=150))
    first.close()
    memory = open_memory(config=config)
    assert memory.search("item3 of shelf3 in room0", k=1)[0].node.source == "s3"
    assert memory._space.dim_and_id()[1].startswith("words-64/pca-16-")
    assert memory.stats().indexed == 210


def test_projection_is_chosen_once(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[object] = []
    choose = memory._space._choose

    def held() -> object:
        chosen.append(object())
        if len(chosen) == 1:
            other.start()
            other.join(0.2)  # it waits for this one, or chooses by itself
        return choose()

    other = threading.Thread(target=memory._space.projection)
    monkeypatch.setattr(memory._space, "_choose", held)
    memory._space.projection()
    other.join()
    assert len(chosen) == 1


@pytest.mark.integration
def test_searching_while_writing_is_safe(open_memory: Callable[..., Memory], hnsw_config: Config) -> None:
    memory = open_memory(config=hnsw_config)
    memory.add(numbered(50))
    done, errors = threading.Event(), list[BaseException]()

    def search() -> None:
        try:
            while not done.is_set():
                assert memory.search("item3 of shelf3 in room0", k=5, session="alice")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(10):
        memory.add(numbered(20, start=100 + 20 * i))
        memory.forget(f"s{100 + 20 * i}")
        memory.insert_node(f"fact number{i}")
        memory.record(interaction(f"a{i}"))
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert memory.check().ok


# -- care


def test_stats_count_what_is_there(memory: Memory) -> None:
    memory.add(numbered(3))
    memory.record(interaction(source_ids=(1,)))
    memory.feedback("a1", Feedback(rating=5))
    stats = memory.stats()
    assert (stats.nodes, stats.documents, stats.interactions, stats.feedback, stats.sessions) == (5, 3, 1, 1, 1)
    assert (stats.on_probation, stats.edges, stats.embedder) == (2, 2, "words-64")
    assert stats.nodes_by_type == {"Answer": 1, "Document": 3, "Query": 1}
    assert stats.database_bytes > 0


def test_what_goes_does_not_make_up_for_what_was_added(memory: Memory) -> None:
    memory.add(numbered(3))
    memory.record(interaction("a1", session="alice"))
    memory.flush()
    newest, at = memory.newest_node(), time.time()
    memory.record(interaction("a2", session="bob", created=at + 1.0))
    memory.add(["The supply ship is red."])
    memory.forget("s0")
    memory.delete_session("alice")
    assert memory.added_since(newest, at) == (1, 1)
