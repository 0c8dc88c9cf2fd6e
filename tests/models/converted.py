"""Random models as the directories that `pull` makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ruvllm.config import ModelsConfig
from ruvllm.models import pull

from . import tiny, tiny_lfm2

CHATML = tiny_lfm2.TEMPLATE.replace("{{ bos_token }}", "")


def lfm2(
    folder: Path,
    size: tiny_lfm2.Size | None = None,
    *,
    seed: int = 0,
    quantization: str = "float32",
    ascii_only: bool = False,
) -> Path:
    """An LFM2 of any shape; `ascii_only` keeps it from saying bytes that are no text, and from ending."""
    source = tiny_lfm2.write_lfm2_folder(folder / "tiny-lfm2", size or tiny_lfm2.Size(), seed=seed)
    if ascii_only:
        quieten(source / "model.safetensors", "model.embed_tokens.weight", tiny_lfm2.TOKENS)
    return _pulled(source, quantization)


def decoder(
    folder: Path,
    kind: str = "llama",
    *,
    tied: bool = True,
    seed: int = 0,
    quantization: str = "float32",
    ascii_only: bool = False,
) -> Path:
    """A Llama-like decoder: "llama", or "qwen2" with its biases."""
    weights, config = tiny.decoder_weights(kind, tied=tied, seed=seed), tiny.decoder_config(kind, tied=tied)
    source = tiny.write_decoder_folder(folder / f"tiny-{kind}", weights, config)
    settings = json.loads((source / "tokenizer_config.json").read_text())
    (source / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": CHATML}))
    if ascii_only:
        quieten(source / "model.safetensors", "model.embed_tokens.weight", tiny.TOKENS)
    return _pulled(source, quantization)


def encoder(folder: Path, *, seed: int = 0, quantization: str = "float32") -> Path:
    """A BERT-like encoder."""
    source = tiny.write_encoder_folder(folder / "tiny-bert", tiny.encoder_weights(seed), tiny.encoder_config())
    return _pulled(source, quantization)


def quieten(safetensors: Path, name: str, tokens: list[str]) -> None:
    """Make the rows of all tokens that are not plain ASCII so small that others are always likelier."""
    raw = safetensors.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    entry = json.loads(raw[8:start])[name]
    stored = np.memmap(safetensors, np.float32, "r+", start + entry["data_offsets"][0], tuple(entry["shape"]))
    is_plain = np.zeros(len(stored), bool)
    is_plain[: len(tokens)] = [token.isascii() and not token.startswith("<|") for token in tokens]
    stored[~is_plain] *= 0.02
    stored.flush()


def _pulled(source: Path, quantization: str) -> Path:
    config = ModelsConfig(cache_dir=str(source.parent / "cache"), offline=True)
    return pull(f"path:{source}", config, quantization=quantization)
