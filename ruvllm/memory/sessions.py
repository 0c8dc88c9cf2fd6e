"""The conversations of a namespace: kept, listed, and deleted for good."""

from __future__ import annotations

import json
from dataclasses import dataclass

import apsw

from ruvllm.memory.rows import delete_nodes
from ruvllm.memory.store import Store, fetch

__all__ = ["Session", "delete_session", "insert_session", "read_sessions"]

IS_OF_SESSION = "namespace = ? AND session = ?"


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation; times are seconds since the Unix epoch, UTC."""

    name: str
    created: float
    last_used: float
    turns: int


def read_sessions(store: Store, namespace: str) -> list[Session]:
    """Return all sessions, the one used last first."""
    rows = store.rows(
        "SELECT name, min(created), max(last_used), sum(turns) FROM ("
        "SELECT session AS name, min(created) AS created, max(created) AS last_used, count(*) AS turns "
        "FROM interactions WHERE namespace = ?1 AND session IS NOT NULL GROUP BY session "
        "UNION ALL SELECT name, created, created, 0 FROM sessions WHERE namespace = ?1) "
        "GROUP BY name ORDER BY max(last_used) DESC, name",
        (namespace,),
    )
    return [Session(*row) for row in rows]


def insert_session(connection: apsw.Connection, namespace: str, name: str, now: float) -> None:
    """Keep a session that has no turns yet.

    Raises:
        ValueError: there is one of this name.
    """
    if _exists(connection, namespace, name):
        raise ValueError(f"name: there is a session {name!r} already")
    connection.execute("INSERT INTO sessions VALUES (?, ?, ?)", (namespace, name, now))


def delete_session(connection: apsw.Connection, namespace: str, name: str) -> list[int]:
    """Delete a session, its requests and its nodes on probation; return the ids of these.

    Its promoted answers stay and belong to no session any more. Moves of edges stay in the log of moves, so that what
    one rater may move in a day is not given anew.

    Raises:
        ValueError: there is no such session.
    """
    if not _exists(connection, namespace, name):
        raise ValueError(f"name: there is no session {name!r} here")
    own = (namespace, name)
    asked = [row[0] for row in fetch(connection, f"SELECT id FROM interactions WHERE {IS_OF_SESSION}", own)]
    gone = [row[0] for row in fetch(connection, f"SELECT id FROM nodes WHERE {IS_OF_SESSION} AND probation = 1", own)]
    for table, key in (("feedback", "interaction"), ("interactions", "id")):  # the rest goes with these
        connection.execute(f"DELETE FROM {table} WHERE {key} IN (SELECT value FROM json_each(?))", (json.dumps(asked),))
    delete_nodes(connection, gone)
    connection.execute(f"UPDATE nodes SET session = NULL WHERE {IS_OF_SESSION}", own)
    connection.execute("DELETE FROM sessions WHERE namespace = ? AND name = ?", own)
    return gone


def _exists(connection: apsw.Connection, namespace: str, name: str) -> bool:
    known = (
        "SELECT EXISTS (SELECT 1 FROM sessions WHERE namespace = ?1 AND name = ?2) "
        "OR EXISTS (SELECT 1 FROM interactions WHERE namespace = ?1 AND session = ?2)"
    )
    return bool(connection.execute(known, (namespace, name)).get)
