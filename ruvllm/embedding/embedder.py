"""The embedder that memory works with: an encoder and a projection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ruvllm.config import EmbeddingConfig, ModelsConfig
from ruvllm.embedding.projection import Projection, choose_projection
from ruvllm.embedding.sentence_encoder import SentenceEncoder

__all__ = ["TextEmbedder", "open_embedder"]


class TextEmbedder:
    """Text to unit vectors; implements `ruvllm.types.Embedder`. Safe to share between threads.

    `id` names encoder and projection: vectors of different ids must not be compared. `encoder_id` is the part
    that native vectors depend on.
    """

    def __init__(self, encoder: SentenceEncoder, projection: Projection) -> None:
        if projection.native_dim != encoder.dim:
            raise ValueError(f"projection takes {projection.native_dim} dimensions, the encoder gives {encoder.dim}")
        self._encoder = encoder
        self.projection = projection
        self.encoder_id = encoder.id
        self.id = f"{encoder.id}/{projection.version}"
        self.native_dim = encoder.dim
        self.dim = projection.dim
        self.max_tokens = encoder.max_tokens

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, native_dim) float32 unit vectors; see `SentenceEncoder.encode`."""
        return self._encoder.encode(texts)

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Return (n, dim) float32 unit vectors of native ones; the input itself when both are the same."""
        return self.projection.apply(vectors)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, dim) float32 unit vectors: `project(encode(texts))`."""
        return self.project(self.encode(texts))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text is, special tokens not counted."""
        return self._encoder.count_tokens(texts)

    def with_projection(self, projection: Projection) -> TextEmbedder:
        """Return an embedder with another projection that shares this one's loaded model."""
        return TextEmbedder(self._encoder, projection)

    def __repr__(self) -> str:
        return f"TextEmbedder({self.id!r}, dim={self.dim})"


def open_embedder(embedding: EmbeddingConfig, config: ModelsConfig) -> TextEmbedder:
    """Return the configured embedder; its weights load at first use.

    A smaller `embedding.dim` starts with the Gaussian projection; memory moves on to PCA of its own texts.

    Raises:
        ModelMissing, ModelDamaged, ModelUnsupported, PullError: see `find_or_pull` and `SentenceEncoder`.
        ValueError: `embedding.dim` is above the model's own.
    """
    from ruvllm.inference import find_or_pull

    encoder = SentenceEncoder(
        find_or_pull(embedding.model, config, task="embed"),
        max_tokens=embedding.max_tokens,
        batch_tokens=embedding.batch_tokens,
        num_threads=embedding.num_threads,
    )
    return TextEmbedder(encoder, choose_projection(encoder.dim, embedding.dim))
