"""ruvllm/memory/store.py and schema.py: one writer, groups, readers, what the world does to the file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from ruvllm.errors import BrainDamaged, BrainError, BrainReadOnly, BrainTooNew
from ruvllm.memory.schema import APPLICATION_ID, MIGRATIONS
from ruvllm.memory.store import Store, _Ticket


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "brain.db", read_only=False)
    yield store
    store.close()


def put(key: str):  # type: ignore[no-untyped-def]
    return lambda connection: connection.execute("INSERT INTO meta VALUES (?, '')", (key,)).fetchall()


def keys(store: Store) -> list[str]:
    return [row[0] for row in store.rows("SELECT key FROM meta ORDER BY key")]


def test_new_database_has_the_newest_schema(store: Store) -> None:
    assert store.value("PRAGMA user_version") == len(MIGRATIONS)
    assert store.value("PRAGMA application_id") == APPLICATION_ID


def test_acknowledged_writes_are_synced(store: Store) -> None:
    with store.exclusive() as connection:
        assert connection.pragma("synchronous") == 2
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("foreign_keys") == 1


def test_write_that_fails_leaves_nothing(store: Store) -> None:
    def work(connection: apsw.Connection) -> None:
        put("a")(connection)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        store.write(work)

    assert keys(store) == []


def test_waiting_writers_share_a_commit_and_one_failure_undoes_only_itself(store: Store) -> None:
    first_is_in, may_go_on = threading.Event(), threading.Event()
    errors: list[BaseException] = []
    commits: list[int] = []

    def slow(connection: apsw.Connection) -> None:
        connection.set_commit_hook(lambda: bool(commits.append(1)))
        first_is_in.set()
        may_go_on.wait(10)

    def write(work) -> None:  # type: ignore[no-untyped-def]
        try:
            store.write(work)
        except ZeroDivisionError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(slow,))]
    threads[0].start()
    first_is_in.wait(10)
    for work in (put("a"), lambda _: 1 / 0, put("b")):
        threads.append(threading.Thread(target=write, args=(work,)))
        threads[-1].start()
    while len(store._waiting) < 3:
        pass
    may_go_on.set()
    for thread in threads:
        thread.join()

    assert keys(store) == ["a", "b"]
    assert len(errors) == 1
    assert len(commits) == 2  # the slow one alone, the other three together


def test_interrupted_leader_does_not_lose_the_others_work(store: Store) -> None:
    def interrupted(connection: apsw.Connection) -> None:
        waiter.start()
        while len(store._waiting) < 1:
            pass
        store._waiting[0].work(connection)  # as if it had come into the same group
        raise KeyboardInterrupt

    waiter = threading.Thread(target=lambda: store.write(put("a")))
    with pytest.raises(KeyboardInterrupt):
        store.write(interrupted)
    waiter.join()

    assert keys(store) == ["a"]


def test_interrupt_just_after_the_commit_undoes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(group: list[_Ticket]) -> None:
        commit(group)
        raise KeyboardInterrupt

    seen: list[object] = []
    commit = store._commit
    monkeypatch.setattr(store, "_commit", interrupted)
    store._waiting.append(_Ticket(put("a"), seen.append))  # somebody else's, in the same group
    with pytest.raises(KeyboardInterrupt):
        store.write(put("b"), after=seen.append)

    assert (keys(store), len(seen), store._waiting) == (["a", "b"], 2, [])


def test_after_runs_in_commit_order_with_the_value(store: Store) -> None:
    seen: list[int] = []
    for i in range(3):
        store.write(lambda _, i=i: i, after=seen.append)  # type: ignore[misc]
    assert seen == [0, 1, 2]


def test_hook_reads_the_commit_and_nobody_keeps_the_writing_connection(store: Store) -> None:
    seen: list[str] = []
    store.write(put("a"), after=lambda _: seen.extend(keys(store)))
    assert seen == ["a"]
    with pytest.raises(BrainReadOnly):
        store.rows("DELETE FROM meta")


def test_interrupt_in_one_hook_does_not_lose_the_others(store: Store) -> None:
    seen: list[str] = []

    def lead(connection: apsw.Connection) -> str:
        waiter.start()
        while len(store._waiting) < 1:
            pass
        return "lead"

    def interrupt(_: object) -> None:
        seen.append("interrupted")
        raise KeyboardInterrupt

    waiter = threading.Thread(target=lambda: store.write(lambda _: "waiter", after=seen.append))
    with pytest.raises(KeyboardInterrupt):
        store.write(lead, after=interrupt)
    waiter.join()

    assert seen == ["interrupted", "waiter"]


def test_readers_cannot_write(store: Store) -> None:
    with pytest.raises(BrainReadOnly):
        store.rows("INSERT INTO meta VALUES ('a', '')")


def test_reader_of_another_thread_sees_commits(store: Store) -> None:
    seen: list[list[str]] = []
    store.write(put("a"))
    thread = threading.Thread(target=lambda: seen.append(keys(store)))
    thread.start()
    thread.join()
    assert seen == [["a"]]


def test_the_log_stays_short_where_somebody_reads_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ruvllm.memory.store.LOG_PAGES", 20)
    monkeypatch.setattr("ruvllm.memory.store.MOST_LOG_PAGES", 100)
    store = Store(tmp_path / "brain.db", read_only=False)
    reads, is_done = threading.Event(), threading.Event()

    def read() -> None:
        now, then = (apsw.Connection(str(store.path), flags=apsw.SQLITE_OPEN_READONLY) for _ in range(2))
        while not is_done.is_set():
            now.execute("BEGIN; SELECT count(*) FROM meta").fetchall()
            if then.in_transaction:
                then.execute("COMMIT")
            now, then = then, now
            reads.set()
        now.close()
        then.close()

    reader = threading.Thread(target=read)
    reader.start()
    reads.wait()
    try:
        for _ in range(100):
            store.write(lambda c: c.execute("INSERT OR REPLACE INTO meta VALUES ('a', ?)", ("x" * 100_000,)).fetchall())
        assert (tmp_path / "brain.db-wal").stat().st_size < 4_000_000
    finally:
        is_done.set()
        reader.join()
        store.close()


def test_full_disk_is_a_brain_error_and_leaves_the_database_sound(store: Store) -> None:
    store.write(put("before"))
    with store.exclusive() as connection:
        pages = connection.pragma("page_count")
        connection.pragma("max_page_count", pages + 2)

    with pytest.raises(BrainError, match="disk is full"):
        store.write(lambda c: c.execute("INSERT INTO meta VALUES ('big', ?)", ("x" * 100_000,)).fetchall())

    assert keys(store) == ["before"]
    assert store.integrity() == []
    store.write(put("after"))


def test_newer_schema_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "brain.db"
    Store(path, read_only=False).close()
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()
    before = path.read_bytes()

    with pytest.raises(BrainTooNew) as caught:
        Store(path, read_only=False)

    assert (caught.value.found, caught.value.supported) == (99, len(MIGRATIONS))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"not a database at all, just text" * 200, b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_file_that_is_no_database_is_damaged_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "brain.db"
    path.write_bytes(content)
    with pytest.raises(BrainDamaged):
        Store(path, read_only=False)
    assert path.read_bytes() == content


def test_database_of_another_program_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "brain.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(BrainDamaged, match="not one of ruvllm"):
        Store(path, read_only=False)

    assert path.read_bytes() == before


def test_truncated_database_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "brain.db"
    store = Store(path, read_only=False)
    store.write(lambda c: c.executemany("INSERT INTO meta VALUES (?, ?)", [(str(i), "x" * 500) for i in range(2000)]))
    store.close()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(BrainDamaged):
        damaged = Store(path, read_only=False)
        try:
            damaged.rows("SELECT sum(length(value)) FROM meta")
        finally:
            damaged.close()


def test_failed_migration_leaves_the_old_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "brain.db"
    Store(path, read_only=False).close()
    monkeypatch.setattr("ruvllm.memory.schema.MIGRATIONS", (*MIGRATIONS, "CREATE TABLE extra (x); SELECT nonsense;"))
    with pytest.raises(apsw.SQLError):
        Store(path, read_only=False)
    monkeypatch.undo()

    store = Store(path, read_only=False)
    assert store.value("PRAGMA user_version") == len(MIGRATIONS)
    assert not store.rows("SELECT 1 FROM sqlite_schema WHERE name = 'extra'")
    store.close()


def test_migration_adds_to_an_old_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "brain.db"
    old = Store(path, read_only=False)
    old.write(put("kept"))
    old.close()
    monkeypatch.setattr("ruvllm.memory.schema.MIGRATIONS", (*MIGRATIONS, "CREATE TABLE extra (x ANY) STRICT;"))

    store = Store(path, read_only=False)

    assert store.value("PRAGMA user_version") == len(MIGRATIONS) + 1
    assert keys(store) == ["kept"]
    store.close()


def test_closed_store_says_so(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(ValueError, match="closed"):
        store.rows("SELECT 1")
    with pytest.raises(ValueError, match="closed"):
        store.write(put("a"))
