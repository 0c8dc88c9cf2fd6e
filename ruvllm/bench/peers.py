"""Other stores of passages, asked the same questions with the same embedder, where they are installed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

from ruvllm.bench.corpora import Passage
from ruvllm.bench.evaluation import Asked
from ruvllm.bench.timing import peer
from ruvllm.types import Embedder

__all__ = ["lancedb_hybrid"]

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

    texts = [p.text if hide_titles or not p.title else f"{p.title}\n{p.text}" for p in passages]
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
