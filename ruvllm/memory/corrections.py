"""What users said is right instead of an answer: of what was said to one question, a few that differ are searched."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import numpy as np

from ruvllm.memory.concepts import hide_stale
from ruvllm.memory.history import Change, end_nodes
from ruvllm.memory.rows import insert_keywords, insert_node, title_of, vector_of
from ruvllm.memory.store import fetch
from ruvllm.text import normalized_tokens
from ruvllm.types import NodeType
from ruvllm.types.graph import PRIVATE

__all__ = ["Asked", "asked_by", "insert_correction", "settle_corrections"]

MOST = 8  # of one question that are searched: more would push everything else out of a search

LOOKED_AT = 1000  # of those that are not, the newest, for one to be searched again

_OF = (  # a question
    "nodes INDEXED BY corrections WHERE source GLOB 'feedback:*' AND namespace = ? AND metadata ->> 'question' = ? "
    f"AND metadata ->> '{PRIVATE}' IS ? AND tier = 'hot'"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that was corrected; what was asked in private is corrected apart."""

    namespace: str
    question: str
    is_private: bool


def insert_correction(
    connection: apsw.Connection,
    interaction: str,
    correction: str,
    vector: np.ndarray,
    namespace: str,
    query: int | None,
    now: float,
) -> int:
    """Insert what the user said is right: a fact of full trust, found by its question's words too."""
    asked = fetch(connection, f"SELECT text, metadata ->> '{PRIVATE}' IS 1 FROM nodes WHERE id = ?", (query,))
    question, is_private = asked[0] if asked else (None, False)
    return insert_node(
        connection,
        correction,
        vector,
        type=NodeType.FACT,
        namespace=namespace,
        created=now,
        source=f"feedback:{interaction}",
        metadata={"corrects": interaction}
        | ({"question": question} if question else {})
        | ({PRIVATE: True} if is_private else {}),
    )


def asked_by(connection: apsw.Connection, nodes: Iterable[int]) -> set[Asked]:
    """Return the questions that the corrections among `nodes` are of."""
    sql = (
        f"SELECT namespace, metadata ->> 'question', metadata ->> '{PRIVATE}' IS 1 FROM nodes "
        "WHERE id IN (SELECT value FROM json_each(?)) AND source GLOB 'feedback:*' "
        "AND metadata ->> 'question' IS NOT NULL"
    )
    rows = fetch(connection, sql, (json.dumps(list(nodes)),))
    return {Asked(namespace, question, bool(is_private)) for namespace, question, is_private in rows}


def settle_corrections(
    connection: apsw.Connection, said_to: Iterable[Asked], gone_of: Iterable[Asked], now: float
) -> Change:
    """Let the newest MOST corrections of a question be searched that say different things, and end the others.

    Args:
        said_to: questions that got a correction.
        gone_of: questions of which one went: what it stood in the way of is searched again.
    """
    gone = set(gone_of)
    left: list[int] = []
    came: list[int] = []
    for asked in {*said_to, *gone}:
        said: set[str] = set()
        left += [node for node, text in _searched(connection, asked) if not _is_new(text, said)]
        if asked in gone:
            came += [node for node, text in _ended(connection, asked) if _is_new(text, said)]
    end_nodes(connection, left, now)
    vectors = _search_again(connection, came)
    return Change(tuple(left), tuple(came), vectors, tuple(hide_stale(connection, left)))


def _is_new(text: str, said: set[str]) -> bool:
    """Return whether there is room for a correction that says what none of `said` does, and take it in there."""
    words = " ".join(normalized_tokens(text))
    if words in said or len(said) == MOST:
        return False
    said.add(words)
    return True


def _searched(connection: apsw.Connection, asked: Asked) -> list[tuple[Any, ...]]:
    """Return (id, text) of the corrections of a question that are searched, the newest first."""
    return fetch(connection, f"SELECT id, text FROM {_OF} AND ended IS NULL ORDER BY id DESC", _values(asked))


def _ended(connection: apsw.Connection, asked: Asked) -> list[tuple[Any, ...]]:
    """Return (id, text) of those that were ended last, the newest first."""
    sql = f"SELECT id, text FROM {_OF} AND ended IS NOT NULL ORDER BY ended DESC, id DESC LIMIT ?"
    return fetch(connection, sql, (*_values(asked), LOOKED_AT))


def _values(asked: Asked) -> tuple[str, str, int | None]:
    return asked.namespace, asked.question, 1 if asked.is_private else None


def _search_again(connection: apsw.Connection, nodes: Sequence[int]) -> np.ndarray | None:
    """Let nodes that were ended hold again; return their vectors, (n, native_dim) float32, None where n is 0."""
    vectors = []
    for node in nodes:
        connection.execute("UPDATE nodes SET ended = NULL WHERE id = ?", (node,))
        sql = "SELECT text, metadata, vector FROM nodes JOIN vectors ON node = id WHERE id = ?"
        text, metadata, vector = fetch(connection, sql, (node,))[0]
        insert_keywords(connection, node, title_of(json.loads(metadata)), text)
        vectors.append(vector_of(vector))
    return np.stack(vectors) if vectors else None
