"""Embedding by a decoder's hidden states, on a random LFM2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ruvllm.config import Config, EmbeddingConfig, ModelsConfig
from ruvllm.embedding import SentenceEncoder, open_embedder
from ruvllm.memory import Memory
from tests.models import converted, lfm2_numpy

TEXTS = ["The sled is in the shed.", "Bread.", "Terns nest on the cliffs and fish in the bay all summer long."]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted.lfm2(tmp_path_factory.mktemp("decoder"))


def opened(model_dir: Path, max_tokens: int = 256) -> SentenceEncoder:
    return open_embedder(
        EmbeddingConfig(model=str(model_dir), dim=16, max_tokens=max_tokens), ModelsConfig(offline=True)
    )


def test_vectors_are_the_unit_means_of_final_hidden_states(model_dir: Path) -> None:
    embedder = opened(model_dir)
    weights = lfm2_numpy.weights_of(model_dir / "model.bin")
    for text, vector in zip(TEXTS, embedder.encode(TEXTS), strict=True):
        ids = embedder._tokenizer.encode(text).ids
        mean = lfm2_numpy.hidden_states(weights, ids).mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=2e-5)


def test_a_batch_equals_its_texts_one_by_one(model_dir: Path) -> None:
    embedder = opened(model_dir)
    alone = np.concatenate([embedder.encode([text]) for text in TEXTS])
    np.testing.assert_array_equal(embedder.encode(TEXTS), alone)


def test_what_exceeds_max_tokens_is_not_seen(model_dir: Path) -> None:
    embedder = opened(model_dir, max_tokens=8)
    tokens = embedder._tokenizer.encode(TEXTS[2]).ids
    assert len(tokens) > 8
    shown = embedder._tokenizer.decode(tokens[:8])
    np.testing.assert_array_equal(embedder.encode([TEXTS[2]]), embedder.encode([shown + " and more"]))


def test_a_memory_searches_with_it_in_fewer_dimensions(model_dir: Path, tmp_path: Path) -> None:
    config = Config(embedding=EmbeddingConfig(model=str(model_dir), dim=16))
    with Memory(tmp_path / "brain", config=config) as memory:
        memory.ingest(TEXTS)
        assert memory.search(TEXTS[1], k=1)[0].node.text == TEXTS[1]
