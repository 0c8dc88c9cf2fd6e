"""What outcomes do to edges: good ones strengthen them, bad ones weaken them, by credit, bounded, and revocably."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import apsw

from ruvllm.config import LearningConfig
from ruvllm.memory.arguments import checked_each, checked_ids, checked_kind
from ruvllm.memory.decay import DAY_S, half_lives, weight_left
from ruvllm.memory.links import EdgeRow
from ruvllm.memory.rows import checked_text, checked_weight
from ruvllm.memory.store import fetch

__all__ = [
    "Moved",
    "Outcome",
    "apply_outcome",
    "credits_for",
    "credits_of",
    "delete_moves",
    "moved_weight",
    "named",
    "replace_outcome",
]

MAX_NODES = 1000  # in one outcome: what an answer used, not a whole brain
LEAST = 1e-12  # moves below it are rounding
USED_CREDIT, SHOWN_CREDIT = 1.0, 0.25  # where nobody has decided


@dataclass(frozen=True, slots=True)
class Outcome:
    """How something went: `quality` in [0, 1], and whether the task it served succeeded, None when unknown."""

    quality: float
    success: bool | None = None

    def __post_init__(self) -> None:
        checked_weight(self.quality, "quality")
        if self.success is not None and not isinstance(self.success, bool):
            raise TypeError(f"success must be True, False or None ({self.success!r})")

    @property
    def is_good(self) -> bool | None:
        """None when quality and success disagree: then nothing moves."""
        is_good = self.quality >= 0.5
        return None if self.success is not None and self.success is not is_good else is_good


@dataclass(frozen=True, slots=True)
class Moved:
    """What an outcome did: edges it moved, and every edge whose weight is another now."""

    count: int
    edges: list[EdgeRow]


def moved_weight(weight: float, outcome: Outcome, credit: float, *, eta: float) -> float:
    """Return w + a (1 - w) after a good outcome, w - a w after a bad one, with a = 2 eta |quality - 1/2| credit."""
    a = 2.0 * eta * abs(outcome.quality - 0.5) * credit
    if outcome.is_good is None:
        return weight
    return weight + a * (1.0 - weight) if outcome.is_good else weight - a * weight


def credits_of(nodes: Iterable[int], credits: Mapping[int, float] | None) -> dict[int, float]:
    """Return the credit of each of `nodes`, 1 for those that `credits` does not name.

    Raises:
        TypeError, ValueError: fewer than two nodes or far too many, no ids, or credits that are not in [0, 1] or belong
            to none of them.
    """
    given = list(islice(checked_each(nodes, "nodes", "node ids"), MAX_NODES + 1))
    if len(given) > MAX_NODES:
        raise ValueError(f"nodes must be at most {MAX_NODES} in one outcome")
    ids = checked_ids(given, "nodes")
    parts = dict.fromkeys(ids, 1.0)
    if len(parts) < 2:
        raise ValueError(f"nodes must name at least two different nodes ({ids})")
    for node, credit in ({} if credits is None else checked_kind(credits, Mapping, "credits")).items():
        if node not in parts:
            raise ValueError(f"credits: {node!r} is not among nodes")
        parts[node] = checked_weight(credit, f"credits[{node}]")
    return parts


def named(id: str | None) -> str:
    """Return the name under which an outcome is kept: a new one when the caller gives none."""
    return f"outcome:{uuid.uuid4().hex}" if id is None else checked_text(id, "id")


def apply_outcome(
    connection: apsw.Connection,
    namespace: str,
    id: str,
    outcome: Outcome,
    credits: Mapping[int, float],
    *,
    rater: str,
    config: LearningConfig,
    now: float,
) -> Moved:
    """Do what `replace_outcome` does, with nodes that must be there.

    Raises:
        ValueError: a node is unknown or archived.
    """
    _require_alive(connection, namespace, credits)
    return replace_outcome(connection, namespace, id, outcome, credits, rater=rater, config=config, now=now)


def _require_alive(connection: apsw.Connection, namespace: str, nodes: Iterable[int]) -> None:
    """Raise ValueError when one of `nodes` does not exist or is archived."""
    ids = list(nodes)
    sql = "SELECT id, tier FROM nodes WHERE namespace = ? AND id IN (SELECT value FROM json_each(?))"
    tiers = dict(fetch(connection, sql, (namespace, json.dumps(ids))))
    for node in ids:
        if node not in tiers:
            raise ValueError(f"nodes: there is no node {node}")
        if tiers[node] == "cold":
            raise ValueError(f"nodes: node {node} is archived; rehydrate it first")


_IS_OURS = "(SELECT namespace FROM nodes WHERE nodes.id = edge_moves.src) = :namespace"  # others may use the same id
TOUCHED = """
WITH among (id) AS (SELECT value FROM json_each(:nodes)),
touched (src, dst, type) AS (
    SELECT src, dst, type FROM edges
    WHERE src IN (SELECT id FROM among) AND dst IN (SELECT id FROM among) AND src <> dst AND ended IS NULL
    UNION SELECT src, dst, type FROM edge_moves WHERE interaction = :id AND {is_ours}
)
SELECT edges.src, edges.dst, edges.type, edges.weight * {weight_left}, edges.success, edges.failure, edges.decayed,
    edges.ended IS NOT NULL, old.moved IS NOT NULL, old.good, ifnull(old.moved * {moved_left}, 0.0),
    (SELECT total(abs(day.moved)) FROM edge_moves day
     WHERE (day.src, day.dst, day.type, day.rater) = (edges.src, edges.dst, edges.type, :rater)
     AND day.at >= :midnight AND day.at < :midnight + 86400.0 AND day.interaction <> :id)
FROM touched CROSS JOIN edges USING (src, dst, type)
LEFT JOIN edge_moves old ON old.interaction = :id
    AND (old.src, old.dst, old.type) = (edges.src, edges.dst, edges.type)
"""


class _Touched(NamedTuple):
    """A row of TOUCHED; `part` is what the outcome did before, `spent` how far the rater moved it today besides."""

    src: int
    dst: int
    type: str
    weight: float
    success: int
    failure: int
    decayed: float
    has_ended: int
    was_moved: int
    was_good: int | None
    part: float
    spent: float


def replace_outcome(
    connection: apsw.Connection,
    namespace: str,
    id: str,
    outcome: Outcome | None,
    credits: Mapping[int, float],
    *,
    rater: str,
    config: LearningConfig,
    now: float,
    counts: bool = True,
) -> Moved:
    """Take back what the outcome `id` did before in a namespace, and move every edge among the nodes of `credits`.

    An edge has the smaller credit (id -> credit) of its two ends. All is reckoned in weights as they are left at `now`;
    what an outcome did is its part of the weight and fades with it. One rater's moves of an edge in one UTC day add up
    to at most `max_move_per_day`; what is beyond neither moves nor counts. Nodes that do not exist are passed over. One
    that does not count moves weights alone, and leaves the numbers of successes and failures.
    """
    lives = half_lives(config)
    moved_left = weight_left(lives, "max(old.at, edges.decayed)")
    sql = TOUCHED.format(weight_left=weight_left(lives), moved_left=moved_left, is_ours=_IS_OURS)
    values = {
        "nodes": json.dumps(list(credits)),
        "id": id,
        "namespace": namespace,
        "rater": rater,
        "now": now,
        "midnight": now // DAY_S * DAY_S,
    }
    edges: list[EdgeRow] = []
    moves: list[tuple[object, ...]] = []
    for edge in map(_Touched._make, fetch(connection, sql, values)):
        credit = min(credits.get(edge.src, 0.0), credits.get(edge.dst, 0.0))
        weight, is_good = _weighed_anew(edge, outcome, credit, config)
        if is_good is None and not edge.was_moved:
            continue
        is_good = is_good if counts else None
        success = max(edge.success - (edge.was_good == 1) + (is_good is True), 0)
        failure = max(edge.failure - (edge.was_good == 0) + (is_good is False), 0)
        edges.append((edge.src, edge.dst, edge.type, weight, now, success, failure, min(edge.decayed, now)))
        part = edge.part + weight - edge.weight  # not all of it is gone where the weight met its bounds
        if is_good is not None or abs(part) > LEAST:
            moves.append((id, edge.src, edge.dst, edge.type, rater, now, is_good, part))
    delete_moves(connection, namespace, id)
    connection.executemany(
        "UPDATE edges SET weight = ?4, last_used = ?5, success = ?6, failure = ?7, decayed = ?8 "
        "WHERE src = ?1 AND dst = ?2 AND type = ?3",
        edges,
    )
    connection.executemany("INSERT INTO edge_moves VALUES (?, ?, ?, ?, ?, ?, ?, ?)", moves)
    return Moved(sum(is_good is not None for *_, is_good, _ in moves), edges)


def delete_moves(connection: apsw.Connection, namespace: str, id: str) -> None:
    """Forget how far the outcome `id` of a namespace moved edges; their weights stay."""
    sql = f"DELETE FROM edge_moves WHERE interaction = :id AND {_IS_OURS}"
    connection.execute(sql, {"id": id, "namespace": namespace})


def credits_for(
    connection: apsw.Connection, interaction: str, answer: int | None, shown: Iterable[int], used: Iterable[int]
) -> dict[int, float]:
    """Return the credit of an answer's node and of each source that it showed: decided by a mark or by attribution,
    else by whether it was used."""
    was_used = set(used)
    credits = {node: USED_CREDIT if node in was_used else SHOWN_CREDIT for node in shown}
    decided = fetch(connection, "SELECT node, credit FROM credits WHERE interaction = ?", (interaction,))
    credits |= {node: credit for node, credit in decided if node in credits}
    return credits if answer is None else credits | {answer: 1.0}


def _weighed_anew(
    edge: _Touched, outcome: Outcome | None, credit: float, config: LearningConfig
) -> tuple[float, bool | None]:
    """Return an edge's weight with the new outcome in place of the old, and what it counts as, None when nothing."""
    base = min(max(edge.weight - edge.part, 0.0), 1.0)
    room = config.max_move_per_day - edge.spent
    if outcome is None or outcome.is_good is None or credit == 0.0 or room <= LEAST or edge.has_ended:
        return base, None
    step = moved_weight(base, outcome, credit, eta=config.eta) - base
    return min(max(base + min(max(step, -room), room), 0.0), 1.0), outcome.is_good
