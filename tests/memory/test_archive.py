"""ruvllm/memory/archive.py: out of hot memory and back, nothing lost at any moment, structure kept."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from ruvllm.errors import BrainError
from ruvllm.memory import Memory
from ruvllm.memory.archive import Archive
from ruvllm.types import EdgeType, Feedback, NodeType, Tier

from .fakes import interaction

DAY_S = 86_400.0


def use(memory: Memory, node: int, count: int, days_ago: float) -> None:
    sql = "UPDATE nodes SET use_count = ?, last_used = ? WHERE id = ?"
    memory._store.write(lambda c: c.execute(sql, (count, time.time() - days_ago * DAY_S, node)).fetchall())


def old_node(memory: Memory, text: str = "an old tale", **options: Any) -> int:
    node = memory.insert_node(text, **options)
    use(memory, node, 1, 90.0)
    return node


def found(memory: Memory, query: str = "tale") -> set[int]:
    return {hit.node.id for hit in memory.search(query)} | {node.id for node in memory.find(query)}


def cold_rows(brain: Path) -> list[Any]:
    with closing(apsw.Connection(str(brain / "cold.db"))) as connection:
        return list(connection.execute("SELECT id, text FROM nodes"))


def test_archival_moves_old_nodes_to_cold_storage(memory: Memory, brain: Path) -> None:
    fresh, old = memory.insert_node("a fresh tale"), old_node(memory)
    use(memory, fresh, 50, 0.0)
    assert found(memory) == {fresh, old}
    report = memory.run_archival(max_age_days=90.0, min_use_count=2)
    assert (report.archived, report.kept, report.bytes_moved) == (1, 1, len("an old tale") + 4 * 64)
    assert found(memory) == {fresh}
    assert cold_rows(brain) == [(old, "an old tale")]
    assert memory.get(old).tier is Tier.COLD
    assert memory.stats().archived == 1
    assert memory.check().findings == ()


def test_what_must_stay_stays(memory: Memory) -> None:
    old_node(memory, "a concept of a tale", type=NodeType.CONCEPT)
    use(memory, memory.insert_node("a tale used twice"), 2, 900.0)
    use(memory, memory.insert_node("a tale of yesterday"), 0, 89.0)
    use(memory, memory.insert_node("a tale of tomorrow"), 0, -365.0)
    memory.record(interaction(answer="an answer is a tale", created=1.0))
    assert memory.run_archival().archived == 0
    assert not memory._archive.file.exists()


def test_text_and_edges_of_an_archived_node_are_kept(memory: Memory) -> None:
    text = "  a tale " + "of many words " * 50
    old, other = old_node(memory, text), memory.insert_node("another thing")
    memory.insert_edge(old, other, EdgeType.CITES, 0.7)
    memory.run_archival()
    assert memory.get(old).text == text
    [(edge, _)] = memory.neighbours(old)
    assert (edge.src, edge.dst) == (old, other)
    assert edge.weight == pytest.approx(0.7)
    ((_, node),) = memory.neighbours(other)
    assert node.text == text.strip()[:80]


def test_rehydrated_node_is_searched_with_its_edges_and_archived_again(memory: Memory, brain: Path) -> None:
    old, other = old_node(memory), memory.insert_node("another thing")
    memory.insert_edge(old, other, EdgeType.CITES, 1.0)
    memory.search("tale")
    memory.run_archival()
    assert memory._links.load().num_edges == 0
    assert memory.rehydrate([old, other]) == 1
    assert old in found(memory) and cold_rows(brain) == []
    assert memory._links.load().num_edges == 1
    assert memory.run_archival().archived == 0
    memory.flush()  # the search above is a use
    use(memory, old, 1, 91.0)
    assert memory.run_archival().archived == 1
    assert memory.check().findings == ()


def test_unchanged_document_is_still_free_and_a_changed_one_replaces_what_is_cold(memory: Memory, brain: Path) -> None:
    memory.add([{"text": "a tale", "source": "s"}])
    use(memory, 1, 0, 100.0)
    memory.run_archival()
    assert memory.add([{"text": "a tale", "source": "s"}]).unchanged == 1
    assert memory.add([{"text": "a new tale", "source": "s"}]).updated == 1
    assert found(memory) == {2}
    assert memory.check().ok


class Crashed(Exception):
    pass


@pytest.mark.parametrize(("step", "query_finds"), [("_take_out", True), ("_tidy", False)])
def test_crash_between_the_two_files_loses_nothing(
    memory: Memory, open_memory: Callable[..., Memory], brain: Path, monkeypatch: Any, step: str, query_finds: bool
) -> None:
    """The copy is in both files or in the cold one alone; the next run makes it right."""

    def crash(*_: object) -> None:
        raise Crashed

    old = old_node(memory)
    with monkeypatch.context() as patch, pytest.raises(Crashed):
        patch.setattr(Archive, step, crash)
        memory.run_archival()
    memory.close()
    again = open_memory()
    assert (old in found(again)) is query_finds
    assert again.get(old).text == "an old tale"
    assert cold_rows(brain) == [(old, "an old tale")]
    again.run_archival()
    assert again.get(old).text == "an old tale"
    assert again.check().findings == ()


def test_crash_after_coming_back_leaves_a_copy_that_is_tidied_up(memory: Memory, brain: Path, monkeypatch: Any) -> None:
    old = old_node(memory)
    memory.run_archival()
    with monkeypatch.context() as patch:
        patch.setattr(Archive, "_drop", lambda self, ids: None)
        memory.rehydrate([old])
    assert [finding.severity for finding in memory.check().findings] == ["warning"]
    assert memory.check(repair=True).ok
    assert cold_rows(brain) == [] and old in found(memory)


def test_crash_in_the_midst_of_a_commit_is_undone_by_the_next_opening(
    open_memory: Callable[..., Memory], tmp_path: Path
) -> None:
    memory = open_memory()
    ids = memory.insert_nodes([f"tale {i} {'of many words ' * 100}" for i in range(40)])
    memory.run_archival(0.0, 99)
    with closing(apsw.Connection(str(memory._archive.file))) as cold:
        cold.execute("BEGIN IMMEDIATE; DELETE FROM nodes")
        cold.cache_flush()  # as a commit begins: pages are in the file, and in the journal as they were
        copy = shutil.copytree(memory.path, tmp_path / "copy")
    assert (copy / "cold.db-journal").stat().st_size
    again = open_memory(copy)
    assert again.get(ids[0]).text.startswith("tale 0")
    assert again.check().findings == ()
    assert again.rehydrate(ids) == len(ids)


def test_forgetting_deletes_from_the_cold_file_too(memory: Memory, brain: Path) -> None:
    old_node(memory, "a secret tale", source="s")
    memory.run_archival()
    assert memory.forget("s") == 1
    assert cold_rows(brain) == []
    assert b"secret" not in (brain / "cold.db").read_bytes()
    assert memory.check().findings == ()


def test_missing_cold_file_is_said_clearly(memory: Memory, brain: Path) -> None:
    old = old_node(memory)
    memory.run_archival()
    (brain / "cold.db").unlink()
    for act in (lambda: memory.get(old), lambda: memory.rehydrate([old])):
        with pytest.raises(BrainError, match=r"cold\.db is missing"):
            act()
    assert [finding.what for finding in memory.check().findings] == [
        f"1 archived nodes have lost their text, first {old}: {brain / 'cold.db'} is missing; restore it"
    ]


def test_missing_row_is_said_clearly(memory: Memory) -> None:
    old = old_node(memory)
    memory.run_archival()
    with memory._archive.writing() as cold:
        cold.execute("DELETE FROM nodes")
    with pytest.raises(BrainError, match=f"does not hold the archived node {old}"):
        memory.get(old)
    assert not memory.check().ok


def exported_text(memory: Memory, node: int) -> str:
    memory.export(file := memory.path.with_suffix(".jsonl"))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return next(str(line["text"]) for line in lines if line["kind"] == "node" and line["id"] == node)


@pytest.mark.parametrize(
    "read", [lambda m, node: m.get(node).text, lambda m, node: m.texts([node])[node], exported_text]
)
def test_a_node_that_comes_back_while_it_is_read_is_read(
    memory: Memory, monkeypatch: Any, read: Callable[[Memory, int], str]
) -> None:
    old = old_node(memory, source="s")
    memory.run_archival()
    archive_read = memory._archive.read

    def late(ids: Any) -> Any:
        monkeypatch.undo()
        memory.rehydrate([old])
        return archive_read(ids)

    monkeypatch.setattr(memory._archive, "read", late)
    assert read(memory, old) == "an old tale"


def test_archive_may_lie_elsewhere_and_belongs_to_one_brain(
    memory: Memory, open_memory: Callable[..., Memory], tmp_path: Path
) -> None:
    old, file = old_node(memory), tmp_path / "elsewhere.db"
    memory.run_archival(cold_path=file)
    assert memory.get(old).text == "an old tale" and file.exists()
    old_node(memory, "one more to move")
    with pytest.raises(ValueError, match=r"cold_path: archived nodes are in .*elsewhere\.db already"):
        memory.run_archival(cold_path=tmp_path / "other.db")
    other = open_memory(tmp_path / "other")
    old_node(other)
    with pytest.raises(BrainError, match="not the archive of this brain"):
        other.run_archival(cold_path=file)
    assert memory.get(old).text == "an old tale"


def test_a_path_that_does_not_serve_is_not_kept(
    memory: Memory, open_memory: Callable[..., Memory], tmp_path: Path
) -> None:
    other = open_memory(tmp_path / "other")
    old_node(other)
    other.run_archival()
    old_node(memory)
    for bad, error in ((tmp_path / "nowhere" / "cold.db", ValueError), (other._archive.file, BrainError)):
        with pytest.raises(error):
            memory.run_archival(cold_path=bad)
    assert memory.run_archival().archived == 1
    assert memory._archive.file == memory.path / "cold.db"


def test_export_holds_archived_texts_and_import_knows_them(
    memory: Memory, open_memory: Callable[..., Memory], tmp_path: Path
) -> None:
    memory.add([{"text": "a tale " + "of many words " * 20, "source": "s"}])
    whole = memory.get(1).text
    old = old_node(memory, "an old fact " + "that is long " * 20)
    use(memory, 1, 0, 100.0)
    assert memory.run_archival().archived == 2
    memory.export(tmp_path / "x.jsonl")
    other = open_memory(tmp_path / "other")
    other.import_file(tmp_path / "x.jsonl")
    assert other.find("tale")[0].text == whole
    memory.import_file(tmp_path / "x.jsonl")
    assert memory.stats().nodes == 2 and memory.get(old).tier is Tier.COLD


@pytest.mark.parametrize("bad", [{"max_age_days": -1.0}, {"max_age_days": float("nan")}, {"min_use_count": -1}])
def test_bad_limits_are_named(memory: Memory, bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        memory.run_archival(**bad)


def test_unknown_ids_are_refused(memory: Memory) -> None:
    old = old_node(memory)
    memory.run_archival()
    with pytest.raises(KeyError):
        memory.rehydrate([old, 99])
    assert found(memory) == set()


def everybodys_answer(memory: Memory) -> int:
    """Return an answer of alice's that two raters made everybody's, and that nobody has used for long."""
    for id, rater in (("a1", "bob"), ("a2", "carol")):
        memory.record(interaction(id, answer=f"a secret tale {'that goes on and on ' * 9}", session="alice"))
        memory.feedback(id, Feedback(rating=5, rater=rater))
    node = memory.interaction("a1").answer_node or 0
    use(memory, node, 0, 900.0)
    return node


def archive_as_version_1_did(memory: Memory, answer: int) -> None:
    """Archive an answer, which stays in memory today."""

    def call(type: NodeType) -> None:
        memory._store.write(
            lambda c: c.execute("UPDATE nodes SET type = ? WHERE id = ?", (type.value, answer)).fetchall()
        )

    call(NodeType.FACT)
    assert memory.run_archival().archived == 1
    call(NodeType.ANSWER)


def test_an_answer_stays_whose_words_a_conversation_reads(memory: Memory) -> None:
    answer = everybodys_answer(memory)
    assert memory.run_archival().archived == 0
    assert memory.turns("alice")[0].answer == memory.get(answer).text


def test_an_archived_answer_goes_with_its_session(memory: Memory, brain: Path) -> None:
    archive_as_version_1_did(memory, everybodys_answer(memory))
    memory.feedback("a1", Feedback(rating=1, rater="bob"))  # now it is alice's alone
    memory.delete_session("alice")
    assert cold_rows(brain) == [] and memory.check().findings == ()


def test_an_archived_answer_that_is_its_session_s_again_comes_back_for_that_alone(memory: Memory) -> None:
    answer = everybodys_answer(memory)
    archive_as_version_1_did(memory, answer)
    memory.feedback("a1", Feedback(rating=1, rater="bob"))
    assert memory.rehydrate([answer]) == 0
    assert [hit.node.id for hit in memory.search("secret tale", session="bob")] == []
    assert answer in [hit.node.id for hit in memory.search("secret tale", session="alice")]
    assert memory.check().findings == ()


def test_an_archived_answer_that_is_called_good_again_waits_to_be_brought_back(memory: Memory) -> None:
    answer = everybodys_answer(memory)
    archive_as_version_1_did(memory, answer)
    memory.feedback("a1", Feedback(rating=1, rater="bob"))
    memory.feedback("a2", Feedback(rating=1, rater="carol"))
    memory.feedback("a2", Feedback(quality=0.9, task_success=False, rater="carol"))  # which says neither
    memory.feedback("a1", Feedback(rating=5, rater="bob"))
    assert memory.check().findings == ()
    memory.rehydrate([answer])
    assert memory.check().findings == ()


def test_an_archived_correction_goes_when_another_takes_its_place(memory: Memory, brain: Path) -> None:
    memory.record(interaction())
    memory.feedback("a1", Feedback(correction="a wrong tale"))
    use(memory, memory.search("tale")[0].node.id, 0, 900.0)
    assert memory.run_archival().archived == 1
    memory.feedback("a1", Feedback(correction="the right tale"))
    assert cold_rows(brain) == [] and memory.check().findings == ()
