"""Tiny random checkpoints as files, and their forward passes in plain numpy: the oracle for the converters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ruvllm.bench import random_model
from ruvllm.bench.random_model import MERGES, byte_tokens

HIDDEN, FFN, HEADS, KV_HEADS, LAYERS, THETA, EPS = 64, 96, 4, 2, 2, 5000.0, 1e-5
HEAD_DIM = HIDDEN // HEADS
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
Weights = dict[str, np.ndarray]
TOKENS = [*SPECIAL, *byte_tokens(), *(merge.replace(" ", "") for merge in MERGES)]
TYPES = [3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL))


def decoder_weights(kind: str = "llama", *, tied: bool = True, seed: int = 0) -> Weights:
    """Random weights of a Llama-like decoder under their Hugging Face names."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.15).astype(np.float32)

    vocab = len(TOKENS)
    weights = {"model.embed_tokens.weight": normal(vocab, HIDDEN), "model.norm.weight": 1 + normal(HIDDEN)}
    if not tied:
        weights["lm_head.weight"] = normal(vocab, HIDDEN)
    for i in range(LAYERS):
        layer = f"model.layers.{i}"
        weights[f"{layer}.input_layernorm.weight"] = 1 + normal(HIDDEN)
        weights[f"{layer}.post_attention_layernorm.weight"] = 1 + normal(HIDDEN)
        for name, rows in (("q_proj", HIDDEN), ("k_proj", KV_HEADS * HEAD_DIM), ("v_proj", KV_HEADS * HEAD_DIM)):
            weights[f"{layer}.self_attn.{name}.weight"] = normal(rows, HIDDEN)
            if kind == "qwen2":
                weights[f"{layer}.self_attn.{name}.bias"] = normal(rows)
        weights[f"{layer}.self_attn.o_proj.weight"] = normal(HIDDEN, HIDDEN)
        weights[f"{layer}.mlp.gate_proj.weight"] = normal(FFN, HIDDEN)
        weights[f"{layer}.mlp.up_proj.weight"] = normal(FFN, HIDDEN)
        weights[f"{layer}.mlp.down_proj.weight"] = normal(HIDDEN, FFN)
    return weights


def decoder_config(kind: str = "llama", *, tied: bool = True) -> dict[str, Any]:
    return {
        "model_type": kind,
        "architectures": ["LlamaForCausalLM" if kind == "llama" else "Qwen2ForCausalLM"],
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "num_hidden_layers": LAYERS,
        "max_position_embeddings": 512,
        "rms_norm_eps": EPS,
        "rope_theta": THETA,
        "tie_word_embeddings": tied,
        "vocab_size": len(TOKENS),
        "eos_token_id": 2,
    }


def decoder_logits(weights: Mapping[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """(T, vocab) float64 logits of a Llama-like decoder."""
    w = {name: array.astype(np.float64) for name, array in weights.items()}
    length, x = len(ids), w["model.embed_tokens.weight"][ids]
    angle = np.arange(length)[:, None] * THETA ** (-np.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]

    def norm(v: np.ndarray, name: str) -> np.ndarray:
        return v / np.sqrt((v * v).mean(-1, keepdims=True) + EPS) * w[name]

    def rope(v: np.ndarray) -> np.ndarray:
        a, b = np.split(v, 2, -1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    for i in range(LAYERS):
        p = f"model.layers.{i}"
        n = norm(x, f"{p}.input_layernorm.weight")
        q, k, v = (
            (n @ w[f"{p}.self_attn.{part}.weight"].T + w.get(f"{p}.self_attn.{part}.bias", 0.0)).reshape(
                length, -1, HEAD_DIM
            )
            for part in ("q_proj", "k_proj", "v_proj")
        )
        k, v = (np.repeat(t, HEADS // KV_HEADS, axis=1) for t in (rope(k), v))
        scores = np.einsum("thd,shd->hts", rope(q), k) / np.sqrt(HEAD_DIM)
        attended = np.einsum("hts,shd->thd", _causal_softmax(scores), v).reshape(length, HIDDEN)
        x = x + attended @ w[f"{p}.self_attn.o_proj.weight"].T
        n = norm(x, f"{p}.post_attention_layernorm.weight")
        gate = n @ w[f"{p}.mlp.gate_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (n @ w[f"{p}.mlp.up_proj.weight"].T)) @ w[f"{p}.mlp.down_proj.weight"].T
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    return norm(x, "model.norm.weight") @ head.T


def _causal_softmax(scores: np.ndarray) -> np.ndarray:
    length = scores.shape[-1]
    scores = np.where(np.tril(np.ones((length, length), bool)), scores, -np.inf)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "##s", "a", "b", "c"]


def encoder_weights(seed: int = 0, *, vocab: int = len(WORDS)) -> Weights:
    """Random weights of a BERT encoder under their Hugging Face names."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.15).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": normal(vocab, HIDDEN),
        "embeddings.token_type_embeddings.weight": normal(2, HIDDEN),
        "embeddings.position_embeddings.weight": normal(32, HIDDEN),
    }
    norms = ["embeddings.LayerNorm"]
    for i in range(LAYERS):
        p = f"encoder.layer.{i}"
        shapes = {f"{p}.attention.self.{part}": (HIDDEN, HIDDEN) for part in ("query", "key", "value")}
        shapes |= {f"{p}.attention.output.dense": (HIDDEN, HIDDEN)}
        shapes |= {f"{p}.intermediate.dense": (FFN, HIDDEN), f"{p}.output.dense": (HIDDEN, FFN)}
        for name, shape in shapes.items():
            weights[f"{name}.weight"], weights[f"{name}.bias"] = normal(*shape), normal(shape[0])
        norms += [f"{p}.attention.output.LayerNorm", f"{p}.output.LayerNorm"]
    for name in norms:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = 1 + normal(HIDDEN), normal(HIDDEN)
    weights["pooler.dense.weight"], weights["pooler.dense.bias"] = normal(HIDDEN, HIDDEN), normal(HIDDEN)
    return weights


def encoder_config(*, vocab: int = len(WORDS)) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "max_position_embeddings": 32,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "vocab_size": vocab,
    }


def encoder_states(weights: Mapping[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """(T, hidden) float64 last hidden state of a BERT encoder."""
    from math import erf

    w = {name: array.astype(np.float64) for name, array in weights.items()}
    length = len(ids)

    def norm(v: np.ndarray, name: str) -> np.ndarray:
        v = v - v.mean(-1, keepdims=True)
        return v / np.sqrt((v * v).mean(-1, keepdims=True) + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(v: np.ndarray, name: str) -> np.ndarray:
        return v @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0]
    x = norm(x + w["embeddings.position_embeddings.weight"][:length], "embeddings.LayerNorm")
    for i in range(LAYERS):
        p = f"encoder.layer.{i}"
        q, k, v = (
            linear(x, f"{p}.attention.self.{part}").reshape(length, HEADS, HEAD_DIM)
            for part in ("query", "key", "value")
        )
        scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(HEAD_DIM)
        e = np.exp(scores - scores.max(-1, keepdims=True))
        attended = np.einsum("hts,shd->thd", e / e.sum(-1, keepdims=True), v).reshape(length, HIDDEN)
        x = norm(x + linear(attended, f"{p}.attention.output.dense"), f"{p}.attention.output.LayerNorm")
        up = linear(x, f"{p}.intermediate.dense")
        gelu = up * 0.5 * (1 + np.vectorize(erf)(up / np.sqrt(2)))
        x = norm(x + linear(gelu, f"{p}.output.dense"), f"{p}.output.LayerNorm")
    return x


def write_safetensors(path: Path, weights: Mapping[str, np.ndarray], dtype: str = "F32") -> None:
    """Write the safetensors format by hand: F32, F16, or BF16 (float32 cut to its upper half)."""
    header, blobs, offset = {}, [], 0
    for name, array in weights.items():
        if dtype == "BF16":
            blob = (np.ascontiguousarray(array).view(np.uint32) >> 16).astype("<u2").tobytes()
        else:
            blob = array.astype("<f2" if dtype == "F16" else "<f4").tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def write_decoder_folder(folder: Path, weights: Weights, config: dict[str, Any], dtype: str = "F32") -> Path:
    """Write a Hugging Face folder of a decoder, tokenizer included."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", weights, dtype)
    (folder / "config.json").write_text(json.dumps(config))
    vocabulary = {token: i for i, token in enumerate(TOKENS)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [tuple(merge.split(" ")) for merge in MERGES]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(folder / "tokenizer.json"))
    eos = {"content": "<|im_end|>", "lstrip": False}
    stored = {"bos_token": "<|im_start|>", "eos_token": eos, "chat_template": TEMPLATE, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(stored))
    return folder


def write_encoder_folder(
    folder: Path, weights: Weights, config: dict[str, Any], prefix: str = "", *, words: Sequence[str] = WORDS
) -> Path:
    """Write a sentence-transformers folder of a BERT encoder, with a tokenizer of these words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", {prefix + name: array for name, array in weights.items()})
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.enable_truncation(4)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(special))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    return folder


_GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(
    path: Path,
    weights: Mapping[str, np.ndarray],
    kind: str = "llama",
    *,
    pre: str = "smollm",
    quantization: str = "F32",
    without: tuple[str, ...] = (),
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write a GGUF file as llama.cpp's converter does: Llama's q and k rows interleaved, norms in float32."""
    fields: dict[str, Any] = {
        f"{kind}.block_count": LAYERS,
        f"{kind}.context_length": 512,
        f"{kind}.embedding_length": HIDDEN,
        f"{kind}.feed_forward_length": FFN,
        f"{kind}.attention.head_count": HEADS,
        f"{kind}.attention.head_count_kv": KV_HEADS,
        f"{kind}.attention.layer_norm_rms_epsilon": EPS,
        f"{kind}.rope.freq_base": THETA,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.chat_template": TEMPLATE,
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": TYPES,
        "tokenizer.ggml.merges": MERGES,
    } | dict(extra or {})
    tensors = {}
    for name, array in weights.items():
        stem, _, part = name.rpartition(".")
        if kind == "llama" and ("q_proj" in name or "k_proj" in name):
            array = _interleave(array, HEADS if "q_proj" in name else KV_HEADS)
        tensors[f"{_gguf_stem(stem)}.{part}"] = array
    return random_model.write_gguf(path, kind, fields, tensors.items(), quantization=quantization, without=without)


def _gguf_stem(stem: str) -> str:
    if stem in _GGUF_NAMES:
        return _GGUF_NAMES[stem]
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{_GGUF_NAMES[rest]}"


def _interleave(array: np.ndarray, heads: int) -> np.ndarray:
    halves = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(array.shape)


@dataclass(frozen=True)
class Wheel:
    """A wheel in a folder that pip can be pointed at."""

    folder: Path
    package: str
    version: str
    root: str


def write_wheel(folder: Path, source: Path, package: str = "tiny-model", version: str = "1.0") -> Wheel:
    """Pack a file or folder into a wheel of the local index `folder`."""
    import zipfile

    folder.mkdir(parents=True, exist_ok=True)
    root, info = f"{package.replace('-', '_')}", f"{package.replace('-', '_')}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{root}-{version}-py3-none-any.whl", "w") as archive:
        for file in [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file()):
            archive.write(file, f"{root}/{file.name if source.is_file() else file.relative_to(source)}")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return Wheel(folder, package, version, root)
