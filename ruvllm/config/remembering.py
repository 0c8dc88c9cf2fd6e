"""The memory: what becomes of documents, how they are found, what is durable."""

from __future__ import annotations

import importlib.util
from typing import Literal

from ruvllm.config.section import MAX_WAIT_S, Section, require

__all__ = ["IndexConfig", "IngestConfig", "LinkingConfig", "RetrievalConfig", "StoreConfig"]


class IngestConfig(Section, frozen=True):
    """Documents to chunks."""

    chunk_tokens: int = 200  # the context prefix included, so that MiniLM's 256 are never exceeded
    max_file_bytes: int = 32 * 1024 * 1024

    def __post_init__(self) -> None:
        require(self.chunk_tokens >= 32, f"ingest.chunk_tokens must be >= 32 ({self.chunk_tokens})")
        require(self.max_file_bytes >= 1, f"ingest.max_file_bytes must be >= 1 ({self.max_file_bytes})")


class LinkingConfig(Section, frozen=True):
    """Which links form by themselves when documents come in."""

    names: bool = True  # Cites: a text mentions the title, heading or subject of another
    shared_names: bool = True  # SharedName: two texts mention the same rare name or term
    contains: bool = True  # Contains: a section's first chunk and the others
    same_topic: float = 0.75  # SameTopic: mutual neighbours of at least this cosine; 1 links none
    neighbours: int = 3  # SameTopic links of one node, at most

    def __post_init__(self) -> None:
        require(0.0 <= self.same_topic <= 1.0, f"linking.same_topic must be in [0, 1] ({self.same_topic})")
        require(0 <= self.neighbours <= 64, f"linking.neighbours must be in [0, 64] ({self.neighbours})")


class IndexConfig(Section, frozen=True):
    """The vector index."""

    kind: Literal["hnswlib", "faiss-sq8"] = "hnswlib"  # the second, of extra `faiss`, keeps vectors in 8 bits
    m: int = 32
    ef_construction: int = 200
    ef_search: int = 100
    exact_below: int = 10_000  # fewer live vectors than this are searched exactly (about 0.5 ms)

    def __post_init__(self) -> None:
        is_there = self.kind != "faiss-sq8" or importlib.util.find_spec("faiss") is not None
        require(is_there, "index.kind faiss-sq8 needs faiss: pip install 'ruvllm[faiss]'")
        enough = self.kind != "faiss-sq8" or self.exact_below >= 256
        require(enough, "index.exact_below must be >= 256 for faiss-sq8, which learns its range from so many vectors")
        require(2 <= self.m <= 128, f"index.m must be in [2, 128] ({self.m})")
        require(self.ef_construction >= self.m, "index.ef_construction must be >= index.m")
        require(self.ef_search >= 1, "index.ef_search must be >= 1")


class RetrievalConfig(Section, frozen=True):
    """What is looked for and shown."""

    k: int = 5  # sources shown to the model
    candidates: int = 40  # taken from each of vector and keyword search
    rrf_k: int = 60  # reciprocal rank fusion, Cormack et al. 2009
    hops: int = 2  # edges followed from what the question names; one from what it only resembles
    strong: int = 10  # best of the fused ranking whose neighbours are looked at
    max_nodes: int = 256  # looked at around them
    fan_out: int = 16  # heaviest edges of one node that are followed
    source_share: float = 0.8  # of the hits that one document may fill while others have something to say
    concept_share: float = 0.1  # of the hits that concepts may fill, rounded up, where no boost was asked for
    duplicate_similarity: float = 0.85  # MinHash Jaccard above which a source repeats another

    def __post_init__(self) -> None:
        require(1 <= self.k <= 100, f"retrieval.k must be in [1, 100] ({self.k})")
        require(self.candidates >= self.k, "retrieval.candidates must be >= retrieval.k")
        require(0 <= self.hops <= 4, f"retrieval.hops must be in [0, 4] ({self.hops})")
        require(1 <= self.strong <= 100, f"retrieval.strong must be in [1, 100] ({self.strong})")
        require(16 <= self.max_nodes <= 4096, f"retrieval.max_nodes must be in [16, 4096] ({self.max_nodes})")
        require(1 <= self.fan_out <= 256, f"retrieval.fan_out must be in [1, 256] ({self.fan_out})")
        require(0.0 < self.source_share <= 1.0, "retrieval.source_share must be in (0, 1]")
        require(0.0 <= self.concept_share <= 1.0, "retrieval.concept_share must be in [0, 1]")
        require(self.rrf_k >= 1, f"retrieval.rrf_k must be >= 1 ({self.rrf_k})")
        require(0.0 < self.duplicate_similarity <= 1.0, "retrieval.duplicate_similarity must be in (0, 1]")


class StoreConfig(Section, frozen=True):
    """Durability."""

    flush_interval_s: float = 0.2  # what a crash can lose of queued records of answered requests
    flush_batch: int = 64  # records that are committed together; so many do not wait for the interval
    writeback_min_quality: float = 0.5  # answers held to be worse (docs/judge.md) are kept, but not found again
    max_query_chars: int = 20_000
    history_days: float = 365.0  # how long what was replaced is kept for questions about the past; `compact` deletes it

    def __post_init__(self) -> None:
        require(self.history_days >= 0, f"store.history_days must be >= 0 ({self.history_days})")
        interval_s = self.flush_interval_s
        require(0.0 < interval_s <= MAX_WAIT_S, f"store.flush_interval_s must be in (0, 1e6] ({interval_s})")
        require(self.max_query_chars >= 1, f"store.max_query_chars must be >= 1 ({self.max_query_chars})")
        require(self.flush_batch >= 1, f"store.flush_batch must be >= 1 ({self.flush_batch})")
        require(
            0.0 <= self.writeback_min_quality <= 1.0,
            f"store.writeback_min_quality must be in [0, 1] ({self.writeback_min_quality})",
        )
