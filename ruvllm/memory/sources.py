"""The documents a brain knows, and forgetting them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

import apsw

from ruvllm.config import LearningConfig
from ruvllm.memory.concepts import concepts_of_only, hide_concepts_of
from ruvllm.memory.corrections import asked_by, settle_corrections
from ruvllm.memory.decisions import unlearn
from ruvllm.memory.history import Change
from ruvllm.memory.links import EdgeRow
from ruvllm.memory.near_questions import RatedQuestions
from ruvllm.memory.outcomes import delete_moves, replace_outcome
from ruvllm.memory.probation import reconsider
from ruvllm.memory.rows import BY_DST, delete_nodes, insert_keywords
from ruvllm.memory.store import Store, fetch
from ruvllm.types import EdgeType

__all__ = ["Forgotten", "SourceSummary", "forget_source", "read_sources", "trust_source"]


@dataclass(frozen=True, slots=True)
class SourceSummary:
    """One ingested document; `ingested` is seconds since the epoch."""

    source: str
    title: str | None
    chunks: int
    ingested: float
    trust: float = 1.0


def read_sources(store: Store, namespace: str) -> list[SourceSummary]:
    """Return the ingested documents, in order of their names."""
    sql = "SELECT source, title, chunks, ingested, trust FROM documents WHERE namespace = ? ORDER BY source"
    return [SourceSummary(*row) for row in store.rows(sql, (namespace,))]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Ids of deleted nodes, the edges whose weights are others now, concepts that are not found any more, and what
    became of answers whose correction went, and of other corrections."""

    nodes: list[int]
    edges: list[EdgeRow]
    hidden: list[int]
    answers: list[Change]


def forget_source(
    connection: apsw.Connection,
    namespace: str,
    name: str,
    rated: RatedQuestions,
    *,
    cascade: bool,
    config: LearningConfig,
    now: float,
) -> Forgotten:
    """Delete what came from a source, or from all sources below a folder; with `cascade` all that was derived from it.

    An answer that was only shown a source, or an answer made of it, may still repeat it. Of a correction, which is a
    source by the name of feedback:ID, the words in the feedback go too, and the answer stands again as what else was
    said of it has it.

    Raises:
        ValueError: nothing here is called `name`.
    """
    is_it, parameters = _condition(namespace, name)
    ids = [row[0] for row in fetch(connection, f"SELECT id FROM nodes WHERE {is_it}", parameters)]
    if not ids:
        raise ValueError(f"source: nothing here is called {name!r}")
    edges: list[EdgeRow] = []
    hidden: list[int] = []
    if cascade:
        ids = _with_derived(connection, ids)
        edges = _unlearn(connection, namespace, ids, config, now)
    else:
        hidden = hide_concepts_of(connection, ids)
        ids += concepts_of_only(connection, ids)
    uncorrected = _forget_corrections(connection, ids)
    _let_speak_again(connection, ids)
    documents = _documents_of(connection, ids)
    corrected = asked_by(connection, ids)
    delete_nodes(connection, ids)
    connection.execute(f"DELETE FROM documents WHERE {is_it}", parameters)
    _recount(connection, documents)
    settled = settle_corrections(connection, (), corrected, now)
    answers = [reconsider(connection, interaction, now, rated) for interaction in uncorrected]
    return Forgotten(ids, edges, hidden, [settled, *answers])


def trust_source(connection: apsw.Connection, namespace: str, name: str, trust: float) -> list[int]:
    """Set the trust of a source, or of all below a folder, for good; return the nodes that came from it.

    Raises:
        ValueError: nothing here is called `name`.
    """
    is_it, parameters = _condition(namespace, name)
    ids = [row[0] for row in fetch(connection, f"SELECT id FROM nodes WHERE {is_it}", parameters)]
    if not ids:
        raise ValueError(f"source: nothing here is called {name!r}")
    for table in ("nodes", "documents"):
        connection.execute(f"UPDATE {table} SET trust = ? WHERE {is_it}", [trust, *parameters])
    return ids


def _condition(namespace: str, name: str) -> tuple[str, list[object]]:
    """Return the condition that a row is of a source, or of one below a folder, and its parameters."""
    names = [name, os.path.abspath(name)]
    prefixes = [n.rstrip(os.sep) + os.sep for n in names]
    is_it = "namespace = ? AND (source IN (?, ?) OR substr(source, 1, ?) = ? OR substr(source, 1, ?) = ?)"
    return is_it, [namespace, *names, *(value for prefix in prefixes for value in (len(prefix), prefix))]


def _with_derived(connection: apsw.Connection, ids: Sequence[int]) -> list[int]:
    """Return `ids` and all nodes that were derived from them, directly or through others, whoever said so."""
    sql = (
        "WITH RECURSIVE gone (id) AS (SELECT value FROM json_each(?) UNION "
        f"SELECT src FROM gone CROSS JOIN edges {BY_DST} ON dst = gone.id WHERE edges.type = ?) SELECT id FROM gone"
    )
    return [row[0] for row in fetch(connection, sql, (json.dumps(list(ids)), EdgeType.DERIVED.value))]


def _unlearn(
    connection: apsw.Connection, namespace: str, ids: Sequence[int], config: LearningConfig, now: float
) -> list[EdgeRow]:
    """Take back what outcomes of the answers among `ids` did, and delete what training would read of them."""
    sql = "SELECT id FROM interactions WHERE answer_node IN (SELECT value FROM json_each(?))"
    answered = [row[0] for row in fetch(connection, sql, (json.dumps(list(ids)),))]
    edges: list[EdgeRow] = []
    for interaction in answered:
        moved = replace_outcome(connection, namespace, interaction, None, {}, rater="", config=config, now=now)
        edges += moved.edges
        delete_moves(connection, namespace, interaction)
    for table in ("credits", "marks"):
        connection.executemany(f"DELETE FROM {table} WHERE interaction = ?", [(one,) for one in answered])
    unlearn(connection, answered, ids)
    return edges


def _let_speak_again(connection: apsw.Connection, ids: Sequence[int]) -> None:
    """Where an answer among `ids` stood for another one, which stays, let that one be found in its session again."""
    gone = json.dumps(list(ids))
    stands = (
        "answer_node IN (SELECT value FROM json_each(?1)) AND said_node IS NOT NULL "
        "AND said_node NOT IN (SELECT value FROM json_each(?1))"
    )
    said = f"SELECT said_node FROM interactions WHERE {stands}"
    back = fetch(
        connection,
        f"UPDATE nodes SET ended = NULL WHERE ended NOT NULL AND probation = 1 AND id IN ({said}) RETURNING id, text",
        (gone,),
    )
    for node, text in back:
        insert_keywords(connection, node, "", text)
    connection.execute(f"UPDATE interactions SET answer_node = said_node, said_node = NULL WHERE {stands}", (gone,))


def _documents_of(connection: apsw.Connection, ids: Sequence[int]) -> list[int]:
    sql = "SELECT DISTINCT document FROM nodes WHERE id IN (SELECT value FROM json_each(?)) AND document IS NOT NULL"
    return [row[0] for row in fetch(connection, sql, (json.dumps(list(ids)),))]


def _recount(connection: apsw.Connection, documents: Sequence[int]) -> None:
    """Let documents that lost chunks say how many are left, so that nobody misses the others; empty ones go.

    What an empty one said before stays, as history without a document.
    """
    each = [(document,) for document in documents]
    count = "(SELECT count(*) FROM nodes WHERE document = documents.id AND ended IS NULL)"
    connection.executemany(f"UPDATE documents SET chunks = {count} WHERE id = ?", each)
    empty = "(SELECT id FROM documents WHERE id = ? AND chunks = 0)"
    connection.executemany(f"UPDATE nodes SET document = NULL WHERE document = {empty}", each)
    connection.executemany(f"DELETE FROM documents WHERE id = {empty}", each)


def _forget_corrections(connection: apsw.Connection, ids: Sequence[int]) -> list[str]:
    """Delete the words of corrections; return the interactions whose answers they stood for, and do so no more."""
    where = "correction_node IN (SELECT value FROM json_each(?))"
    corrected = fetch(
        connection,
        f"SELECT id, answer_node FROM interactions JOIN feedback ON interaction = id WHERE {where}",
        (json.dumps(list(ids)),),
    )
    connection.executemany(
        "UPDATE nodes SET metadata = json_remove(metadata, '$.superseded_by') WHERE id = ?",
        [(answer,) for _, answer in corrected],
    )
    is_all = "rating IS NULL AND quality IS NULL AND task_success IS NULL"
    connection.execute(f"DELETE FROM feedback WHERE {where} AND {is_all}", (json.dumps(list(ids)),))
    connection.execute(f"UPDATE feedback SET correction = NULL WHERE {where}", (json.dumps(list(ids)),))
    return [interaction for interaction, _ in corrected]
