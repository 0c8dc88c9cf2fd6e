"""What a GGUF file may say, and what it must not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gguf as gguf_package
import pytest

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.models.convert import convert
from ruvllm.models.convert.checkpoint import Lfm2Shape
from ruvllm.models.convert.gguf_file import GgufFile, gguf_checkpoint

from .. import tiny, tiny_lfm2


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


@pytest.mark.parametrize(
    "extra",
    [
        {"llama.attention.head_count": float("inf")},
        {"llama.context_length": [1.5]},
        {"llama.attention.head_count_kv": 2**31},
        {"tokenizer.ggml.token_type": 3},
        {"tokenizer.ggml.unknown_token_id": [1, 2]},
    ],
)
def test_value_of_another_kind_is_damaged(tmp_path: Path, extra: dict[str, Any]) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelDamaged, match=r"tiny\.gguf holds something of the wrong kind"):
        convert(gguf(tmp_path, extra=extra), tmp_path / "out", model="tiny")


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
    with pytest.raises(ModelUnsupported, match="architecture 'gemma3' is not one of llama, qwen2, lfm2"):
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


def lfm2(tmp_path: Path, **options: Any) -> Path:
    return tiny_lfm2.write_lfm2_gguf(tmp_path / "tiny.gguf", **options)


def test_kv_head_counts_say_which_layers_attend(tmp_path: Path) -> None:
    shape = gguf_checkpoint(lfm2(tmp_path), model="tiny").shape
    assert isinstance(shape, Lfm2Shape)
    assert shape.layer_types == ("conv", "full_attention", "conv") and shape.num_kv_heads == 2
    assert (shape.ffn_size, shape.conv_width, shape.context_tokens) == (96, 3, 32_768)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"lfm2.attention.head_count_kv": 2}, "head_count_kv is 2"),
        ({"lfm2.attention.head_count_kv": [0, 2]}, r"head_count_kv is \[0, 2\]"),
        ({"lfm2.attention.head_count_kv": [1, 2, 0]}, r"head_count_kv is \[1, 2, 0\]"),
        ({"lfm2.attention.head_count": 3}, r"lfm2\.attention\.head_count is 3"),
        ({"lfm2.vocab_size": 300}, r"token_embd\.weight has shape \(288, 64\), the configuration promises \(300, 64\)"),
        ({"lfm2.shortconv.l_cache": 4}, r"shortconv\.conv\.weight has shape \(64, 3\)"),
        ({"lfm2.feed_forward_length": 128}, r"ffn_gate\.weight has shape \(96, 64\)"),
    ],
)
def test_lfm2_metadata_that_cannot_be_true_is_named(tmp_path: Path, extra: dict[str, Any], message: str) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelDamaged, match=message):
        convert(lfm2(tmp_path, extra=extra), tmp_path / "out", model="tiny")


@pytest.mark.parametrize(
    "key", ["lfm2.attention.head_count_kv", "lfm2.shortconv.l_cache", "lfm2.context_length", "token_embd.weight"]
)
def test_missing_lfm2_metadata_or_embedding_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(ModelDamaged, match=re.escape(key)):
        gguf_checkpoint(lfm2(tmp_path, without=(key,)), model="tiny")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"lfm2.attention.causal": False}, r"lfm2\.attention\.causal is False"),
        ({"lfm2.attention.sliding_window": 512}, r"lfm2\.attention\.sliding_window is 512"),
        ({"lfm2.rope.dimension_count": 8}, r"lfm2\.rope\.dimension_count is not the heads' 16"),
        ({"lfm2.rope.scaling.type": "yarn"}, r"lfm2\.rope\.scaling\.type is 'yarn'"),
    ],
)
def test_lfm2_option_without_a_counterpart_is_unsupported(tmp_path: Path, extra: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelUnsupported, match=message):
        gguf_checkpoint(lfm2(tmp_path, extra=extra), model="tiny")


def test_mixture_of_experts_is_unsupported(tmp_path: Path) -> None:
    path = tiny_lfm2.write_gguf(tmp_path / "x.gguf", "lfm2moe", tiny_lfm2.gguf_fields(tiny_lfm2.Size()), ())
    with pytest.raises(ModelUnsupported, match=r"'lfm2moe' .* mixtures of experts"):
        gguf_checkpoint(path, model="tiny")


def test_damaged_scale_of_int4_codes_is_noticed(tmp_path: Path) -> None:
    path = lfm2(tmp_path, quantization="Q4_0")
    tensor = next(t for t in gguf_package.GGUFReader(path).tensors if t.name == "blk.0.ffn_up.weight")
    content = bytearray(path.read_bytes())
    content[tensor.data_offset : tensor.data_offset + 2] = b"\xff\xff"  # a float16 NaN
    path.write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelDamaged, match=r"tensor blk\.0\.ffn_up\.weight holds a NaN"):
        convert(path, tmp_path / "out", model="tiny", quantization="int4")
