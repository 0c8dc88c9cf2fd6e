"""Random LFM2 models of any shape as files, for speed and tests: Hugging Face folders and GGUF.

Tokenizer, template and metadata are laid out as in the real models, so that every engine takes the files for one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "ATTENTION",
    "CONV",
    "LFM2_350M",
    "MERGES",
    "TEMPLATE",
    "TOKENS",
    "Size",
    "byte_tokens",
    "config",
    "gguf_fields",
    "gguf_name",
    "layers",
    "random_weights",
    "shapes",
    "tokenizer",
    "write_gguf",
    "write_lfm2_folder",
    "write_lfm2_gguf",
]

CONV, ATTENTION = "conv", "full_attention"
MERGES = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "l d", "Ġwor ld", "1 2", "12 3"]
SPECIAL = [
    "<|pad|>",
    "<|startoftext|>",
    "<|endoftext|>",
    "<|fim_pre|>",
    "<|fim_mid|>",
    "<|fim_suf|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|tool_list_start|>",
    "<|tool_list_end|>",
    "<|tool_call_start|>",
    "<|tool_call_end|>",
    "<|tool_response_start|>",
    "<|tool_response_end|>",
]


def byte_tokens() -> list[str]:
    """The 256 letters that stand for bytes in GPT-2's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]


TOKENS = [*SPECIAL, *byte_tokens(), *(merge.replace(" ", "") for merge in MERGES)]
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Size:
    """The shape of an LFM2 model; `ffn` is the width that w1 really has."""

    layer_types: tuple[str, ...] = (CONV, ATTENTION, CONV)
    hidden: int = 64
    ffn: int = 96
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    width: int = 3
    vocab: int = 288  # a few rows more than there are tokens, as in the real models
    tied: bool = True
    conv_bias: bool = False
    theta: float = 1e6
    eps: float = 1e-5


def layers(total: int, *attention: int) -> tuple[str, ...]:
    """Return the types of `total` layers; those in `attention` attend, all others convolve."""
    return tuple(ATTENTION if i in attention else CONV for i in range(total))


LFM2_350M = Size(layers(16, 2, 5, 8, 10, 12, 14), hidden=1024, ffn=4608, heads=16, kv_heads=8, head_dim=64, vocab=65536)


def shapes(size: Size) -> dict[str, tuple[int, ...]]:
    """Hugging Face name -> shape."""
    hidden = size.hidden
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (size.vocab, hidden)}
    found["model.embedding_norm.weight"] = (hidden,)
    if not size.tied:
        found["lm_head.weight"] = (size.vocab, hidden)
    q_rows, kv_rows = size.heads * size.head_dim, size.kv_heads * size.head_dim
    for i, kind in enumerate(size.layer_types):
        at = f"model.layers.{i}"
        found |= {f"{at}.operator_norm.weight": (hidden,), f"{at}.ffn_norm.weight": (hidden,)}
        found |= {f"{at}.feed_forward.{w}.weight": (size.ffn, hidden) for w in ("w1", "w3")}
        found[f"{at}.feed_forward.w2.weight"] = (hidden, size.ffn)
        if kind == CONV:
            parts = {"in_proj": (3 * hidden, hidden), "conv": (hidden, 1, size.width), "out_proj": (hidden, hidden)}
            found |= {f"{at}.conv.{part}.weight": shape for part, shape in parts.items()}
            if size.conv_bias:
                found |= {f"{at}.conv.{part}.bias": shape[:1] for part, shape in parts.items()}
        else:
            found[f"{at}.self_attn.q_proj.weight"] = (q_rows, hidden)
            found |= {f"{at}.self_attn.{part}_proj.weight": (kv_rows, hidden) for part in "kv"}
            found[f"{at}.self_attn.out_proj.weight"] = (hidden, q_rows)
            found |= {f"{at}.self_attn.{part}_layernorm.weight": (size.head_dim,) for part in "qk"}
    return found


def _random(size: Size, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (name, float32 array), one at a time; activations stay near 1 and logits near 3 in every shape."""
    rng = np.random.default_rng(seed)
    for name, shape in shapes(size).items():
        array = rng.standard_normal(shape, np.float32)
        if "norm" in name:
            array = 1 + 0.2 * array
        elif len(shape) == 2:
            array *= (3 if "embed" in name or "lm_head" in name else 1) / np.sqrt(shape[1])
        else:
            array *= 0.5
        yield name, array


def random_weights(size: Size, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights under their Hugging Face names."""
    return dict(_random(size, seed))


def config(size: Size, spelling: str = "new") -> dict[str, Any]:
    """config.json as transformers 5 ("new") or as the first releases ("old") wrote it."""
    common = {
        "model_type": "lfm2",
        "architectures": ["Lfm2ForCausalLM"],
        "hidden_size": size.hidden,
        "num_hidden_layers": len(size.layer_types),
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.kv_heads,
        "max_position_embeddings": 128_000,
        "vocab_size": size.vocab,
        "norm_eps": size.eps,
        "conv_L_cache": size.width,
        "conv_bias": size.conv_bias,
        "block_auto_adjust_ff_dim": False,
        "bos_token_id": 1,
        "eos_token_id": 7,
        "pad_token_id": 0,
    }
    if size.head_dim * size.heads != size.hidden:
        common["head_dim"] = size.head_dim
    if spelling == "old":
        attention = [i for i, kind in enumerate(size.layer_types) if kind == ATTENTION]
        return common | {
            "block_ff_dim": size.ffn,
            "full_attn_idxs": attention,
            "tie_embedding": size.tied,
            "rope_theta": size.theta,
        }
    return common | {
        "intermediate_size": size.ffn,
        "layer_types": list(size.layer_types),
        "tie_word_embeddings": size.tied,
        "rope_parameters": {"rope_type": "default", "rope_theta": size.theta},
    }


def write_lfm2_folder(
    folder: Path,
    size: Size = Size(),
    *,
    seed: int = 0,
    dtype: str = "F32",
    spelling: str = "new",
    prefix: str = "model.",
    **changes: Any,
) -> Path:
    """Write a Hugging Face folder with random weights, tokenizer and chat template; one tensor is in memory at a time.

    Args:
        dtype: F32, or BF16 as the releases are.
        prefix: "" writes a model without its head.
        changes: fields of config.json to replace.
    """
    folder.mkdir(parents=True, exist_ok=True)
    item_bytes, offset, header = {"F32": 4, "BF16": 2}[dtype], 0, {}
    for name, shape in shapes(size).items():
        end = offset + item_bytes * int(np.prod(shape))
        stored = name if name == "lm_head.weight" else prefix + name.removeprefix("model.")
        header[stored] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for _, array in _random(size, seed):
            stream.write((array.view(np.uint32) >> 16).astype("<u2").data if dtype == "BF16" else array.data)
    (folder / "config.json").write_text(json.dumps(config(size, spelling) | changes))
    _write_text_side(folder)
    return folder


def tokenizer() -> Any:
    """A byte-level BPE with LFM2's special tokens, split rule and bos."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

    merges = [(left, right) for left, right in (merge.split(" ") for merge in MERGES)]
    made = Tokenizer(models.BPE({token: i for i, token in enumerate(TOKENS)}, merges))
    split = pre_tokenizers.Split(Regex(SPLIT), behavior="isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    made.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A", special_tokens=[("<|startoftext|>", 1)]
    )
    return made


def _write_text_side(folder: Path) -> None:
    tokenizer().save(str(folder / "tokenizer.json"))
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|pad|>"}
    stored = special | {"add_bos_token": True, "model_max_length": 1_000_000}
    (folder / "tokenizer_config.json").write_text(json.dumps(stored))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    defaults = {"temperature": 0.3, "min_p": 0.15, "repetition_penalty": 1.05}
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 7} | defaults))
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: lfm1.0\n---\n# Random weights\n")


_GGUF_NAMES = {
    "embed_tokens": "token_embd",
    "embedding_norm": "token_embd_norm",
    "lm_head": "output",
    "operator_norm": "attn_norm",
    "ffn_norm": "ffn_norm",
    "feed_forward.w1": "ffn_gate",
    "feed_forward.w2": "ffn_down",
    "feed_forward.w3": "ffn_up",
    "conv.in_proj": "shortconv.in_proj",
    "conv.conv": "shortconv.conv",
    "conv.out_proj": "shortconv.out_proj",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_output",
    "self_attn.q_layernorm": "attn_q_norm",
    "self_attn.k_layernorm": "attn_k_norm",
}


def gguf_name(name: str) -> str:
    """The GGUF name of a tensor under its Hugging Face name."""
    stem, _, part = name.removeprefix("model.").rpartition(".")
    if stem.startswith("layers."):
        _, layer, rest = stem.split(".", 2)
        return f"blk.{layer}.{_GGUF_NAMES[rest]}.{part}"
    return f"{_GGUF_NAMES[stem]}.{part}"


def gguf_fields(size: Size) -> dict[str, Any]:
    """The metadata that llama.cpp's converter writes; rows without a token are named and marked unused."""
    unused = [f"[PAD{i}]" for i in range(len(TOKENS), size.vocab)]
    types = [3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)) + [5] * len(unused)
    head_dim = {"lfm2.attention.key_length": size.head_dim} if size.head_dim * size.heads != size.hidden else {}
    return head_dim | {
        "general.license": "other",
        "general.license.name": "lfm1.0",
        "lfm2.block_count": len(size.layer_types),
        "lfm2.context_length": 128_000,
        "lfm2.embedding_length": size.hidden,
        "lfm2.feed_forward_length": size.ffn,
        "lfm2.attention.head_count": size.heads,
        "lfm2.attention.head_count_kv": [size.kv_heads if kind == ATTENTION else 0 for kind in size.layer_types],
        "lfm2.attention.layer_norm_rms_epsilon": size.eps,
        "lfm2.rope.freq_base": size.theta,
        "lfm2.shortconv.l_cache": size.width,
        "lfm2.vocab_size": size.vocab,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "lfm2",
        "tokenizer.ggml.tokens": [*TOKENS, *unused],
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 7,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": TEMPLATE,
    }


def write_lfm2_gguf(
    path: Path,
    size: Size = Size(),
    *,
    seed: int = 0,
    quantization: str = "F32",
    embedding: str | None = None,
    without: tuple[str, ...] = (),
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write the same random weights as `write_lfm2_folder` does, as llama.cpp's converter lays them out.

    Args:
        quantization, embedding: see `write_gguf`.
        without: names of fields and tensors to leave out.
        extra: fields to add or replace.
    """

    def tensors() -> Iterator[tuple[str, np.ndarray]]:
        for name, array in _random(size, seed):
            stored = gguf_name(name)
            yield stored, array.squeeze(1) if "shortconv.conv.weight" in stored else array

    fields = gguf_fields(size) | dict(extra or {})
    return write_gguf(path, "lfm2", fields, tensors(), quantization=quantization, embedding=embedding, without=without)


def write_gguf(
    path: Path,
    kind: str,
    fields: Mapping[str, Any],
    tensors: Iterable[tuple[str, np.ndarray]],
    *,
    quantization: str = "F32",
    embedding: str | None = None,
    without: tuple[str, ...] = (),
) -> Path:
    """Write metadata and tensors under their GGUF names; matrices are quantized, all else stays float32.

    Args:
        quantization: F32, F16, Q8_0, Q4_0, Q4_1, or Q4_K_M as llama.cpp mixes it. Blocks of the K kinds are drawn at
            random, as the gguf package only reads those.
        embedding: another one for the embedding: llama.cpp's own Q4_0 files keep it in Q6_K.
    """
    import gguf

    writer = gguf.GGUFWriter(path, kind)
    for key, value in fields.items():
        if key in without:
            continue
        if isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_string(key, value)
    for name, array in tensors:
        if name in without:
            continue
        is_embedding = embedding is not None and name == "token_embd.weight"
        wanted = embedding if is_embedding and embedding is not None else quantization
        if wanted == "F32" or array.ndim == 1 or "shortconv.conv" in name:
            writer.add_tensor(name, np.ascontiguousarray(array))
        else:
            stored, kind_of_tensor = _quantized(name, array, wanted)
            writer.add_tensor(name, stored, raw_dtype=kind_of_tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


_Q6_K_IN_Q4_K_M = ("token_embd", "attn_v", "ffn_down")


def _quantized(name: str, array: np.ndarray, quantization: str) -> tuple[np.ndarray, Any]:
    """Return stored bytes and type."""
    import gguf

    if quantization == "Q4_K_M":
        quantization = "Q6_K" if any(part in name for part in _Q6_K_IN_Q4_K_M) else "Q4_K"
    kind = gguf.GGMLQuantizationType[quantization]
    if not quantization.endswith("_K"):
        return gguf.quants.quantize(array, kind), kind
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    rng = np.random.default_rng(len(name))
    blocks = rng.integers(0, 256, (len(array), array.shape[1] // block, block_bytes), np.uint8)
    scales = slice(-2, None) if quantization == "Q6_K" else slice(0, 4)  # float16: d, or d and the scale of the minima
    blocks[..., scales] = np.full(blocks[..., scales].shape[-1] // 2, 2**-12, np.float16).view(np.uint8)
    return blocks.reshape(len(array), -1), kind
