"""What config.json of an LFM2 model may say, in both spellings, and what it must not."""

from __future__ import annotations

from typing import Any

import pytest

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.models.convert.checkpoint import Lfm2Shape
from ruvllm.models.convert.lfm2_config import is_tied, lfm2_shape

from .. import tiny_lfm2
from ..tiny_lfm2 import ATTENTION, CONV, Size

SIZE = Size((CONV, ATTENTION, CONV), width=4, conv_bias=True, theta=5e5, eps=1e-6)


def shape(spelling: str = "new", **changes: Any) -> Lfm2Shape:
    config = tiny_lfm2.config(SIZE, spelling) | changes
    return lfm2_shape({key: value for key, value in config.items() if value != "absent"}, "tiny")


@pytest.mark.parametrize("spelling", ["old", "new"])
def test_both_spellings_say_the_same(spelling: str) -> None:
    assert shape(spelling) == Lfm2Shape(
        layer_types=("conv", "full_attention", "conv"),
        hidden_size=64,
        ffn_size=96,
        num_heads=4,
        num_kv_heads=2,
        head_dim=16,
        conv_width=4,
        has_conv_bias=True,
        vocab_size=288,
        context_tokens=32_768,
        norm_eps=1e-6,
        rope_theta=5e5,
    )


@pytest.mark.parametrize(
    ("stated", "adjust", "width"),
    [(6656, True, 4608), (10240, True, 6912), (12288, True, 8192), (10752, False, 10752)],
    ids=["350M", "700M", "1.2B", "2.6B"],
)
@pytest.mark.parametrize("key", ["block_ff_dim", "intermediate_size"])
def test_feed_forward_width_follows_the_rule(key: str, stated: int, adjust: bool, width: int) -> None:
    adjusted = {"block_auto_adjust_ff_dim": adjust, "block_multiple_of": 256, "block_ffn_dim_multiplier": 1.0}
    assert shape(**{"intermediate_size": "absent"} | {key: stated} | adjusted).ffn_size == width


def test_older_width_wins_and_is_adjusted_unless_told_otherwise() -> None:
    widths = {"block_ff_dim": 6656, "intermediate_size": 1, "block_auto_adjust_ff_dim": "absent"}
    assert shape(**widths).ffn_size == 4608


@pytest.mark.parametrize(("stated", "context"), [(128_000, 32_768), (131_072, 131_072), (4096, 4096)])
def test_context_is_the_trained_one(stated: int, context: int) -> None:
    assert shape(max_position_embeddings=stated).context_tokens == context


@pytest.mark.parametrize(
    ("config", "tied"),
    [({}, True), ({"tie_embedding": False}, False), ({"tie_word_embeddings": False}, False)],
)
def test_head_is_tied_unless_told_otherwise(config: dict[str, Any], tied: bool) -> None:
    assert is_tied(config) is tied


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 4}, "layer_types in config.json does not name 4 layers"),
        ({"layer_types": None}, "neither layer_types nor full_attn_idxs"),
        ({"layer_types": "conv"}, "layer_types in config.json does not name 3 layers"),
        ({"full_attn_idxs": [0]}, "layer_types and full_attn_idxs in config.json disagree"),
        ({"full_attn_idxs": [3]}, r"full_attn_idxs in config.json is \[3\]"),
        ({"num_attention_heads": 3}, "num_attention_heads 3 does not divide hidden_size"),
        ({"num_key_value_heads": 3}, "num_key_value_heads 3 does not divide num_attention_heads"),
        ({"conv_L_cache": 0}, "conv_L_cache in config.json is 0"),
        ({"conv_L_cache": None}, "conv_L_cache in config.json is None"),
        ({"intermediate_size": "absent"}, "intermediate_size in config.json is None"),
        ({"norm_eps": -1.0}, r"norm_eps in config.json is -1\.0"),
        ({"norm_eps": float("nan")}, "norm_eps in config.json is nan"),
        ({"rope_parameters": {"rope_theta": "1e6"}}, "rope_theta in config.json is '1e6'"),
        ({"vocab_size": True}, "vocab_size in config.json is True"),
    ],
)
def test_field_that_cannot_be_true_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelDamaged, match=message):
        shape(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer_types": [CONV, "sliding_attention", CONV]}, "layer_types holds 'sliding_attention'"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6}}, "rope_type 'yarn'"),
        ({"architectures": ["Lfm2BidirectionalModel"]}, "architectures 'Lfm2BidirectionalModel'"),
    ],
)
def test_option_without_a_counterpart_is_unsupported(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelUnsupported, match=message):
        shape(**changes)
