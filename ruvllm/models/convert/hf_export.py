"""The way back: any checkpoint that can be read, as a float32 Hugging Face folder, which training starts from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ruvllm.errors import ModelUnsupported
from ruvllm.models.convert.checkpoint import Checkpoint, DecoderShape, Lfm2Shape, Tensors, TextSide
from ruvllm.models.convert.names import hf_decoder_names, hf_lfm2_names

__all__ = ["write_hf_folder"]


def write_hf_folder(checkpoint: Checkpoint, target: Path) -> None:
    """Write weights, configuration, tokenizer and chat template into `target`; one tensor is in memory at a time.

    A quantized source is dequantized, so the folder holds the very weights that the source means.

    Raises:
        ModelUnsupported: the checkpoint is an encoder.
    """
    shape, tensors, text = checkpoint.shape, checkpoint.tensors, checkpoint.text
    if isinstance(shape, DecoderShape):
        names, config = hf_decoder_names(shape.num_layers), _decoder_config(shape, tensors)
    elif isinstance(shape, Lfm2Shape):
        names, config = hf_lfm2_names(shape.layer_types), _lfm2_config(shape)
    else:
        raise ModelUnsupported(f"{checkpoint.model}: encoders are not exported for training", model=checkpoint.model)
    _write_safetensors(target / "model.safetensors", tensors, names)
    ids = _token_ids(text)
    eos = [ids[token] for token in text.stop_tokens if token in ids] or None
    special = {f"{name}_token_id": ids.get(text.config.get(f"{name}_token", "")) for name in ("bos", "pad")}
    config |= {"tie_word_embeddings": not tensors.has("head"), "eos_token_id": eos, "dtype": "float32", **special}
    _write_json(target / "config.json", config)
    _write_json(target / "generation_config.json", {"eos_token_id": eos, **special, **text.generation})
    _write_json(target / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **text.config})
    (target / "tokenizer.json").write_text(text.tokenizer, encoding="utf-8")
    if checkpoint.license:  # where the readers look for it
        (target / "README.md").write_text(f"---\nlicense: {checkpoint.license}\n---\n", encoding="utf-8")


def _decoder_config(shape: DecoderShape, tensors: Tensors) -> dict[str, Any]:
    is_qwen2 = tensors.has("0.q.bias") and not tensors.has("0.out.bias")  # Llama's option biases all four projections
    return {
        "model_type": "qwen2" if is_qwen2 else "llama",
        "architectures": ["Qwen2ForCausalLM" if is_qwen2 else "LlamaForCausalLM"],
        "hidden_act": "silu",
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.ffn_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocab_size,
        "max_position_embeddings": shape.context_tokens,
        "rms_norm_eps": shape.norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        "attention_bias": tensors.has("0.out.bias"),
    }


def _lfm2_config(shape: Lfm2Shape) -> dict[str, Any]:
    return {
        "model_type": "lfm2",
        "architectures": ["Lfm2ForCausalLM"],
        "layer_types": list(shape.layer_types),
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.ffn_size,
        "block_auto_adjust_ff_dim": False,
        "num_hidden_layers": len(shape.layer_types),
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "head_dim": shape.head_dim,
        "conv_L_cache": shape.conv_width,
        "conv_bias": shape.has_conv_bias,
        "vocab_size": shape.vocab_size,
        "max_position_embeddings": shape.context_tokens,
        "norm_eps": shape.norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
    }


def _write_safetensors(path: Path, tensors: Tensors, names: Mapping[str, str]) -> None:
    """Write the format by hand: its own library wants every tensor in memory at once."""
    stored = {ours: _hf_shape(ours, tensors.shape(ours)) for ours in names if tensors.has(ours)}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for ours, shape in stored.items():
        end = offset + 4 * int(np.prod(shape))
        header[names[ours]] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin aligned
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for ours in stored:
            stream.write(np.ascontiguousarray(tensors.read(ours), "<f4").data)


def _hf_shape(ours: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that transformers gives a tensor: the taps of a convolution have a channel more than in GGUF."""
    return (shape[0], 1, shape[-1]) if ours.endswith("conv.weight") else shape


def _token_ids(text: TextSide) -> dict[str, int]:
    from tokenizers import Tokenizer

    return dict(Tokenizer.from_str(text.tokenizer).get_vocab(with_added_tokens=True))


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    kept = {name: value for name, value in values.items() if value is not None}
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
