"""Opening the configured embedder."""

from __future__ import annotations

from ruvllm.config import EmbeddingConfig, ModelsConfig
from ruvllm.embedding.projection import require_dim
from ruvllm.embedding.sentence_encoder import SentenceEncoder

__all__ = ["open_embedder"]


def open_embedder(embedding: EmbeddingConfig, config: ModelsConfig) -> SentenceEncoder:
    """Return the configured embedder; its weights load at first use.

    It gives the model's own dimension; memory brings vectors to a smaller `embedding.dim`.

    Raises:
        ModelMissing, ModelDamaged, ModelUnsupported, PullError: see `find_or_pull` and `SentenceEncoder`.
        ValueError: `embedding.dim` is above the model's own.
    """
    from ruvllm.inference import find_or_pull

    encoder = SentenceEncoder(
        find_or_pull(embedding.model, config, task="embed"),
        max_tokens=embedding.max_tokens,
        num_threads=embedding.num_threads,
    )
    require_dim(encoder.native_dim, embedding.dim)
    return encoder
