"""Folders and files outside any brain."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from ruvllm.config.reading import ModelsConfig

__all__ = ["cache_dir", "signing_key_file"]


def cache_dir(models: ModelsConfig) -> Path:
    """Return the folder that holds pulled models (not created here)."""
    configured = models.cache_dir or os.environ.get("RUVLLM_CACHE", "")
    return Path(configured).expanduser() if configured else Path(platformdirs.user_cache_dir("ruvllm"))


def signing_key_file() -> Path:
    """Return the file of the key that signs which models were promoted, outside any brain (not created here)."""
    configured = os.environ.get("RUVLLM_SIGNING_KEY", "")
    return Path(configured).expanduser() if configured else Path(platformdirs.user_config_dir("ruvllm")) / "signing.key"
