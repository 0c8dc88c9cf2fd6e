"""A private model cache and tiny sources to pull from."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from ruvllm.config import ModelsConfig

from . import tiny


@pytest.fixture
def config(tmp_path: Path) -> ModelsConfig:
    """A cache of this test's own."""
    return ModelsConfig(cache_dir=str(tmp_path / "cache"))


@pytest.fixture
def tiny_gguf(tmp_path: Path) -> Path:
    """A .gguf file that converts in milliseconds."""
    return tiny.write_gguf(tmp_path / "Tiny Llama.gguf", tiny.decoder_weights())


@pytest.fixture
def tiny_encoder(tmp_path: Path) -> Path:
    """A sentence-transformers folder that converts in milliseconds."""
    return tiny.write_encoder_folder(tmp_path / "tiny-bert", tiny.encoder_weights(), tiny.encoder_config())


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that a real pip takes for its only package index."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("this Python has no pip")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "index"
