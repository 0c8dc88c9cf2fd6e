"""Which nodes searches return, counted in memory and written together: no search writes to the disk."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain, combinations

import apsw

from ruvllm.memory.later import Later
from ruvllm.memory.rows import NODE_COLUMNS, SEARCHED, existing, node_of
from ruvllm.memory.store import Store
from ruvllm.types import Node

__all__ = ["Usage", "forget_pairs", "read_co_retrieved"]

logger = logging.getLogger(__name__)

PAIRED_HITS = 10  # first hits of a search that count as found together: 45 pairs
MAX_PAIRS = 1_000_000  # that are kept, some 25 MB; compression reads none that was found once, which is chance
BATCH_PAIRS = 20_000  # forgotten in one transaction


class Usage:
    """Counts of uses since the last commit. Safe from several threads.

    Args:
        store: one that writes.
        interval_s: longest time a count waits, and what a crash can lose.
    """

    def __init__(self, store: Store, interval_s: float) -> None:
        self._store = store
        self._later = Later(self._write, interval_s)
        self._searches: list[Sequence[int]] = []  # what each returned

    def note(self, ids: Sequence[int]) -> None:
        """Count a use of each node of one search, given best first."""
        with self._later.lock:
            if self._later.is_closed or not ids:
                return
            self._searches.append(ids)
            self._later.soon()

    def flush(self) -> None:
        """Write what was counted; counts that cannot be written are given up and logged."""
        self._later.flush()

    def close(self) -> None:
        """Write what was counted and count nothing more. May be called twice."""
        self._later.close()

    def _write(self) -> None:
        with self._later.lock:
            searches, self._searches = self._searches, []
        if not searches:
            return
        uses = Counter(chain.from_iterable(searches))
        pairs = Counter(chain.from_iterable(combinations(sorted(searched[:PAIRED_HITS]), 2) for searched in searches))
        now = time.time()
        try:
            self._store.write(lambda connection: _add(connection, uses, pairs, now))
        except Exception as error:
            logger.warning("uses of %d nodes are not counted: %s", len(uses), error)


def _add(connection: apsw.Connection, uses: Counter[int], pairs: Counter[tuple[int, int]], now: float) -> None:
    """Add counts to nodes and pairs that still exist, in the order in which they lie on disk."""
    known = existing(connection, uses)
    connection.executemany(
        "UPDATE nodes SET use_count = use_count + ?, last_used = max(last_used, ?) WHERE id = ?",
        [(uses[node], now, node) for node in sorted(known)],
    )
    here = frozenset(known)
    connection.executemany(
        "INSERT INTO co_retrievals (a, b, count) VALUES (?, ?, ?) "
        "ON CONFLICT (a, b) DO UPDATE SET count = count + excluded.count",
        sorted((*pair, count) for pair, count in pairs.items() if here.issuperset(pair)),
    )


def forget_pairs(store: Store, cancelled: Callable[[], bool] = lambda: False) -> int:
    """Delete of the pairs that were found together those counted least, until MAX_PAIRS are left; return how many."""
    surplus: int = max(store.value("SELECT count(*) FROM co_retrievals") - MAX_PAIRS, 0)
    for start in range(0, surplus, BATCH_PAIRS):
        if cancelled():
            return start
        few = min(surplus - start, BATCH_PAIRS)
        pairs = store.rows("SELECT a, b FROM co_retrievals ORDER BY count, a, b LIMIT ?", (few,))
        _delete(store, pairs)
    return surplus


def _delete(store: Store, pairs: Sequence[tuple[int, int]]) -> None:
    sql = "DELETE FROM co_retrievals WHERE a = ? AND b = ?"
    store.write(lambda connection: connection.executemany(sql, pairs).fetchall())


def read_co_retrieved(store: Store, node_id: int, k: int) -> list[tuple[Node, int]]:
    """Return the `k` searched nodes that came with a node most often, each with how often."""
    rows = store.rows(
        f"SELECT {NODE_COLUMNS}, count FROM (SELECT b AS other, count FROM co_retrievals WHERE a = ?1 "
        "UNION ALL SELECT a, count FROM co_retrievals WHERE b = ?1) JOIN nodes ON nodes.id = other "
        f"WHERE {SEARCHED} ORDER BY count DESC, nodes.id LIMIT ?2",
        (node_id, k),
    )
    return [(node_of(row[:-1]), row[-1]) for row in rows]
