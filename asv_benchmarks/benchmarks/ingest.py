"""Memory without a model: what reading, storing, searching and recording cost beside embedding."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ruvllm.memory import Memory
from ruvllm.text.chunking import chunk_blocks, parse_blocks
from ruvllm.types import Interaction, Route

DIM = 384
WORDS = [f"word{i}" for i in range(5000)]


class RandomEmbedder:
    """Vectors at once, so that only memory's own work is timed."""

    id = "random"
    native_dim = DIM

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        vectors = self._rng.standard_normal((len(texts), DIM), dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(re.findall(r"\w+|[^\w\s]", text)) for text in texts]


def sections(n: int, seed: int) -> str:
    """Return a Markdown document of `n` sections of 60 words, Zipf-distributed."""
    rng = np.random.default_rng(seed)
    ranks = np.minimum(rng.zipf(1.3, (n, 60)), len(WORDS)) - 1
    return "\n\n".join(f"## Section {i}\n\n{' '.join(WORDS[r] for r in row)}." for i, row in enumerate(ranks))


class Ingest:
    """1 000 chunks in one document and in 100."""

    param_names = ("documents",)
    params = ([1, 100],)
    number = 1
    repeat = (3, 5, 30.0)

    def setup(self, documents: int) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.docs = self.folder / "docs"
        self.docs.mkdir()
        for i in range(documents):
            (self.docs / f"{i}.md").write_text(sections(1000 // documents, seed=i))
        self.memory = Memory(self.folder / "brain", embedder=RandomEmbedder())

    def teardown(self, documents: int) -> None:
        self.memory.close()

    def time_ingest_1000_chunks(self, documents: int) -> None:
        self.memory.ingest(self.docs)


class Chunking:
    """Cut a document of 1 000 sections."""

    def setup(self) -> None:
        self.text, self.count = sections(1000, seed=0), RandomEmbedder().count_tokens

    def time_chunk(self) -> None:
        chunk_blocks(parse_blocks(self.text, "markdown"), title="T", count_tokens=self.count, max_tokens=200)


class Use:
    """Search and record on a brain of 5 000 chunks."""

    def setup(self) -> None:
        folder = Path(tempfile.mkdtemp())
        (folder / "doc.md").write_text(sections(5000, seed=0))
        self.embedder = RandomEmbedder()
        self.memory = Memory(folder / "brain", embedder=self.embedder)
        self.memory.ingest(folder / "doc.md")
        self.vector = self.embedder.encode(["q"])[0]
        self.memory.search("word100", query_vector=self.vector)
        self.count = 0

    def teardown(self) -> None:
        self.memory.close()

    def time_search(self) -> None:
        self.memory.search("which word40 stands beside word300", query_vector=self.vector)

    def time_search_with_filter(self) -> None:
        self.memory.search("word40 word300", query_vector=self.vector, filter={"position": [1, 2, 3]})

    def time_insert_node(self) -> None:
        self.count += 1
        self.memory.insert_node(f"fact {self.count}")

    def time_record_and_flush(self) -> None:
        self.count += 1
        self.memory.record(
            Interaction(
                id=f"a{self.count}",
                query="q",
                answer="a",
                namespace="default",
                session="s",
                created=0.0,
                source_ids=(1, 2, 3),
                used_ids=(1,),
                route=Route("reader", 2048, 0.0, 1.0),
                confidence=0.9,
                finish_reason="stop",
                timings_ms={},
                query_vector=self.vector,
                answer_vector=self.vector,
            )
        )
        self.memory.flush()
