"""Answers given before: the same question, of the same brain, in the same conversation, is answered from here."""

from __future__ import annotations

import hashlib
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from ruvllm.config import CacheConfig
from ruvllm.orchestrator.same_question import ask_the_same
from ruvllm.types import GenerationOptions, Response

__all__ = ["CacheKey", "Entry", "ResponseCache", "key_of", "same_every_time"]

ENTRY_BYTES = 2048  # of one entry beside its texts and vectors
SOURCE_BYTES = 256

_encode = msgspec.json.Encoder(order="deterministic", enc_hook=repr).encode


@dataclass(frozen=True, slots=True)
class CacheKey:
    """What an answer depends on: the question, and a hash of all that is not the question."""

    context: bytes
    question: str


@dataclass(slots=True, eq=False)
class Entry:
    """One answer, and what its record needs, so that nothing is embedded or looked up when it is given again.

    `query_vector` is (native_dim,) float32; so is `answer_vector`, which its owner may fill in later.
    """

    key: CacheKey
    response: Response
    query_vector: np.ndarray
    bytes: int
    answer_vector: np.ndarray | None = None
    is_private: bool = False


def same_every_time(options: GenerationOptions) -> bool:
    """Return whether the same prompt gives the same answer: it is not sampled, or by a seed."""
    return options.temperature == 0.0 or options.seed is not None


def key_of(question: str, depends_on: Sequence[Any]) -> CacheKey | None:
    """Return the key of a question whose answer depends on these values, too; None where they have no written form.

    White space and the form in which Unicode writes a letter make no difference, upper and lower case do.
    """
    try:
        written = _encode(depends_on)
    except (TypeError, ValueError, RecursionError):
        return None
    normalised = " ".join(unicodedata.normalize("NFC", question).split())
    return CacheKey(hashlib.sha256(written).digest(), normalised)


class ResponseCache:
    """A bounded store of answers, the least recently used go first. Safe to share between threads."""

    def __init__(self, config: CacheConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._entries: OrderedDict[CacheKey, Entry] = OrderedDict()
        self._bytes = 0
        self._drops = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """About what all entries hold in memory."""
        return self._bytes

    @property
    def drops(self) -> int:
        """How often something was taken out because it may not be given again."""
        return self._drops

    def get(self, key: CacheKey) -> Entry | None:
        """Return the answer to exactly this question."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    def similar(self, key: CacheKey, query_vector: np.ndarray) -> Entry | None:
        """Return the answer to the nearest other wording of this question; None where `config.similarity` is 0.

        Its cosine is at least `config.similarity`, and numbers, negations and names are the same in both.

        Args:
            query_vector: (native_dim,) float32, unit length.
        """
        if not self._config.similarity:
            return None
        with self._lock:
            entries = [e for e in self._entries.values() if e.key.context == key.context]
        if not entries:
            return None
        cosines = np.stack([entry.query_vector for entry in entries]) @ query_vector
        for i in np.argsort(-cosines, kind="stable"):
            if cosines[i] < self._config.similarity:
                return None
            if ask_the_same(entries[i].key.question, key.question):
                return self.get(entries[i].key)
        return None

    def put(
        self,
        key: CacheKey,
        response: Response,
        query_vector: np.ndarray,
        *,
        drops: int | None = None,
        is_private: bool = False,
    ) -> None:
        """Keep an answer, in place of others where there is no room; one that is too large by itself is not kept.

        Args:
            drops: what `drops` said when the answer was begun; where it says more now, this one may be what was meant,
                and is not kept.
            is_private: as the answer is remembered, for it does not say so itself.
        """
        entry = Entry(key, response, query_vector, _bytes_of(key, response, query_vector), is_private=is_private)
        if entry.bytes > self._config.max_bytes:
            return
        with self._lock:
            if drops is not None and drops != self._drops:
                return
            self._remove(key)
            self._entries[key] = entry
            self._bytes += entry.bytes
            while len(self._entries) > self._config.max_entries or self._bytes > self._config.max_bytes:
                self._remove(next(iter(self._entries)))

    def drop(self, question: str, answer: str | None = None) -> None:
        """Forget every answer to a question, whatever else it depended on, and `answer` to any other wording of it."""
        known = key_of(question, ())
        with self._lock:
            self._drops += 1
            for key, entry in list(self._entries.items()):
                if (known is not None and key.question == known.question) or entry.response.text == answer:
                    self._remove(key)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._drops += 1
            self._entries.clear()
            self._bytes = 0

    def _remove(self, key: CacheKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.bytes


def _bytes_of(key: CacheKey, response: Response, query_vector: np.ndarray) -> int:
    texts = (key.question, response.query, response.text, response.draft or "", *(s.text for s in response.sources))
    chars = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    return ENTRY_BYTES + SOURCE_BYTES * len(response.sources) + chars + 2 * query_vector.nbytes  # and the answer's
