"""Implicit signals: what somebody did after an answer, as weak evidence against it until somebody says how it was."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from typing import NamedTuple

import apsw

from ruvllm.config import Config, SignalsConfig
from ruvllm.memory.links import EdgeRow
from ruvllm.memory.outcomes import Outcome, credits_for, replace_outcome
from ruvllm.memory.rows import vector_of
from ruvllm.memory.store import Store, fetch
from ruvllm.types import SignalKind

__all__ = ["IMPLICIT", "apply_signals", "drop_signal", "find_signals", "is_reworded"]

IMPLICIT = "implicit"  # who says so, for the bound on how far one rater moves an edge in a day
NEWEST = 10_000  # answered requests of sessions that are looked at

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NAME = re.compile(r"(?<=[\w,;:] )[^\W\d_a-z]\w+")  # begins with a capital, and no sentence with it
_NEGATION = re.compile(r"\b(?:not?|never|without|none|nor)\b|n't\b", re.IGNORECASE)

_TURNS = (
    "SELECT i.session, i.id, i.created, q.text, v.vector, EXISTS (SELECT 1 FROM signals s WHERE s.interaction = i.id), "
    "EXISTS (SELECT 1 FROM feedback f WHERE f.interaction = i.id) "
    "FROM (SELECT rowid AS number, * FROM interactions WHERE namespace = ? AND session IS NOT NULL "
    "ORDER BY created DESC, rowid DESC LIMIT ?) i "
    "JOIN nodes q ON q.id = i.query_node JOIN vectors v ON v.node = q.id ORDER BY i.session, i.created, i.number"
)


class _Turn(NamedTuple):
    session: str
    id: str
    created: float
    question: str
    vector: bytes
    is_known: int
    is_rated: int


def find_signals(store: Store, namespace: str, config: SignalsConfig, now: float) -> list[tuple[str, SignalKind]]:
    """Return answers against which something new speaks: of nearly the same question asked again soon after.

    Answers of which somebody said how good they were are passed over.
    """
    turns = map(_Turn._make, store.rows(_TURNS, (namespace, NEWEST)))
    found = [each for _, session in groupby(turns, itemgetter(0)) for each in _of_session(list(session), config, now)]
    return [(turn.id, kind) for turn, kind in found if not turn.is_known and not turn.is_rated]


def _of_session(turns: Sequence[_Turn], config: SignalsConfig, now: float) -> Iterator[tuple[_Turn, SignalKind]]:
    is_again = False
    for first, second in pairwise(turns):
        is_again = _is_rephrased(first, second, config)
        if is_again:
            yield first, "rephrase"
    if is_again and now - turns[-1].created > config.abandon_after_s:
        yield turns[-1], "abandon"


def _is_rephrased(first: _Turn, second: _Turn, config: SignalsConfig) -> bool:
    if not 0.0 <= second.created - first.created <= config.rephrase_within_s:
        return False
    is_near = float(vector_of(first.vector) @ vector_of(second.vector)) >= config.rephrase_similarity
    return is_near and is_reworded(first.question, second.question)


def is_reworded(question: str, other: str) -> bool:
    """Return whether two questions whose vectors are near ask it of the same numbers and names, and neither denies."""
    pairs = ((_NUMBER.findall(text), _NAME.findall(text), bool(_NEGATION.search(text))) for text in (question, other))
    (numbers, names, denies), (other_numbers, other_names, other_denies) = pairs
    return (
        sorted(numbers) == sorted(other_numbers)
        and _are_in(names, other)
        and _are_in(other_names, question)
        and denies == other_denies
    )


def _are_in(names: Sequence[str], text: str) -> bool:
    words = set(re.findall(r"\w+", text.lower()))
    return all(name.lower() in words for name in names)


def apply_signals(
    connection: apsw.Connection, signals: Sequence[tuple[str, SignalKind]], config: Config, now: float
) -> list[EdgeRow]:
    """Keep signals with the weak outcome that each stands for; return the edges it moved.

    The outcome stands in the place of the answer's own, which whatever is said about the answer replaces. It counts
    neither as a success nor as a failure of an edge.
    """
    outcome = Outcome(0.5 * (1.0 - config.signals.weight))
    edges: list[EdgeRow] = []
    for interaction, kind in signals:
        rows = fetch(
            connection,
            "SELECT namespace, answer_node, source_ids, used_ids FROM interactions i "
            "WHERE id = ? AND NOT EXISTS (SELECT 1 FROM feedback f WHERE f.interaction = i.id)",
            (interaction,),
        )
        if not rows:
            continue  # somebody was quicker: it is rated, or deleted with its session
        connection.execute(
            "INSERT OR IGNORE INTO signals VALUES (?, ?, ?, ?)", (interaction, kind, outcome.quality, now)
        )
        if connection.changes():
            namespace, answer, shown, used = rows[0]
            credits = credits_for(connection, interaction, answer, json.loads(shown), json.loads(used))
            moved = replace_outcome(
                connection,
                namespace,
                interaction,
                outcome,
                credits,
                rater=IMPLICIT,
                config=config.learning,
                now=now,
                counts=False,
            )
            edges += moved.edges
    return edges


def drop_signal(connection: apsw.Connection, interaction: str) -> None:
    """Forget what an answer's signal said; its outcome goes with the next one under the answer's id."""
    connection.execute("DELETE FROM signals WHERE interaction = ?", (interaction,))
