"""Small facts about searched nodes that ranking needs for hundreds at a time, kept in memory."""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ruvllm.memory.follow import whole_or_thrown_away
from ruvllm.memory.rows import SEARCHED
from ruvllm.memory.store import Store
from ruvllm.text.dates import UNDATED, day_of, periods_in
from ruvllm.types import NodeType

__all__ = ["TRAIT", "Traits"]

TRAIT = np.dtype(
    [
        ("place", np.int64),
        ("trust", np.float64),
        ("speaker", np.int32),
        ("day", np.int32),
        ("type", np.uint8),
        ("length", np.uint16),
    ]
)
"""Of one node: the number of its document (its own id, negative, without one), trust, number of who spoke, the day of
its date, type, characters of its text (at most MAX_LENGTH)."""

MAX_LENGTH = 65_535
TOLD_WITHIN = 7  # days after which people still tell of what happened

COLUMNS = (
    "id, ifnull(document, 0), trust, ifnull(metadata ->> 'speaker', ''), ifnull(metadata ->> 'date', ''), type, "
    f"min(length(text), {MAX_LENGTH})"
)
NOBODY = 0  # as a speaker

_TYPE_CODES = {type_.value: code for code, type_ in enumerate(NodeType)}
_UNKNOWN = np.array([(0, 1.0, NOBODY, UNDATED, _TYPE_CODES[NodeType.FACT], 0)], TRAIT)
_WORD = re.compile(r"\w+")


class Traits:
    """Read at first use; kept in step by `added` and `removed`.

    They lie in a table by id, which the database counts up from 1: 27 bytes for every id ever given.
    """

    def __init__(self, store: Store, namespace: str) -> None:
        self._store = store
        self._namespace = namespace
        self._lock = threading.Lock()
        self._table: np.ndarray | None = None  # TRAIT by id; place 0: of no node, as the last row
        self._speakers = {"": NOBODY}  # name -> number
        self._called: defaultdict[str, list[int]] = defaultdict(list)  # word of a name -> numbers
        self._version = 0  # of the database, as this one last saw it

    def of(self, ids: np.ndarray) -> np.ndarray:
        """Return the traits, (n,) TRAIT, of `ids`, (n,) int64; those that are unknown here stand alone, trusted."""
        traits = self.load().take(ids, mode="clip")  # an id that is too large finds the last row
        unknown = traits["place"] == 0
        return _with_places(ids, traits) if unknown.any() else traits

    def are(self, ids: np.ndarray, type: NodeType) -> np.ndarray:
        """Return (n,) bool, which of `ids`, (n,) int64, are of a type; those that are unknown here are facts."""
        table = self.load()
        return np.asarray(table["type"][np.minimum(ids, len(table) - 1)] == _TYPE_CODES[type.value])

    def of_others(self, ids: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and traits, (n,) TRAIT, of nodes that are not searched, read from the database."""
        rows = self._store.rows(
            f"SELECT {COLUMNS} FROM nodes WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps([int(i) for i in ids]),),
        )
        with self._lock:
            found, traits = self._columns(rows)
        return found, _with_places(found, traits)

    def spoken_by(self, question: str, traits: np.ndarray) -> np.ndarray:
        """Return (n,) float32, 1 where the question names who spoke by any word of the name."""
        words = set(_WORD.findall(question.lower()))
        asked = [speaker for word in words for speaker in self._called.get(word, ())]
        return np.isin(traits["speaker"], asked).astype(np.float32) if asked else np.zeros(len(traits), np.float32)

    @staticmethod
    def turn_lengths(traits: np.ndarray) -> np.ndarray:
        """Return (n,) float32, the characters of turns of a dialogue, at most MAX_LENGTH, and inf for all other texts.

        A brief turn says little, a brief fact or passage all there is to say.
        """
        return np.where(traits["speaker"] == NOBODY, np.inf, traits["length"]).astype(np.float32)

    @staticmethod
    def dated(question: str, traits: np.ndarray) -> np.ndarray:
        """Return (n,) float32, 1 where the date is one that the question names, or at most TOLD_WITHIN days later."""
        dated = np.zeros(len(traits), np.bool_)
        for period in periods_in(question):
            dated |= period.includes(traits["day"], days_after=TOLD_WITHIN)
        return dated.astype(np.float32)

    def load(self) -> np.ndarray:
        """Read the traits once, and again after another process's writes when this one only reads."""
        table = self._table
        if table is not None and not self._store.read_only:
            return table
        with self._changing():
            version = self._store.version()
            if self._table is None or version != self._version:
                self._table = self._with(_UNKNOWN, "")
                self._version = version
            return self._table

    def added(self, ids: Iterable[int]) -> None:
        """Take in nodes that were just committed or changed."""
        with self._changing():
            if self._table is not None:
                which = "AND id IN (SELECT value FROM json_each(?))"
                self._table = self._with(self._table, which, json.dumps([int(i) for i in ids]))

    def removed(self, ids: Iterable[int]) -> None:
        """Forget nodes that are not searched any more."""
        with self._changing():
            if self._table is not None:
                gone = np.fromiter(ids, np.int64)
                self._table[gone[gone < len(self._table)]] = _UNKNOWN

    def reload(self) -> None:
        """Throw everything away; the next search reads it again."""
        with self._lock:
            self._throw_away()

    def _changing(self) -> AbstractContextManager[None]:
        return whole_or_thrown_away(self._lock, self._throw_away)

    def _throw_away(self) -> None:
        self._table = None

    def _with(self, table: np.ndarray, which: str, *parameters: Any) -> np.ndarray:
        """Return a table, the given one when it is large enough, that has the traits of more nodes in it."""
        sql = f"SELECT {COLUMNS} FROM nodes WHERE namespace = ? AND {SEARCHED} {which}"
        ids, traits = self._columns(self._store.rows(sql, (self._namespace, *parameters)))
        size = int(ids.max(initial=0)) + 2
        if size > len(table):
            table = np.concatenate([table, np.repeat(_UNKNOWN, max(size, len(table) * 3 // 2) - len(table))])
        table[ids] = _with_places(ids, traits)
        return table

    def _columns(self, rows: Sequence[tuple[Any, ...]]) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and traits of rows of COLUMNS."""
        traits = np.empty(len(rows), TRAIT)
        if not rows:
            return np.empty(0, np.int64), traits
        ids, traits["place"], traits["trust"], speakers, dates, types, traits["length"] = zip(*rows, strict=True)
        numbers = {name: self._number(str(name)) for name in set(speakers)}
        traits["speaker"] = [numbers[name] for name in speakers]
        days = {text: day_of(str(text)) for text in set(dates)}
        traits["day"] = [days[text] for text in dates]
        traits["type"] = [_TYPE_CODES[type_] for type_ in types]
        return np.array(ids, np.int64), traits

    def _number(self, speaker: str) -> int:
        number = self._speakers.get(speaker)
        if number is None:
            number = self._speakers[speaker] = len(self._speakers)
            for word in set(_WORD.findall(speaker.lower())):
                if len(word) > 2:
                    self._called[word].append(number)
        return number


def _with_places(ids: np.ndarray, traits: np.ndarray) -> np.ndarray:
    """Return the traits with a place of its own for each node that is part of no document."""
    traits["place"] = np.where(traits["place"] == 0, -ids, traits["place"])
    return traits
