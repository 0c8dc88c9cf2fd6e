"""The shapes of LFM2 models for tests, tiny and released; their files come from `ruvllm.bench.random_model`."""

from __future__ import annotations

from ruvllm.bench.random_model import (
    ATTENTION,
    CONV,
    LFM2_350M,
    TEMPLATE,
    TOKENS,
    Size,
    config,
    gguf_fields,
    gguf_name,
    layers,
    shapes,
    tokenizer,
    write_gguf,
    write_lfm2_folder,
    write_lfm2_gguf,
)
from ruvllm.bench.random_model import random_weights as weights

__all__ = [
    "ATTENTION",
    "CONV",
    "LFM2_1_2B",
    "LFM2_2_6B",
    "LFM2_350M",
    "LFM2_700M",
    "TEMPLATE",
    "TOKENS",
    "Size",
    "config",
    "gguf_fields",
    "gguf_name",
    "shapes",
    "tokenizer",
    "weights",
    "write_gguf",
    "write_lfm2_folder",
    "write_lfm2_gguf",
]

LFM2_700M = Size(LFM2_350M.layer_types, hidden=1536, ffn=6912, heads=24, kv_heads=8, head_dim=64, vocab=65536)
LFM2_1_2B = Size(LFM2_350M.layer_types, hidden=2048, ffn=8192, heads=32, kv_heads=8, head_dim=64, vocab=65536)
LFM2_2_6B = Size(
    layers(30, 2, 5, 9, 13, 17, 21, 24, 27), hidden=2048, ffn=10752, heads=32, kv_heads=8, head_dim=64, vocab=65536
)
