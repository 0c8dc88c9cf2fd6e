"""When a written-back answer becomes everybody's: on the word of independent raters, or of the user."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import apsw
import numpy as np

from ruvllm.memory.concepts import hide_stale
from ruvllm.memory.duplicates import SAME_COSINE, say_the_same
from ruvllm.memory.feedback import read_outcomes
from ruvllm.memory.history import Change, end_nodes
from ruvllm.memory.near_questions import RatedQuestions
from ruvllm.memory.rows import delete_keywords, insert_keywords, title_of, vector_of
from ruvllm.memory.store import fetch
from ruvllm.types import NodeType

__all__ = ["promote", "reconsider", "revoke"]

PROBATION_TRUST, PROMOTED_TRUST = 0.3, 0.7
QUORUM = 2  # independent raters that promote an answer, or end it
UNNAMED = "local"  # the rater who gave no name: told apart by session
IS_SETTLED = "metadata ->> 'decided' IS NOT NULL OR metadata ->> 'superseded_by' IS NOT NULL"


def reconsider(connection: apsw.Connection, interaction: str, now: float, rated: RatedQuestions) -> Change:
    """Promote, end or keep on probation the answer of a rated interaction, by all that was said about it so far.

    Answers of the namespace that say nearly the same to nearly the same question are rated together, and one of them is
    searched, as long as it would be promoted: good outcomes of QUORUM independent raters promote, bad ones of as many
    end; each bad one halves the trust. What the user decided by `promote` or `revoke`, and an answer that was
    corrected, stay as they are; where the user decided about one, raters promote none of the others.
    """
    answer = connection.execute("SELECT answer_node FROM interactions WHERE id = ?", (interaction,)).get
    if answer is None:
        return Change()
    twins = _twins(connection, interaction, answer, rated)
    voices = _voices(connection, twins)
    searched = _promoted_among(connection, twins)
    stands = None if _is_decided(connection, twins) else min(searched, default=answer)
    change = Change()
    for one in {answer, *searched}:
        if one == answer and _is_settled(connection, answer):
            its = Change(stayed=(answer,))
        else:
            its = _judged(connection, one, voices, now, may_stand=one == stands)
        change = Change(
            (*change.left, *its.left),
            (*change.came, *its.came),
            change.vectors if its.vectors is None else its.vectors,  # of the one that may stand
            (*change.stayed, *its.stayed),
        )
    return _with_concepts(connection, change, [answer, *searched])


def _judged(
    connection: apsw.Connection,
    answer: int,
    voices: Mapping[tuple[str, str | None], bool],
    now: float,
    *,
    may_stand: bool,
) -> Change:
    good, bad = sum(voices.values()), len(voices) - sum(voices.values())
    if bad >= QUORUM and bad > good:
        return _end(connection, answer, now)
    is_promoted = may_stand and good >= QUORUM and good > bad
    trust = (PROMOTED_TRUST if is_promoted else PROBATION_TRUST) * 0.5**bad
    if is_promoted:
        return _promoted(connection, answer, trust)
    return _on_probation(connection, answer, trust, is_good=good > bad)


def promote(connection: apsw.Connection, node: int, namespace: str) -> Change:
    """Let everybody find an answer, because the user says so.

    Raises:
        ValueError: there is no such answer.
    """
    _decide(connection, node, namespace, "promoted")
    return _promoted(connection, node, PROMOTED_TRUST)


def revoke(connection: apsw.Connection, node: int, namespace: str, now: float) -> Change:
    """Let nobody find an answer any more, because the user says so.

    Raises:
        ValueError: there is no such answer.
    """
    _decide(connection, node, namespace, "revoked")
    return _with_concepts(connection, _end(connection, node, now), [node])


def _with_concepts(connection: apsw.Connection, change: Change, answers: Sequence[int]) -> Change:
    """Return a change with what it does to concepts that may quote the answers."""
    return replace(change, stayed=(*change.stayed, *hide_stale(connection, answers)))


def _decide(connection: apsw.Connection, node: int, namespace: str, decision: str) -> None:
    connection.execute(
        "UPDATE nodes SET metadata = json_set(metadata, '$.decided', ?) WHERE id = ? AND namespace = ? AND type = ?",
        (decision, node, namespace, NodeType.ANSWER.value),
    )
    if not connection.changes():
        raise ValueError(f"node_id: there is no answer {node!r} here")


def _is_settled(connection: apsw.Connection, answer: int) -> bool:
    return bool(connection.execute(f"SELECT {IS_SETTLED} FROM nodes WHERE id = ?", (answer,)).get)


def _is_decided(connection: apsw.Connection, answers: Sequence[int]) -> bool:
    sql = "SELECT 1 FROM nodes WHERE id IN (SELECT value FROM json_each(?)) AND metadata ->> 'decided' IS NOT NULL"
    return bool(fetch(connection, sql, (json.dumps(list(answers)),)))


def _promoted_among(connection: apsw.Connection, answers: Sequence[int]) -> list[int]:
    """Return those of `answers` that raters promoted."""
    sql = (
        f"SELECT id FROM nodes WHERE probation = 0 AND ended IS NULL AND NOT ({IS_SETTLED}) "
        "AND id IN (SELECT value FROM json_each(?))"
    )
    return [row[0] for row in fetch(connection, sql, (json.dumps(list(answers)),))]


def _twins(connection: apsw.Connection, interaction: str, answer: int, rated: RatedQuestions) -> list[int]:
    """Return the answer and all rated ones of its namespace that say nearly the same to nearly the same question."""
    own = fetch(
        connection,
        "SELECT a.text, av.vector, q.text, qv.vector, i.namespace FROM interactions i "
        "JOIN nodes a ON a.id = i.answer_node JOIN vectors av ON av.node = a.id "
        "JOIN nodes q ON q.id = i.query_node JOIN vectors qv ON qv.node = q.id WHERE i.id = ?",
        (interaction,),
    )
    if not own:
        return [answer]
    text, vector, question, question_vector, namespace = own[0]
    near = rated.near(connection, namespace, vector_of(question_vector))
    if interaction not in near:
        rated.add(connection, namespace, interaction, vector_of(question_vector))
    others = fetch(
        connection,
        "SELECT a.id, nullif(a.text, ?), nullif(q.text, ?) FROM interactions i "  # null: the very same words
        "JOIN nodes a ON a.id = i.answer_node JOIN nodes q ON q.id = i.query_node "
        "WHERE i.id IN (SELECT value FROM json_each(?)) AND i.id IN (SELECT interaction FROM feedback) "
        "AND a.id <> ? AND i.namespace = ?",
        (text, question, json.dumps(near), answer, namespace),
    )
    alike = {
        other: other_text
        for other, other_text, other_question in others
        if (other_text is None or say_the_same(text, other_text))
        and (other_question is None or say_the_same(question, other_question))
    }
    worded = json.dumps([other for other, other_text in alike.items() if other_text is not None])
    vectors = fetch(
        connection, "SELECT node, vector FROM vectors WHERE node IN (SELECT value FROM json_each(?))", (worded,)
    )
    far = {other for other, blob in vectors if vector_of(blob) @ vector_of(vector) < SAME_COSINE}
    return [answer, *(alike.keys() - far)]


def _voices(connection: apsw.Connection, answers: Sequence[int]) -> dict[tuple[str, str | None], bool]:
    """Return what each independent rater said last, good or not: a named one counts once, others once a session."""
    rows = fetch(
        connection,
        "SELECT interaction, rater, session FROM feedback JOIN interactions i ON i.id = interaction "
        "WHERE answer_node IN (SELECT value FROM json_each(?)) ORDER BY updated",
        (json.dumps(list(answers)),),
    )
    outcomes = read_outcomes(partial(fetch, connection), [interaction for interaction, *_ in rows])
    voices: dict[tuple[str, str | None], bool] = {}
    for interaction, rater, session in rows:
        is_good = outcomes[interaction].is_good if interaction in outcomes else None
        if is_good is not None:
            voices[rater, session if rater == UNNAMED else None] = is_good
    return voices


def _promoted(connection: apsw.Connection, answer: int, trust: float) -> Change:
    """Put an answer among what everybody searches, found by the words of its question, too."""
    rows = fetch(
        connection,
        "SELECT probation = 0 AND ended IS NULL, text, metadata, vector, "
        "(SELECT q.text FROM interactions JOIN nodes q ON q.id = query_node "
        "WHERE answer_node = nodes.id) FROM nodes JOIN vectors ON node = nodes.id WHERE nodes.id = ?",
        (answer,),
    )
    connection.execute("UPDATE nodes SET probation = 0, ended = NULL, trust = ? WHERE id = ?", (trust, answer))
    if not rows or rows[0][0]:
        return Change(stayed=(answer,))
    _, text, stored, vector, question = rows[0]
    metadata = json.loads(stored) | ({"question": question} if question else {})
    connection.execute("UPDATE nodes SET metadata = ? WHERE id = ?", (json.dumps(metadata, ensure_ascii=False), answer))
    delete_keywords(connection, [answer])
    insert_keywords(connection, answer, title_of(metadata), text)
    return Change(came=(answer,), vectors=vector_of(vector)[np.newaxis])


def _on_probation(connection: apsw.Connection, answer: int, trust: float, *, is_good: bool) -> Change:
    """Leave an answer to its session; a good one is found there again that a judge, or an earlier word, had ended."""
    was_searched, has_ended, text, tier = fetch(
        connection, "SELECT probation = 0, ended IS NOT NULL, text, tier FROM nodes WHERE id = ?", (answer,)
    )[0]
    connection.execute("UPDATE nodes SET probation = 1, trust = ? WHERE id = ?", (trust, answer))
    if has_ended and is_good:
        connection.execute("UPDATE nodes SET ended = NULL WHERE id = ?", (answer,))
        if tier == "hot":  # an older version archived answers
            insert_keywords(connection, answer, "", text)
    return Change(left=(answer,)) if was_searched else Change()


def _end(connection: apsw.Connection, answer: int, now: float) -> Change:
    connection.execute("UPDATE nodes SET trust = 0.0 WHERE id = ?", (answer,))
    end_nodes(connection, [answer], now)
    return Change(left=(answer,))
