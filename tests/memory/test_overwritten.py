"""What was deleted is not left in the file of the database, however its pages were filled before."""

from __future__ import annotations

import random
from typing import Any

import apsw

from ruvllm.memory import Concept, Memory


def fill(connection: apsw.Connection, chance: random.Random) -> None:
    """Make rows that outgrow their pages, so that they are moved to others; delete those that hold a secret."""
    connection.execute("CREATE TABLE grown (id INTEGER PRIMARY KEY, text TEXT)")
    texts = [(i, f"{'kept' if i < 15 else 'secret'} {'x' * chance.randint(10, 900)}") for i in range(60)]
    connection.executemany("INSERT INTO grown VALUES (?, ?)", chance.sample(texts, 60))
    grown: list[Any] = [("y" * chance.randint(10, 2000), i) for i in chance.sample(range(60), 20)]
    connection.executemany("UPDATE grown SET text = text || ? WHERE id = ?", grown)
    connection.executemany("DELETE FROM grown WHERE id = ?", [(i,) for i in chance.sample(range(15, 60), 45)])


def test_compaction_leaves_no_copy_of_a_row_that_was_moved_and_deleted(memory: Memory) -> None:
    memory.ingest([{"text": "a source", "source": "a"}])
    memory.forget("a")
    memory._store.write(lambda connection: fill(connection, random.Random(1)))
    memory.compact()
    assert b"secret xxx" not in (memory.path / "brain.db").read_bytes()


def test_compaction_leaves_no_word_of_what_was_archived(memory: Memory) -> None:
    memory.ingest([{"text": f"{word} paint", "source": word} for word in ("amber", "secret")])
    memory.put_concept(Concept("paint"), {memory.insert_node("all paint"): 0.9})
    memory._store.write(lambda c: c.execute("UPDATE nodes SET use_count = 9 WHERE document IS NULL").fetchall())
    assert memory.run_archival(0.0, 9).archived == 2
    memory.forget("secret")
    memory.compact()
    assert b"secret" not in memory._archive.file.read_bytes()
    assert [hit.node.text for hit in memory.search("amber", k=1)] == ["amber paint"]


def test_database_is_written_anew_only_after_something_was_deleted(memory: Memory) -> None:
    said: list[str] = []
    memory.ingest([{"text": "a secret", "source": "private"}])
    with memory._store.exclusive() as connection:
        connection.exec_trace = lambda cursor, sql, bindings: said.append(sql) or True
    memory.compact()
    assert said and "VACUUM" not in said
    memory.forget("private")
    memory.compact()
    memory.compact()
    assert said.count("VACUUM") == 1
