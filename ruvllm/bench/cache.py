"""What is slow to compute and the same every time, kept on disk: embeddings by their text, answers by their prompt."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import apsw
import numpy as np

from ruvllm.closing import Closes
from ruvllm.types import Embedder

__all__ = ["Cache", "CachedEmbedder"]


class Cache(Closes):
    """Bytes under a kind and a text, in one file that several runs may share. Safe to share between threads.

    Args:
        folder: made when missing; in memory, gone at the end, when None.
    """

    def __init__(self, folder: Path | None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._connection = apsw.Connection(":memory:" if folder is None else str(folder / "bench.db"))
        self._lock = threading.Lock()  # two threads on one connection are an error of apsw
        self._connection.set_busy_timeout(10_000)
        self._connection.execute("CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")

    def find(self, kind: str, texts: Sequence[str]) -> dict[str, bytes]:
        """Return what is known under `kind` for any of the texts."""
        found = {}
        with self._lock:
            for text in texts:
                value = self._connection.execute("SELECT value FROM entries WHERE key = ?", (_key(kind, text),)).get
                if value is not None:
                    found[text] = value
        return found

    def add(self, kind: str, values: Mapping[str, bytes]) -> None:
        """Keep a value for each text."""
        with self._lock, self._connection:
            self._connection.executemany(
                "INSERT OR REPLACE INTO entries VALUES (?, ?)", [(_key(kind, t), v) for t, v in values.items()]
            )

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._connection.close()


class CachedEmbedder:
    """An embedder that encodes no text twice."""

    def __init__(self, embedder: Embedder, cache: Cache) -> None:
        self.id = embedder.id
        self.native_dim = embedder.native_dim
        self._embedder = embedder
        self._cache = cache

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, native_dim) float32 unit vectors."""
        known = self._cache.find(self.id, texts)
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        if missing:
            vectors = np.asarray(self._embedder.encode(missing), np.float32)
            new = {text: vector.tobytes() for text, vector in zip(missing, vectors, strict=True)}
            self._cache.add(self.id, new)
            known |= new
        return np.stack([np.frombuffer(known[text], np.float32) for text in texts])

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text."""
        return self._embedder.count_tokens(texts)


def _key(kind: str, text: str) -> bytes:
    return hashlib.blake2b(f"{kind}\0{text}".encode(), digest_size=16).digest()
