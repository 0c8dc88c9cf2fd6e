"""The memory that links itself: what linking costs at ingest, and what the parts of a search over the graph cost."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from ruvllm.attention import AttentionEngine
from ruvllm.config import load_config
from ruvllm.memory import Memory

from .ingest import RandomEmbedder

SMALL = bool(os.environ.get("RUVLLM_BENCH_SMALL"))
SYLLABLES = "bar del fin gor hal kem lor mun nar pol rus tam vel wis yor zan".split()


def name(i: int) -> str:
    """Return a two-word name, another for every number below 65 536."""
    parts = [SYLLABLES[i >> shift & 15] for shift in (0, 4, 8, 12)]
    return f"{(parts[0] + parts[1]).capitalize()} {(parts[2] + parts[3]).capitalize()}"


def people(n: int, seed: int = 0) -> list[dict[str, str]]:
    """Return `n` documents about people who know four others each, by name."""
    known = np.random.default_rng(seed).integers(0, n, (n, 4))
    return [
        {"title": name(i), "text": f"{name(i)} is number {i}. " + " ".join(f"Friend of {name(j)}." for j in row)}
        for i, row in enumerate(known.tolist())
    ]


class LinkedIngest:
    """2 000 one-chunk documents with names, with and without linking by names."""

    param_names = ("links",)
    params = ([True, False],)
    number = 1
    repeat = (3, 5, 60.0)

    def setup(self, links: bool) -> None:
        section = {"names": links, "shared_names": links, "same_topic": 0.75 if links else 1.0}
        config = load_config(environment={}, overrides={"linking": section})
        self.memory = Memory(Path(tempfile.mkdtemp()), embedder=RandomEmbedder(), config=config)
        self.documents = people(2000)

    def teardown(self, links: bool) -> None:
        self.memory.close()

    def time_ingest_2000_documents(self, links: bool) -> None:
        self.memory.ingest(self.documents)


class GraphSearch:
    """One question that names a person, over many people: the whole search without embedding, and its last part."""

    def setup_cache(self) -> str:
        folder = tempfile.mkdtemp()
        with Memory(folder, embedder=RandomEmbedder()) as memory:
            memory.ingest(people(5_000 if SMALL else 20_000))
        return folder

    def setup(self, folder: str) -> None:
        self.memory = Memory(folder, embedder=RandomEmbedder())
        self.question = f"Who is a friend of {name(77)}?"
        self.vector = self.memory.encode([self.question])[0]
        self.engine = AttentionEngine()
        found = self.memory.candidates(self.question, query_vector=self.vector)
        if found is None:
            raise RuntimeError("nothing was found")
        self.inputs = found[1]

    def teardown(self, folder: str) -> None:
        self.memory.close()

    def time_search(self, folder: str) -> None:
        self.memory.search(self.question, 10, query_vector=self.vector)

    def time_open_and_first_search(self, folder: str) -> None:
        with Memory(folder, embedder=RandomEmbedder(), read_only=True) as memory:
            memory.search(self.question, 10, query_vector=self.vector)

    def time_attention(self, folder: str) -> None:
        self.engine.kernel.forward(*self.inputs.arrays())
