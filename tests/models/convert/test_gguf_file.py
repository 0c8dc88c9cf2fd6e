"""What a GGUF file may say, and what it must not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.models.convert import convert
from ruvllm.models.convert.gguf_file import GgufFile, gguf_checkpoint

from .. import tiny


def gguf(tmp_path: Path, kind: str = "llama", **options: Any) -> Path:
    return tiny.write_gguf(tmp_path / "tiny.gguf", tiny.decoder_weights(kind), kind, **options)


def test_metadata_becomes_the_shape(tmp_path: Path) -> None:
    shape = gguf_checkpoint(gguf(tmp_path), model="tiny").shape
    assert (shape.num_layers, shape.num_heads, shape.num_kv_heads, shape.head_dim) == (2, 4, 2, 16)  # type: ignore[union-attr]
    assert shape.rope_theta == tiny.THETA  # type: ignore[union-attr]


def test_truncation_anywhere_is_noticed(tmp_path: Path) -> None:
    whole = gguf(tmp_path).read_bytes()
    cut = tmp_path / "cut.gguf"
    for length in [0, 3, 4, 8, 20, 23, 24, *range(100, len(whole), len(whole) // 40), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(ModelDamaged, match=r"cut\.gguf"):
            GgufFile(cut, model="tiny")


def test_another_format_is_not_gguf(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ModelDamaged, match="no GGUF file"):
        GgufFile(tmp_path / "x.gguf", model="tiny")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"llama.rope.scaling.type": "yarn"}, "RoPE scaling 'yarn'"),
        ({"llama.expert_count": 8}, "mixtures of experts"),
        ({"llama.rope.dimension_count": 8}, "partial RoPE"),
        ({"llama.attention.value_length": 8}, "value_length"),
        ({"llama.attention.head_count_kv": [2, 0]}, r"llama\.attention\.head_count_kv is \[2, 0\]"),
        ({"tokenizer.ggml.pre": "mystery"}, "pre-tokenizer 'mystery'"),
        ({"tokenizer.ggml.model": "llama"}, "tokenizer 'llama'"),
    ],
)
def test_option_without_a_counterpart_is_unsupported(tmp_path: Path, extra: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelUnsupported, match=message):
        gguf_checkpoint(gguf(tmp_path, extra=extra), model="tiny")


def test_another_architecture_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupported, match="architecture 'gemma3' is not one of llama, qwen2"):
        gguf_checkpoint(tiny.write_gguf(tmp_path / "x.gguf", tiny.decoder_weights(), "gemma3"), model="tiny")


@pytest.mark.parametrize(
    "key",
    [
        "llama.block_count",
        "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.merges",
        "token_embd.weight",
    ],
)
def test_missing_metadata_or_embedding_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(ModelDamaged, match=key.replace(".", r"\.")):
        gguf_checkpoint(gguf(tmp_path, without=(key,)), model="tiny")


def test_missing_tensor_is_named(tmp_path: Path) -> None:
    path = gguf(tmp_path, without=("blk.1.ffn_up.weight",))
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelDamaged, match=r"tensor blk\.1\.ffn_up\.weight is missing"):
        convert(path, tmp_path / "out", model="tiny")


def test_metadata_that_contradicts_a_tensor_names_it(tmp_path: Path) -> None:
    path = gguf(tmp_path, extra={"llama.feed_forward_length": 128})
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelDamaged, match=r"blk\.0\.ffn_gate\.weight has shape \(96, 64\)"):
        convert(path, tmp_path / "out", model="tiny")
