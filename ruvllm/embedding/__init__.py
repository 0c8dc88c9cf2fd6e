"""Texts to unit vectors, and those to fewer dimensions."""

from ruvllm.embedding.embedder import open_embedder
from ruvllm.embedding.projection import MIN_PCA_TEXTS, Projection, choose_projection, fit_pca, gaussian, identity
from ruvllm.embedding.sentence_encoder import SentenceEncoder

__all__ = [
    "MIN_PCA_TEXTS",
    "Projection",
    "SentenceEncoder",
    "choose_projection",
    "fit_pca",
    "gaussian",
    "identity",
    "open_embedder",
]
