"""The real MiniLM, loaded once for this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from ruvllm.config import EmbeddingConfig, ModelsConfig
from ruvllm.embedding import SentenceEncoder, open_embedder


@pytest.fixture(scope="session")
def embedder(minilm_dir: Path, models_config: ModelsConfig) -> SentenceEncoder:
    """The default embedder on one thread."""
    return open_embedder(EmbeddingConfig(model=str(minilm_dir), num_threads=1), models_config)
