"""ruvllm/memory/check.py: every kind of damage is found, and mended where it can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ruvllm.memory import Memory

SOUND = np.zeros(64, "<f4").tobytes()

DAMAGE = {
    "DELETE FROM vectors WHERE node = 2": "1 nodes have no sound vector (1 have none), first 2",
    "UPDATE vectors SET vector = zeroblob(256) WHERE node = 2": "1 nodes have no sound vector (0 have none), first 2",
    "UPDATE vectors SET vector = zeroblob(3) WHERE node = 2": "1 nodes have no sound vector (0 have none), first 2",
    "UPDATE vectors SET vector = randomblob(256)": "3 nodes have no sound vector (0 have none), first 1",
    "DELETE FROM keywords WHERE rowid = 2": "1 nodes are not found by keywords",
    "INSERT INTO keywords (rowid, body) VALUES (77, 'x')": "1 keyword rows belong to nodes that do not exist",
    "INSERT INTO edges VALUES (1, 99, 'Cites', 1, 0, 0, 0, 'x', 0, NULL, 0)": "1 edges lead to nodes that do not exist",
}


@pytest.fixture
def damaged(memory: Memory) -> Callable[[str], Memory]:
    def damage(sql: str) -> Memory:
        memory.add({"text": f"text{i} words", "source": f"s{i}"} for i in range(3))
        with memory._store.exclusive() as connection:
            connection.pragma("foreign_keys", "99," not in sql and "1, 99" not in sql)
            for _ in connection.execute(sql):
                pass
            connection.pragma("foreign_keys", True)
        return memory

    return damage


@pytest.mark.parametrize("sql", DAMAGE)
def test_damage_is_found_and_mended(damaged: Callable[[str], Memory], sql: str) -> None:
    memory = damaged(sql)
    report = memory.check()
    assert [finding.what for finding in report.findings] == [DAMAGE[sql]]
    assert not report.ok
    mended = memory.check(repair=True)
    assert mended.ok and all(finding.repaired for finding in mended.findings)
    assert memory.check().findings == ()


def test_lost_chunks_come_back_by_ingesting_again_and_not_before(damaged: Callable[[str], Memory]) -> None:
    memory = damaged("DELETE FROM keywords WHERE rowid = 1; DELETE FROM nodes WHERE id = 1")
    for repair in (False, True, True):
        report = memory.check(repair=repair)
        assert [finding.what for finding in report.findings] == ["s0 should have 1 chunks and has 0; ingest it again"]
        assert not report.ok
    assert memory.add([{"text": f"text{i} words", "source": f"s{i}"} for i in range(3)]).unchanged == 2
    assert memory.check().findings == ()


def test_lost_vector_is_embedded_again_and_found(damaged: Callable[[str], Memory]) -> None:
    memory = damaged("DELETE FROM vectors WHERE node = 2")
    memory._nearest.reload()
    assert memory.search("text1", k=1)[0].similarity is None
    memory.check(repair=True)
    assert memory.search("text1", k=1)[0].similarity == pytest.approx(0.7, abs=0.3)
    assert 2 in memory._nearest.load()


def test_a_mended_vector_is_the_one_that_ingest_gave(memory: Memory) -> None:
    text = "\n\n".join(f"## Part {i}\n\n{'cheese and bread. ' * 90}" for i in range(2))
    memory.add([{"text": text, "title": "Larder", "source": "larder", "metadata": {"date": "2024-05-01"}}])
    before = memory._store.rows("SELECT node, vector FROM vectors ORDER BY node")
    with memory._store.exclusive() as connection:
        connection.execute("DELETE FROM vectors")
    memory.check(repair=True)
    assert memory._store.rows("SELECT node, vector FROM vectors ORDER BY node") == before
    assert len(before) > 2


def test_left_over_temporary_files_are_warnings(memory: Memory, brain: Path) -> None:
    memory.add(["x"])
    (brain / "index").mkdir()
    (brain / "index" / "default.hnsw.tmp").write_bytes(b"half")
    report = memory.check()
    assert [finding.severity for finding in report.findings] == ["warning"]
    assert memory.check(repair=True).ok
    assert list((brain / "index").iterdir()) == []


def test_untouched_brain_has_no_findings(memory: Memory) -> None:
    memory.add(["one", "two"])
    report = memory.check()
    assert (report.findings, report.nodes, report.edges) == ((), 2, 0)


def test_a_check_after_a_check_sees_what_was_added_between(memory: Memory) -> None:
    for i in range(20):  # by then the full-text index has joined the segments that earlier checks saw
        assert memory.check().findings == ()
        memory.add([f"text{i} thing"])
