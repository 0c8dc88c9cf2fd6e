"""Small facts about searched nodes that ranking needs for hundreds at a time, kept in memory."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ruvllm.memory.follow import whole_or_thrown_away
from ruvllm.memory.rows import SEARCHED
from ruvllm.memory.store import Store
from ruvllm.types import NodeType

__all__ = ["Trait", "Traits"]

COLUMNS = "id, ifnull(document, -id), ifnull(metadata ->> 'speaker', ''), trust, type"

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Trait:
    """Of one node: the number of its document (its own id, negative, without one), who spoke, trust, type."""

    place: int
    speaker: str
    trust: float
    type: NodeType


class Traits:
    """Read at first use; kept in step by `added` and `removed`."""

    def __init__(self, store: Store, namespace: str) -> None:
        self._store = store
        self._namespace = namespace
        self._lock = threading.Lock()
        self._traits: dict[int, Trait] | None = None
        self._speakers: dict[str, frozenset[str]] = {}  # name -> its words
        self._version = 0  # of the database, as this one last saw it

    def of(self, ids: Sequence[int]) -> list[Trait]:
        """Return the traits of nodes; those that are unknown here stand alone and are trusted."""
        traits = self._load()
        return [traits.get(i) or Trait(-i, "", 1.0, NodeType.FACT) for i in ids]

    def of_others(self, ids: Iterable[int]) -> dict[int, Trait]:
        """Return the traits of nodes that are not searched, read from the database."""
        found: dict[int, Trait] = {}
        wanted = json.dumps([int(i) for i in ids])
        for node, place, speaker, trust, type in self._store.rows(
            f"SELECT {COLUMNS} FROM nodes WHERE id IN (SELECT value FROM json_each(?))", (wanted,)
        ):
            found[node] = Trait(place, str(speaker), trust, NodeType(type))
        return found

    def spoken_by(self, question: str, traits: Sequence[Trait]) -> np.ndarray:
        """Return (n,) float32, 1 where the question names who spoke by any word of the name."""
        if not self._speakers:
            return np.zeros(len(traits), np.float32)
        words = set(_WORD.findall(question.lower()))
        asked = {name for name, parts in list(self._speakers.items()) if parts & words}
        return np.array([trait.speaker in asked for trait in traits], np.float32)

    def _load(self) -> dict[int, Trait]:
        traits = self._traits
        if traits is not None and not self._store.read_only:
            return traits
        with self._lock:
            version = self._store.version()
            if self._traits is None or version != self._version:
                self._traits, self._version = {}, version
                self._take(self._traits, "")
            return self._traits

    def added(self, ids: Iterable[int]) -> None:
        """Take in nodes that were just committed or changed."""
        with self._changing():
            if self._traits is not None:
                self._take(
                    self._traits, "AND id IN (SELECT value FROM json_each(?))", json.dumps([int(i) for i in ids])
                )

    def removed(self, ids: Iterable[int]) -> None:
        """Forget nodes that are not searched any more."""
        with self._changing():
            if self._traits is not None:
                for node in ids:
                    self._traits.pop(int(node), None)

    def reload(self) -> None:
        """Throw everything away; the next search reads it again."""
        with self._lock:
            self._throw_away()

    def _changing(self) -> AbstractContextManager[None]:
        return whole_or_thrown_away(self._lock, self._throw_away)

    def _throw_away(self) -> None:
        self._traits = None

    def _take(self, traits: dict[int, Trait], which: str, *parameters: Any) -> None:
        rows = self._store.rows(
            f"SELECT {COLUMNS} FROM nodes WHERE namespace = ? AND {SEARCHED} {which}",
            (self._namespace, *parameters),
        )
        for node, place, speaker, trust, type in rows:
            traits[node] = Trait(place, str(speaker), trust, NodeType(type))
            if speaker and speaker not in self._speakers:
                self._speakers[str(speaker)] = frozenset(w for w in _WORD.findall(str(speaker).lower()) if len(w) > 2)
