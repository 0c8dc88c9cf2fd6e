"""What config.json says about an LFM2 model, in the words of older and newer checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.models.convert.checkpoint import Lfm2Shape
from ruvllm.models.convert.config_numbers import count, positive

__all__ = ["context_tokens", "is_tied", "lfm2_shape"]

_ARCHITECTURES = {"Lfm2ForCausalLM", "Lfm2Model"}
_KINDS = ("conv", "full_attention")


def lfm2_shape(config: Mapping[str, Any], model: str) -> Lfm2Shape:
    """Return the shape that config.json promises.

    Raises:
        ModelDamaged: a field is missing, no such number, or contradicts another.
        ModelUnsupported: an option that the runtime does not know.
    """
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    if rope_type != "default":
        raise ModelUnsupported(f"{model}: rope_type {rope_type!r} in config.json", model=model)
    others = sorted(set(config.get("architectures") or ()) - _ARCHITECTURES)
    if others:  # the encoders look both ways
        raise ModelUnsupported(f"{model}: architectures {others[0]!r} in config.json", model=model)
    hidden_size, num_heads = count(config, "hidden_size", model), count(config, "num_attention_heads", model)
    if config.get("head_dim") is None and hidden_size % num_heads:
        raise ModelDamaged(f"{model}: num_attention_heads {num_heads} does not divide hidden_size", model=model)
    num_kv_heads = count(config, "num_key_value_heads", model)
    if num_heads % num_kv_heads:
        raise ModelDamaged(
            f"{model}: num_key_value_heads {num_kv_heads} does not divide num_attention_heads", model=model
        )
    return Lfm2Shape(
        layer_types=_layer_types(config, model),
        hidden_size=hidden_size,
        ffn_size=_ffn_size(config, model),
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=count(config, "head_dim", model, hidden_size // num_heads),
        conv_width=count(config, "conv_L_cache", model),
        has_conv_bias=bool(config.get("conv_bias", False)),
        vocab_size=count(config, "vocab_size", model),
        context_tokens=context_tokens(count(config, "max_position_embeddings", model)),
        norm_eps=positive(config, "norm_eps", model, 1e-5),
        rope_theta=positive({"rope_theta": config.get("rope_theta")} | dict(rope), "rope_theta", model, 1e6),
    )


def is_tied(config: Mapping[str, Any]) -> bool:
    """Return whether the head is the embedding; a config that does not say means that it is."""
    return bool(config.get("tie_embedding", config.get("tie_word_embeddings", True)))


def context_tokens(stated: int) -> int:
    """Return the context that was trained: 128 000 is what files say of every model with 32 768 (lfm2 model cards)."""
    return 32_768 if stated == 128_000 else stated


def _layer_types(config: Mapping[str, Any], model: str) -> tuple[str, ...]:
    num_layers, kinds = count(config, "num_hidden_layers", model), config.get("layer_types")
    indices = config.get("full_attn_idxs")
    if kinds is None and indices is None:
        raise ModelDamaged(f"{model}: neither layer_types nor full_attn_idxs is in config.json", model=model)
    if indices is not None:
        if not isinstance(indices, list) or not set(indices) <= set(range(num_layers)):
            raise ModelDamaged(f"{model}: full_attn_idxs in config.json is {indices!r}", model=model)
        from_indices = [_KINDS[i in indices] for i in range(num_layers)]
        if kinds not in (None, from_indices):
            raise ModelDamaged(f"{model}: layer_types and full_attn_idxs in config.json disagree", model=model)
        kinds = from_indices
    if not isinstance(kinds, list) or len(kinds) != num_layers:
        raise ModelDamaged(f"{model}: layer_types in config.json does not name {num_layers} layers", model=model)
    if unknown := [kind for kind in kinds if kind not in _KINDS]:
        raise ModelUnsupported(f"{model}: layer_types holds {unknown[0]!r} in config.json", model=model)
    return tuple(kinds)


def _ffn_size(config: Mapping[str, Any], model: str) -> int:
    """Return the width of the feed-forward block: two thirds of the stated one, rounded up, unless told otherwise."""
    stated = count(config, "block_ff_dim" if "block_ff_dim" in config else "intermediate_size", model)
    if not config.get("block_auto_adjust_ff_dim", True):
        return stated
    multiple = count(config, "block_multiple_of", model, 256)
    narrowed = int(positive(config, "block_ffn_dim_multiplier", model, 1.0) * (2 * stated // 3))
    return multiple * math.ceil(narrowed / multiple)
