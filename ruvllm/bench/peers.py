"""Other stores of passages, asked the same questions with the same embedder, where they are installed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Any

from ruvllm.bench.corpora import Passage
from ruvllm.bench.evaluation import Asked
from ruvllm.bench.timing import peer
from ruvllm.types import Embedder

__all__ = ["lancedb_hybrid", "mem0_search"]

FOUND = 20  # passages asked for
BATCH = 256


def lancedb_hybrid(
    passages: Sequence[Passage], asked: Sequence[Asked], embedder: Embedder, *, hide_titles: bool
) -> list[list[str]] | None:
    """Return what LanceDB's hybrid search, fused by reciprocal rank, finds for each question; None where it is missing.

    Vectors are searched exactly.
    """
    lancedb = peer("lancedb")
    if lancedb is None:
        return None
    from lancedb.index import FTS
    from lancedb.rerankers import RRFReranker

    texts = _texts(passages, hide_titles)
    rows = []
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        for passage, text, vector in zip(passages[start:], batch, embedder.encode(batch), strict=False):
            rows.append({"pid": passage.pid, "text": text, "vector": vector.tolist()})
    with tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder:
        table = lancedb.connect(folder).create_table("passages", rows)
        table.create_index("text", config=FTS())
        found = []
        for one in asked:
            search = table.search(query_type="hybrid", vector_column_name="vector").vector(one.vector)
            search = search.text(one.question.question).distance_type("cosine").rerank(RRFReranker()).limit(FOUND)
            found.append([row["pid"] for row in search.to_list()])
    return found


def mem0_search(
    passages: Sequence[Passage], asked: Sequence[Asked], embedder: Embedder, *, hide_titles: bool
) -> list[list[str]] | None:
    """Return what mem0 finds for each question, passages stored as they are, without a language model; None where it
    is missing."""
    os.environ["MEM0_TELEMETRY"] = "False"  # read when mem0 is imported: nothing of a bench is reported
    with tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder:
        os.environ["MEM0_DIR"] = folder
        mem0 = peer("mem0")
        if mem0 is None:
            return None
        unused = {"provider": "openai", "config": {"api_key": "unused"}}
        store = {"path": folder, "embedding_model_dims": embedder.native_dim, "on_disk": True}
        memory = mem0.Memory.from_config(
            {
                "llm": unused,
                "embedder": unused,
                "vector_store": {"provider": "qdrant", "config": store},
                "history_db_path": f"{folder}/history.db",
            }
        )
        memory.embedding_model = _Mem0Embedder(embedder)
        with memory:
            for passage, text in zip(passages, _texts(passages, hide_titles), strict=True):
                memory.add(text, user_id="bench", infer=False, metadata={"pid": passage.pid})
            found = []
            for one in asked:
                results = memory.search(one.question.question, filters={"user_id": "bench"}, top_k=FOUND, threshold=0.0)
                found.append([result["metadata"]["pid"] for result in results["results"]])
    return found


class _Mem0Embedder:
    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def embed(self, text: str, memory_action: Any = None) -> list[float]:
        vector: list[float] = self._embedder.encode([text])[0].tolist()
        return vector


def _texts(passages: Sequence[Passage], hide_titles: bool) -> list[str]:
    return [p.text if hide_titles or not p.title else f"{p.title}\n{p.text}" for p in passages]
