"""The model that a training starts from, as a Hugging Face folder in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ruvllm import models
from ruvllm.config import ModelsConfig
from ruvllm.models import PullProgress
from ruvllm.models.card import CARD_FILE

__all__ = ["base_folder"]


def base_folder(base: str, config: ModelsConfig, *, on_progress: Callable[[PullProgress], None] | None = None) -> Path:
    """Return the folder to train from: `base` itself where it is one, else a catalogue model or a .gguf file, which is
    fetched where it is missing, dequantized and kept in the cache.

    Raises:
        ValueError: `base` is neither, or is an endpoint.
        PullError, ModelDamaged, ModelUnsupported: see `models.pull`.
    """
    if "://" in base:
        raise ValueError(f"base: {base} is an endpoint; a student is trained from weights on this machine")
    path = Path(base).expanduser()
    if path.is_dir() and (path / "config.json").is_file() and any(path.glob("*.safetensors")):
        return path
    if path.is_dir() and (path / CARD_FILE).is_file():
        raise ValueError(f"base: {base} is converted for inference; train from the checkpoint that it was made from")
    spec = f"path:{path}" if path.suffix == ".gguf" and path.is_file() else base
    return models.pull(spec, config, quantization="hf", on_progress=on_progress)
