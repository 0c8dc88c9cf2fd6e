"""A brain that was asked about things, and a configuration whose only model is a tiny one."""

from __future__ import annotations

from pathlib import Path

import pytest
from memory.fakes import WordEmbedder

from ruvllm.config import Config

from .asked_brain import asked_brain, configured


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configured(tmp_path, epochs=0.5)


@pytest.fixture
def brain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("ruvllm.embedding.open_embedder", lambda *given: WordEmbedder())
    return asked_brain(tmp_path / "brain")
