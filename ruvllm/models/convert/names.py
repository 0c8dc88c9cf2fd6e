"""The names of a model's tensors: ours, Hugging Face's and GGUF's, one row a tensor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["gguf_decoder_names", "gguf_lfm2_names", "hf_decoder_names", "hf_encoder_names", "hf_lfm2_names"]

_HF, _GGUF = 1, 2  # columns of the tables; {i} is the layer
_Rows = Iterable[tuple[str, str, str]]

_DECODER = (
    ("embeddings", "model.embed_tokens.weight", "token_embd.weight"),
    ("output_norm", "model.norm.weight", "output_norm.weight"),
    ("head", "lm_head.weight", "output.weight"),
)
_DECODER_LAYER = (
    ("{i}.attention_norm", "model.layers.{i}.input_layernorm.weight", "blk.{i}.attn_norm.weight"),
    ("{i}.q.weight", "model.layers.{i}.self_attn.q_proj.weight", "blk.{i}.attn_q.weight"),
    ("{i}.k.weight", "model.layers.{i}.self_attn.k_proj.weight", "blk.{i}.attn_k.weight"),
    ("{i}.v.weight", "model.layers.{i}.self_attn.v_proj.weight", "blk.{i}.attn_v.weight"),
    ("{i}.q.bias", "model.layers.{i}.self_attn.q_proj.bias", "blk.{i}.attn_q.bias"),
    ("{i}.k.bias", "model.layers.{i}.self_attn.k_proj.bias", "blk.{i}.attn_k.bias"),
    ("{i}.v.bias", "model.layers.{i}.self_attn.v_proj.bias", "blk.{i}.attn_v.bias"),
    ("{i}.out.weight", "model.layers.{i}.self_attn.o_proj.weight", "blk.{i}.attn_output.weight"),
    ("{i}.out.bias", "model.layers.{i}.self_attn.o_proj.bias", "blk.{i}.attn_output.bias"),
    ("{i}.ffn_norm", "model.layers.{i}.post_attention_layernorm.weight", "blk.{i}.ffn_norm.weight"),
    ("{i}.gate.weight", "model.layers.{i}.mlp.gate_proj.weight", "blk.{i}.ffn_gate.weight"),
    ("{i}.up.weight", "model.layers.{i}.mlp.up_proj.weight", "blk.{i}.ffn_up.weight"),
    ("{i}.down.weight", "model.layers.{i}.mlp.down_proj.weight", "blk.{i}.ffn_down.weight"),
)
_LFM2 = (
    ("embeddings", "model.embed_tokens.weight", "token_embd.weight"),
    ("output_norm", "model.embedding_norm.weight", "token_embd_norm.weight"),  # the final norm, despite its names
    ("head", "lm_head.weight", "output.weight"),
)
_LFM2_LAYER = (
    ("{i}.operator_norm", "model.layers.{i}.operator_norm.weight", "blk.{i}.attn_norm.weight"),
    ("{i}.ffn_norm", "model.layers.{i}.ffn_norm.weight", "blk.{i}.ffn_norm.weight"),
    ("{i}.w1.weight", "model.layers.{i}.feed_forward.w1.weight", "blk.{i}.ffn_gate.weight"),
    ("{i}.w2.weight", "model.layers.{i}.feed_forward.w2.weight", "blk.{i}.ffn_down.weight"),
    ("{i}.w3.weight", "model.layers.{i}.feed_forward.w3.weight", "blk.{i}.ffn_up.weight"),
)
_LFM2_ATTENTION = (
    ("{i}.q.weight", "model.layers.{i}.self_attn.q_proj.weight", "blk.{i}.attn_q.weight"),
    ("{i}.k.weight", "model.layers.{i}.self_attn.k_proj.weight", "blk.{i}.attn_k.weight"),
    ("{i}.v.weight", "model.layers.{i}.self_attn.v_proj.weight", "blk.{i}.attn_v.weight"),
    ("{i}.out.weight", "model.layers.{i}.self_attn.out_proj.weight", "blk.{i}.attn_output.weight"),
    ("{i}.q_norm", "model.layers.{i}.self_attn.q_layernorm.weight", "blk.{i}.attn_q_norm.weight"),
    ("{i}.k_norm", "model.layers.{i}.self_attn.k_layernorm.weight", "blk.{i}.attn_k_norm.weight"),
)
_LFM2_CONV = (
    ("{i}.in_proj.weight", "model.layers.{i}.conv.in_proj.weight", "blk.{i}.shortconv.in_proj.weight"),
    ("{i}.in_proj.bias", "model.layers.{i}.conv.in_proj.bias", "blk.{i}.shortconv.in_proj.bias"),
    ("{i}.conv.weight", "model.layers.{i}.conv.conv.weight", "blk.{i}.shortconv.conv.weight"),
    ("{i}.conv.bias", "model.layers.{i}.conv.conv.bias", "blk.{i}.shortconv.conv.bias"),
    ("{i}.out_proj.weight", "model.layers.{i}.conv.out_proj.weight", "blk.{i}.shortconv.out_proj.weight"),
    ("{i}.out_proj.bias", "model.layers.{i}.conv.out_proj.bias", "blk.{i}.shortconv.out_proj.bias"),
)
_ENCODER = (
    ("words", "embeddings.word_embeddings.weight"),
    ("token_types", "embeddings.token_type_embeddings.weight"),
    ("positions", "embeddings.position_embeddings.weight"),
    ("embeddings_norm.weight", "embeddings.LayerNorm.weight"),
    ("embeddings_norm.bias", "embeddings.LayerNorm.bias"),
)
_ENCODER_LAYER = (
    ("{i}.q", "encoder.layer.{i}.attention.self.query"),
    ("{i}.k", "encoder.layer.{i}.attention.self.key"),
    ("{i}.v", "encoder.layer.{i}.attention.self.value"),
    ("{i}.out", "encoder.layer.{i}.attention.output.dense"),
    ("{i}.attention_norm", "encoder.layer.{i}.attention.output.LayerNorm"),
    ("{i}.up", "encoder.layer.{i}.intermediate.dense"),
    ("{i}.down", "encoder.layer.{i}.output.dense"),
    ("{i}.ffn_norm", "encoder.layer.{i}.output.LayerNorm"),
)


def hf_decoder_names(num_layers: int) -> dict[str, str]:
    """Return our name -> Hugging Face name of a Llama-like decoder's tensors."""
    return _names(_DECODER, [_DECODER_LAYER] * num_layers, _HF)


def gguf_decoder_names(num_layers: int) -> dict[str, str]:
    """Return our name -> GGUF name of a Llama-like decoder's tensors."""
    return _names(_DECODER, [_DECODER_LAYER] * num_layers, _GGUF)


def hf_lfm2_names(layer_types: Sequence[str], prefix: str = "model.") -> dict[str, str]:
    """Return our name -> Hugging Face name of an LFM2 model's tensors; `prefix` is "" for a model without a head."""
    names = _names(_LFM2, _lfm2_layers(layer_types), _HF)
    return {
        ours: prefix + theirs.removeprefix("model.") if ours != "head" else theirs for ours, theirs in names.items()
    }


def gguf_lfm2_names(layer_types: Sequence[str]) -> dict[str, str]:
    """Return our name -> GGUF name of an LFM2 model's tensors."""
    return _names(_LFM2, _lfm2_layers(layer_types), _GGUF)


def hf_encoder_names(num_layers: int, prefix: str = "") -> dict[str, str]:
    """Return our name -> Hugging Face name of a BERT-like encoder's tensors; `prefix` is "bert." under a head."""
    names = {ours: prefix + theirs for ours, theirs in _ENCODER}
    for i in range(num_layers):
        for ours, theirs in _ENCODER_LAYER:
            for part in ("weight", "bias"):
                names[f"{ours.format(i=i)}.{part}"] = f"{prefix}{theirs.format(i=i)}.{part}"
    return names


def _names(model: _Rows, layers: Sequence[_Rows], column: int) -> dict[str, str]:
    names = {row[0]: row[column] for row in model}
    for i, rows in enumerate(layers):
        names |= {row[0].format(i=i): row[column].format(i=i) for row in rows}
    return names


def _lfm2_layers(layer_types: Sequence[str]) -> list[_Rows]:
    return [(*_LFM2_LAYER, *(_LFM2_CONV if kind == "conv" else _LFM2_ATTENTION)) for kind in layer_types]
