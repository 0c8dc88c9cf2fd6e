"""Embedding with the real MiniLM: one text of growing length, batches, and how near int8 stays to float32."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np

from ruvllm.config import EmbeddingConfig, ModelsConfig
from ruvllm.embedding import SentenceEncoder, open_embedder
from ruvllm.errors import ModelMissing

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "embedding" / "data" / "minilm_golden.json"
SENTENCE = "The memory of a graph keeps what the router learnt about queries, sources and answers. "


def loaded_embedder(num_threads: int) -> SentenceEncoder:
    """Return the default embedder with its weights in memory."""
    try:
        embedder = open_embedder(EmbeddingConfig(num_threads=num_threads), ModelsConfig(offline=True))
    except ModelMissing as error:
        raise NotImplementedError from error  # asv's way to skip
    embedder.encode(["load"])
    return embedder


def text_of(chars: int) -> str:
    return (SENTENCE * (chars // len(SENTENCE) + 1))[:chars].strip()


class EmbedText:
    """One text; beyond about 1 100 characters (256 tokens) it is cut, so 2 048 costs what 256 tokens cost."""

    param_names = ("chars", "num_threads")
    params = ([32, 128, 512, 2048], [1, 2])

    def setup(self, chars: int, num_threads: int) -> None:
        self.embedder, self.texts = loaded_embedder(num_threads), [text_of(chars)]

    def time_encode(self, chars: int, num_threads: int) -> None:
        self.embedder.encode(self.texts)

    def time_count_tokens(self, chars: int, num_threads: int) -> None:
        self.embedder.count_tokens(self.texts)


class EmbedBatch:
    """64 texts around 128 tokens."""

    param_names = ("num_threads",)
    params = ([1, 2],)
    number = 1

    def setup(self, num_threads: int) -> None:
        lengths = np.clip(np.random.default_rng(0).normal(620, 60, 64), 430, 780)
        self.embedder, self.texts = loaded_embedder(num_threads), [text_of(int(n)) for n in lengths]

    def time_encode(self, num_threads: int) -> None:
        self.embedder.encode(self.texts)

    def peakmem_encode(self, num_threads: int) -> None:
        self.embedder.encode(self.texts)


class EmbedQuality:
    """Cosine to sentence-transformers in float32, over 20 stored texts."""

    unit = "cosine"

    def setup(self) -> None:
        golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
        raw = np.frombuffer(base64.b64decode(golden["float16"]), np.float16)
        self.texts, self.wanted = golden["texts"], raw.reshape(-1, golden["dim"]).astype(np.float32)
        self.embedder = loaded_embedder(1)

    def track_least_cosine(self) -> float:
        return float((self.embedder.encode(self.texts) * self.wanted).sum(axis=1).min())
