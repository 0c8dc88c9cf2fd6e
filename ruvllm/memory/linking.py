"""The names of a namespace's nodes: who is mentioned in a question, and in the texts of new documents."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence, Set
from typing import Any

from ruvllm.config import LinkingConfig
from ruvllm.memory.follow import whole_or_thrown_away
from ruvllm.memory.link_batch import LinkBatch, NewDocument
from ruvllm.memory.names import NameIndex
from ruvllm.memory.rows import SEARCHED
from ruvllm.memory.store import Store

__all__ = ["Linker"]


class Linker:
    """Links the nodes of one namespace. The names of all nodes are kept in memory, derived from table `names`."""

    def __init__(self, store: Store, namespace: str, config: LinkingConfig) -> None:
        self._store = store
        self._namespace = namespace
        self._config = config
        self._lock = threading.Lock()  # held while names are looked up or brought in step
        self._names: NameIndex | None = None
        self._version = 0  # of the database, as this one last saw it

    def load(self) -> None:
        """Read the names once."""
        with self._changing():
            self._load()

    def mentioned(self, text: str) -> dict[str, list[int]]:
        """Return the names that a text mentions and the nodes that are called so."""
        with self._changing():
            return self._load().find(text)

    def added(self, ids: Iterable[int]) -> None:
        """Take in the names of nodes that were just committed."""
        with self._changing():
            if self._names is not None:
                which = "AND node IN (SELECT value FROM json_each(?))"
                self._names.add(self._rows(which, json.dumps([int(i) for i in ids])))

    def removed(self, ids: Iterable[int]) -> None:
        """Forget nodes that are not searched any more."""
        with self._changing():
            if self._names is not None:
                self._names.remove(ids)

    def reload(self) -> None:
        """Throw the names away; whoever needs them reads them again."""
        with self._lock:
            self._throw_away()

    def _changing(self) -> Any:
        return whole_or_thrown_away(self._lock, self._throw_away)

    def _throw_away(self) -> None:
        self._names = None

    def _load(self) -> NameIndex:
        version = self._store.version() if self._names is None or self._store.read_only else self._version
        if self._names is None or version != self._version:
            self._names, self._version = NameIndex(), version
            self._names.add(self._rows(""))
        return self._names

    def _rows(self, which: str, *parameters: Any) -> list[tuple[Any, ...]]:
        sql = f"SELECT name, node FROM names JOIN nodes ON nodes.id = node WHERE names.namespace = ? AND {SEARCHED}"
        return self._store.rows(f"{sql} {which} ORDER BY node", (self._namespace, *parameters))

    def batch(self, documents: Sequence[NewDocument], replaced: Set[int]) -> LinkBatch:
        """Return what new documents are called and mention; to be asked before the transaction that inserts them.

        Args:
            replaced: the nodes of their old versions.
        """
        batch = LinkBatch(self._namespace, self._config, documents)
        if self._config.names:
            with self._changing():
                batch.look_up(self._load(), replaced)
        return batch
