"""From a model's name to its engine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ruvllm import models
from ruvllm.config import GenerationConfig, ModelsConfig
from ruvllm.errors import ModelMissing
from ruvllm.inference.ctranslate2_engine import CTranslate2Engine
from ruvllm.inference.engine import Engine
from ruvllm.inference.remote import RemoteEngine
from ruvllm.inference.runtime_engine import RuntimeEngine

__all__ = ["find_or_pull", "is_remote", "may_pull", "open_engine", "window_tokens"]

WINDOW_TOKENS = 4096  # prompt and answer together, where the model holds as much and the configuration asks no more


def open_engine(model: str, generation: GenerationConfig, config: ModelsConfig) -> Engine:
    """Return the engine for `model`: "http(s)://host/v1#name", a catalogue name, or a model directory.

    Local weights are loaded here. A model that is not in the cache is fetched first where `config` allows it.

    Raises:
        ValueError: `model` looks like a URL but names no model.
        ModelMissing, ModelDamaged, ModelUnsupported: see `models.find` and the engine's class.
        PullError: fetching failed.
    """
    if is_remote(model):
        return RemoteEngine(
            model,
            timeout_s=generation.timeout_s,
            context_tokens=window_tokens(generation),
            api_key=generation.api_key,
        )
    model_dir, window = find_or_pull(model, config, task="generate"), window_tokens(generation)
    if generation.engine == "ctranslate2":
        return CTranslate2Engine(model_dir, num_threads=generation.num_threads, context_tokens=window)
    return RuntimeEngine(model_dir, num_threads=generation.num_threads, context_tokens=window, kv=generation.kv)


def is_remote(model: str) -> bool:
    """Return whether `model` names an endpoint and not files."""
    return model.startswith(("http://", "https://"))


def window_tokens(generation: GenerationConfig) -> int:
    """Return what prompt and answer together may hold, where the model can."""
    return max(WINDOW_TOKENS, generation.context_tokens + generation.max_new_tokens)


def may_pull(model: str, config: ModelsConfig) -> bool:
    """Return whether `model` is known to the catalogue and may be fetched when it is missing."""
    return not config.offline and config.auto_pull and model.partition("@")[0] in models.catalogue()


def find_or_pull(model: str, config: ModelsConfig, *, task: Literal["generate", "embed"]) -> Path:
    """Return the model's directory, fetched at first use unless `config` forbids it.

    Raises:
        ModelMissing: not in the cache, and not to be fetched.
        ModelDamaged, ModelUnsupported: see `models.find`.
        PullError: fetching failed.
    """
    try:
        return models.find(model, config, task=task)
    except ModelMissing:
        if not may_pull(model, config):
            raise
    name, _, quantization = model.partition("@")
    models.pull(name, config, quantization=quantization or "int8")
    return models.find(model, config, task=task)
