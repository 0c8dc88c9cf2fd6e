"""The stored nodes in which names stand word for word: those that will cite a new node that is called so."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

import apsw
import numpy as np

from ruvllm.memory.keywords import Keywords
from ruvllm.memory.rows import SEARCHED
from ruvllm.memory.store import Store, fetch
from ruvllm.text import terms

__all__ = ["WhoSays", "says"]

MAX_FOUND = 64  # nodes that are looked at for one name, the oldest
MANY_NAMES = 128  # for so many the keywords are worth loading

_WORD = re.compile(r"\w+")


class WhoSays:
    """Looks among the searched nodes of one namespace, within a transaction.

    Where few nodes hold all words of a name of several, the keywords in memory know them: 0.03 to 0.05 ms a name. Else
    the database is asked, which looks into each segment of its index for each word: 0.2 to 0.3 ms.
    """

    def __init__(self, store: Store, keywords: Keywords, namespace: str) -> None:
        self._store = store
        self._keywords = keywords
        self._namespace = namespace

    def of(self, connection: apsw.Connection, names: Collection[str], first: int) -> dict[str, list[int]]:
        """Return the nodes with ids below `first` in which a name stands, ascending, of names in few of them.

        The others are to be looked for one by one, by `search`.
        """
        holding = self._holding(connection, names, first)
        wanted = np.unique(np.concatenate([np.empty(0, np.int64), *holding.values()])).tolist()
        sql = (
            "SELECT nodes.id, text FROM json_each(?1) CROSS JOIN nodes ON nodes.id = value "
            f"WHERE namespace = ?2 AND nodes.id < ?3 AND {SEARCHED}"
        )
        rows = fetch(connection, sql, (json.dumps(wanted), self._namespace, first))
        lowered = {id: text.lower() for id, text in rows}
        return {
            name: [id for id in ids.tolist() if id in lowered and says(lowered[id], name)]
            for name, ids in holding.items()
        }

    def search(self, connection: apsw.Connection, name: str, before: int) -> list[int]:
        """Return nodes with ids below `before` in which a name stands, of the first MAX_FOUND that have its stems."""
        found = fetch(
            connection,
            "SELECT nodes.id, nodes.text FROM keywords CROSS JOIN nodes ON nodes.id = keywords.rowid "
            f"WHERE keywords MATCH ? AND keywords.rowid < ? AND nodes.namespace = ? AND {SEARCHED} LIMIT ?",
            (f'body : "{name}"', before, self._namespace, MAX_FOUND),
        )
        return [id for id, text in found if says(text.lower(), name)]

    def _holding(self, connection: apsw.Connection, names: Collection[str], first: int) -> dict[str, np.ndarray]:
        """Return the nodes, ascending, that hold all words of a name, for names of which the keywords say so."""
        if not (self._keywords.is_loaded or len(names) >= MANY_NAMES) or self._has_others(connection, first):
            return {}
        several = (name for name in names if " " in name and name.isascii())  # other scripts are cut in other places
        asked = ((name, terms(name)) for name in several)
        found = ((name, self._keywords.holding(words)) for name, words in asked if len(words))
        return {name: np.sort(ids) for name, ids in found if ids is not None and len(ids) <= MAX_FOUND}

    def _has_others(self, connection: apsw.Connection, first: int) -> bool:
        """Return whether the transaction has nodes below `first`, of which the keywords do not know yet."""
        newest = "SELECT max(id) FROM nodes WHERE id < ?"
        return bool(connection.execute(newest, (first,)).get != self._store.value(newest, (first,)))


def says(lowered: str, name: str) -> bool:
    """Return whether a name, as `name_of` gives it, stands word for word in a text in lower case."""
    start = lowered.find(name)
    if start >= 0:
        around = lowered[max(start - 1, 0) : start] + " " + lowered[start + len(name) : start + len(name) + 1]
        if not _WORD.search(around):
            return True
    return f" {name} " in f" {' '.join(_WORD.findall(lowered))} "
