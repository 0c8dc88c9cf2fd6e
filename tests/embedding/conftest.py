"""The real MiniLM, loaded once for this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from ruvllm.config import EmbeddingConfig, ModelsConfig
from ruvllm.embedding import SentenceEncoder, open_embedder
from ruvllm.errors import ModelMissing


@pytest.fixture(scope="session")
def embedder(minilm_dir: Path, models_config: ModelsConfig) -> SentenceEncoder:
    """The default embedder on one thread."""
    return open_embedder(EmbeddingConfig(model=str(minilm_dir), num_threads=1), models_config)


@pytest.fixture(scope="session")
def exact_embedder(models_config: ModelsConfig) -> SentenceEncoder:
    """The same model in float32."""
    try:
        return open_embedder(EmbeddingConfig(model="minilm-l6@float32"), models_config)
    except ModelMissing:
        pytest.skip("run `ruvllm pull minilm-l6 --quantization float32` for this")
