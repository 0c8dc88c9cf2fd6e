"""A brain over a tiny real encoder and a reader behind a real HTTP server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from models import tiny

import ruvllm
from ruvllm import models
from ruvllm.config import Config, ModelsConfig, load_config

from .parts import TEXTS, Configure, Serve


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model cache with "tiny-bert", a real encoder of a few kilobytes."""
    folder = tmp_path_factory.mktemp("tiny")
    source = tiny.write_encoder_folder(folder / "tiny-bert", tiny.encoder_weights(), tiny.encoder_config())
    models.pull(f"path:{source}", ModelsConfig(cache_dir=str(folder / "cache"), offline=True))
    return folder / "cache"


@pytest.fixture
def cache(tmp_path: Path, tiny_cache: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(tiny_cache, tmp_path / "cache"))


@pytest.fixture
def configure(cache: Path, serve: Serve) -> Configure:
    """Return the configuration over the tiny encoder and a reader behind HTTP; other settings as section__field."""

    def configuration(**settings: object) -> Config:
        tree: dict[str, dict[str, object]] = {
            "models": {"cache_dir": str(cache), "offline": True},
            "embedding": {"model": "tiny-bert", "dim": tiny.HIDDEN},
            "generation": {"timeout_s": 5.0},
        }
        for name, value in settings.items():
            section, _, field = name.partition("__")
            tree.setdefault(section, {})[field] = value
        if "model" not in tree["generation"]:
            tree["generation"]["model"] = serve("ok").location
        return load_config(environment={}, overrides=tree)

    return configuration


@pytest.fixture
def brain(tmp_path: Path, configure: Configure) -> Path:
    """A brain that knows TEXTS."""
    with ruvllm.open(tmp_path / "brain", config=configure()) as llm:
        assert llm.ingest(TEXTS).added == 3
    return tmp_path / "brain"
