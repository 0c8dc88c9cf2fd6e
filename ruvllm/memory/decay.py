"""What time does to edges: weights halve with disuse, and what is weak for good is pruned."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import apsw

from ruvllm.config import LearningConfig
from ruvllm.memory.arguments import checked_count
from ruvllm.memory.links import EdgeKey, Links
from ruvllm.memory.rows import checked_weight
from ruvllm.memory.store import Store, fetch
from ruvllm.memory.usage import forget_pairs
from ruvllm.types import EdgeType

__all__ = ["DAY_S", "DecayReport", "apply_decay", "half_lives", "weight_left"]

DAY_S = 86_400.0
BATCH_EDGES = 2048  # decayed in one transaction

STRUCTURE = (EdgeType.FOLLOWS, EdgeType.CONTAINS, EdgeType.DERIVED)
"""What is never pruned: order, hierarchy, and the parents by which a bad source is revoked."""


@dataclass(frozen=True, slots=True)
class DecayReport:
    """What a pass did: edges brought to its time, edges removed, and pairs found together that were forgotten."""

    decayed: int
    pruned: int
    pairs: int = 0


def half_lives(config: LearningConfig) -> dict[EdgeType, float]:
    """Return the half-life in seconds of every edge type that fades."""
    days = {
        EdgeType.CITES: config.cites_half_life_days,
        EdgeType.SHARED_NAME: config.shared_name_half_life_days,
        EdgeType.SAME_TOPIC: config.same_topic_half_life_days,
        EdgeType.AGENT_STEP: config.agent_step_half_life_days,
    }
    return {type_: each * DAY_S for type_, each in days.items() if each > 0.0}


def weight_left(half_life_s: Mapping[EdgeType, float], since: str = "max(edges.last_used, edges.decayed)") -> str:
    """Return, as SQL over `edges`, the share of a weight of time `since` that is left at :now, 2^(-age / half-life).

    A time in the future, as after a clock was set back, leaves all of it.
    """
    cases = "".join(f" WHEN '{type_.value}' THEN {seconds!r}" for type_, seconds in half_life_s.items())
    half_life = f"CASE edges.type{cases} ELSE 9e999 END" if cases else "9e999"  # infinity
    return f"pow(2.0, -max(:now - {since}, 0.0) / {half_life})"


def apply_decay(
    store: Store,
    links: Links,
    config: LearningConfig,
    *,
    rate: float | None,
    min_interactions: int,
    floor: float,
    cancelled: Callable[[], bool] = lambda: False,
) -> DecayReport:
    """Make the decay of all edges permanent and prune, a few thousand edges in a transaction; see `Memory.apply_decay`.

    A pass that is cut short leaves every edge sound: each says by itself as of when its weight is.
    """
    min_interactions = checked_count(min_interactions, "min_interactions", least=0)
    floor, now = checked_weight(floor, "floor"), time.time()
    lives = half_lives(config) if rate is None else _lives_at(rate)
    decayed = pruned = 0
    after: int | None = -1
    while after is not None and not cancelled():
        work = _batch(after, lives, now, floor, min_interactions)
        after, count, gone = store.write(work, after=lambda done: links.pruned(done[2]))
        decayed, pruned = decayed + count, pruned + len(gone)
    if rate is None:
        links.decayed(now)
    else:  # they faded otherwise than the graph believes
        links.reload()
    return DecayReport(decayed, pruned, forget_pairs(store, cancelled))


def _lives_at(rate: float) -> dict[EdgeType, float]:
    """Return the half-life at which every edge loses the share `rate` a day."""
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0.0 <= rate < 1.0:
        raise ValueError(f"rate must be in [0, 1), the share lost per day ({rate!r})")
    if rate == 0.0:
        return {}
    half_life_s = DAY_S * math.log(2.0) / -math.log1p(-rate)
    return dict.fromkeys(EdgeType, min(half_life_s, sys.float_info.max))  # SQL has no word for infinity


def _batch(
    after: int, lives: Mapping[EdgeType, float], now: float, floor: float, min_interactions: int
) -> Callable[[apsw.Connection], tuple[int | None, int, list[EdgeKey]]]:
    """Return work on the edges of the nodes that follow `after`: (last node of them, edges decayed, edges pruned)."""

    def work(connection: apsw.Connection) -> tuple[int | None, int, list[EdgeKey]]:
        sql = "SELECT max(src) FROM (SELECT src FROM edges WHERE src > ? ORDER BY src LIMIT ?)"
        last = connection.execute(sql, (after, BATCH_EDGES)).get
        if last is None:
            return None, 0, []
        values = {"after": after, "last": last, "now": now, "floor": floor, "min": min_interactions}
        here = "edges.src > :after AND edges.src <= :last"
        fades = f"edges.type IN ({_list(lives)}) AND max(edges.last_used, edges.decayed) < :now"
        moved_left = weight_left(lives, "max(edge_moves.at, edges.decayed)")
        connection.execute(
            f"UPDATE edge_moves SET moved = moved * {moved_left} FROM edges "
            "WHERE edge_moves.src > :after AND edge_moves.src <= :last AND edges.src = edge_moves.src "
            f"AND edges.dst = edge_moves.dst AND edges.type = edge_moves.type AND {fades}",
            values,
        )
        connection.execute(
            f"UPDATE edges SET weight = weight * {weight_left(lives)}, decayed = :now WHERE {here} AND {fades}", values
        )
        decayed = connection.changes()
        gone = fetch(
            connection,
            f"DELETE FROM edges WHERE {here} AND weight < :floor AND success + failure >= :min "
            f"AND type NOT IN ({_list(STRUCTURE)}) RETURNING src, dst, type",
            values,
        )
        return last, decayed, gone

    return work


def _list(types: Mapping[EdgeType, float] | tuple[EdgeType, ...]) -> str:
    return ", ".join(f"'{type_.value}'" for type_ in types)
