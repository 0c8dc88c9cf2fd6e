"""The model in a Hugging Face folder: config.json, safetensors, tokenizer.json and their smaller neighbours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.models.convert.checkpoint import (
    END_OF_TURN,
    Checkpoint,
    DecoderShape,
    EncoderShape,
    Tensors,
    TextSide,
)
from ruvllm.models.convert.config_numbers import count
from ruvllm.models.convert.lfm2_config import is_tied, lfm2_shape
from ruvllm.models.convert.names import hf_decoder_names, hf_encoder_names, hf_lfm2_names
from ruvllm.models.convert.safetensors_folder import SafetensorsFolder

__all__ = ["hf_checkpoint"]

_KINDS = ("llama", "qwen2", "lfm2", "bert")
_MAX_TOKENS = 1 << 24  # far more than any vocabulary: the library takes memory for every id up to the largest
_GENERATION_FIELDS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
_ACTIVATIONS: dict[str, Literal["gelu", "gelu_tanh", "relu"]] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}


def hf_checkpoint(folder: Path, *, model: str) -> Checkpoint:
    """Return the model in a Hugging Face folder.

    Raises:
        ModelDamaged: a file is missing, truncated or not what its name says.
        ModelUnsupported: another architecture than llama, qwen2, lfm2 or bert, or an option without a counterpart here.
    """
    config = _json(folder / "config.json", model)
    kind = config.get("model_type")
    if kind not in _KINDS:
        hint = "; mixtures of experts do not run here" if kind == "lfm2_moe" else ""
        raise ModelUnsupported(f"{model}: model_type {kind!r} is not one of {', '.join(_KINDS)}{hint}", model=model)
    if config.get("quantization_config"):
        raise ModelUnsupported(f"{model}: already quantized (quantization_config)", model=model)
    source = SafetensorsFolder(folder, model=model)
    text, licence = _text_side(folder, config, model), _license(folder)
    if kind == "bert":
        return _encoder(folder, config, source, text, licence, model)
    if kind == "lfm2":
        return _lfm2(config, source, text, licence, model)
    shape = _decoder_shape(config, model)
    names = hf_decoder_names(shape.num_layers)
    tensors = _with_head(source, names, model, tied=config.get("tie_word_embeddings", False))
    return Checkpoint(model, shape, tensors, text, license=licence)


def _lfm2(
    config: Mapping[str, Any], source: SafetensorsFolder, text: TextSide, licence: str | None, model: str
) -> Checkpoint:
    shape = lfm2_shape(config, model)
    is_bare = "embed_tokens.weight" in source.names()  # saved without a head, as embedding models are
    names = hf_lfm2_names(shape.layer_types, prefix="" if is_bare else "model.")
    return Checkpoint(
        model, shape, _with_head(source, names, model, tied=is_bare or is_tied(config)), text, license=licence
    )


def _with_head(source: SafetensorsFolder, names: dict[str, str], model: str, *, tied: bool) -> Tensors:
    """Return a decoder's tensors; a tied head that is stored too is the embedding again and is left out."""
    if tied:
        return Tensors(_WithoutHead(source), names, model=model)
    if names["head"] not in source.names():
        raise ModelDamaged(f"{model}: tensor {names['head']} is missing and the head is not tied", model=model)
    return Tensors(source, names, model=model)


class _WithoutHead:
    """A tensor source without the copy of the embedding that some tied checkpoints store as the head."""

    def __init__(self, source: SafetensorsFolder) -> None:
        self.shape, self.read, self.read_int4, self._source = source.shape, source.read, source.read_int4, source

    def names(self) -> set[str]:
        return set(self._source.names()) - {"lm_head.weight"}


def _license(folder: Path) -> str | None:
    """Return the licence that the model card's header (README.md) states; "other" hides its name in another line."""
    card = folder / "README.md"
    header = card.read_text(encoding="utf-8", errors="replace").split("---", 2) if card.is_file() else []
    if len(header) < 3 or header[0].strip():
        return None
    stated = dict(re.findall(r"^(license|license_name):[ \t]*[\"']?([^\s\"']+)", header[1], re.MULTILINE))
    return stated.get("license_name") or stated.get("license")


def _decoder_shape(config: Mapping[str, Any], model: str) -> DecoderShape:
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    refused = {
        "rope_scaling": rope_type if rope_type != "default" else None,
        "hidden_act": config.get("hidden_act", "silu") if config.get("hidden_act", "silu") != "silu" else None,
        "use_sliding_window": config.get("use_sliding_window") or None,
        "mlp_bias": config.get("mlp_bias") or None,
    }
    for name, value in refused.items():
        if value is not None:
            raise ModelUnsupported(f"{model}: {name} {value!r} in config.json", model=model)
    hidden_size = count(config, "hidden_size", model)
    num_heads = count(config, "num_attention_heads", model)
    if config.get("head_dim") is None and hidden_size % num_heads:
        raise ModelDamaged(f"{model}: num_attention_heads {num_heads} does not divide hidden_size", model=model)
    return DecoderShape(
        num_layers=count(config, "num_hidden_layers", model),
        hidden_size=hidden_size,
        ffn_size=count(config, "intermediate_size", model),
        num_heads=num_heads,
        num_kv_heads=count(config, "num_key_value_heads", model, num_heads),
        head_dim=count(config, "head_dim", model, hidden_size // num_heads),
        vocab_size=count(config, "vocab_size", model),
        context_tokens=count(config, "max_position_embeddings", model),
        norm_eps=float(config.get("rms_norm_eps", 1e-6)),
        rope_theta=float(rope.get("rope_theta", config.get("rope_theta", 10_000.0))),
    )


def _encoder(
    folder: Path,
    config: Mapping[str, Any],
    source: SafetensorsFolder,
    text: TextSide,
    licence: str | None,
    model: str,
) -> Checkpoint:
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise ModelUnsupported(f"{model}: position_embedding_type {config['position_embedding_type']!r}", model=model)
    activation = _ACTIVATIONS.get(config.get("hidden_act", "gelu"))
    if activation is None:
        raise ModelUnsupported(f"{model}: hidden_act {config['hidden_act']!r} in config.json", model=model)
    shape = EncoderShape(
        num_layers=count(config, "num_hidden_layers", model),
        hidden_size=count(config, "hidden_size", model),
        ffn_size=count(config, "intermediate_size", model),
        num_heads=count(config, "num_attention_heads", model),
        vocab_size=count(config, "vocab_size", model),
        max_positions=count(config, "max_position_embeddings", model),
        num_token_types=count(config, "type_vocab_size", model, 2),
        norm_eps=float(config.get("layer_norm_eps", 1e-12)),
        activation=activation,
    )
    prefix = "bert." if "bert.embeddings.word_embeddings.weight" in source.names() else ""
    tensors = Tensors(source, hf_encoder_names(shape.num_layers, prefix), model=model)
    trained = _json(folder / "sentence_bert_config.json", model, required=False).get("max_seq_length")
    max_tokens = min(int(trained or shape.max_positions), shape.max_positions)
    pooling = _pooling(folder, model)
    return Checkpoint(model, shape, tensors, text, pooling=pooling, max_tokens=max_tokens, license=licence)


def _pooling(folder: Path, model: str) -> Literal["mean", "cls"]:
    """Return how sentence-transformers pools this encoder; mean when the folder does not say."""
    modules = _json(folder / "modules.json", model, required=False, kind=list)
    kinds = {str(m.get("type", "")).rsplit(".", 1)[-1] for m in modules}
    if extra := sorted(kinds - {"Transformer", "Pooling", "Normalize"}):
        raise ModelUnsupported(f"{model}: sentence-transformers module {extra[0]} in modules.json", model=model)
    pooling = _json(folder / "1_Pooling" / "config.json", model, required=False)
    chosen = {name for name, value in pooling.items() if name.startswith("pooling_mode_") and value is True}
    mode = pooling.get("pooling_mode")
    if chosen == {"pooling_mode_cls_token"} or mode == "cls":
        return "cls"
    if chosen <= {"pooling_mode_mean_tokens"} and mode in (None, "mean"):
        return "mean"
    raise ModelUnsupported(f"{model}: pooling {mode or sorted(chosen)} in 1_Pooling/config.json", model=model)


def _text_side(folder: Path, config: Mapping[str, Any], model: str) -> TextSide:
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelUnsupported(f"{model}: {folder} holds no tokenizer.json", model=model)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for every fault of the file
        raise ModelDamaged(f"{model}: tokenizer.json is damaged: {error}", model=model) from error
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if largest >= _MAX_TOKENS:
        raise ModelDamaged(f"{model}: tokenizer.json is damaged: it holds the id {largest}", model=model)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    stored = _json(folder / "tokenizer_config.json", model, required=False)
    special = _json(folder / "special_tokens_map.json", model, required=False) | stored
    kept: dict[str, Any] = {}
    for name in ("bos", "eos", "unk", "pad", "cls", "sep", "mask"):
        value = special.get(f"{name}_token")
        value = value.get("content") if isinstance(value, dict) else value  # an AddedToken written as a table
        if isinstance(value, str):
            kept[f"{name}_token"] = value
    template = _chat_template(folder, stored)
    if template:
        kept["chat_template"] = template
    for name in ("add_bos_token", "model_max_length"):
        if name in stored:
            kept[name] = stored[name]
    generation = _json(folder / "generation_config.json", model, required=False)
    stops = _ids(generation.get("eos_token_id")) + _ids(config.get("eos_token_id"))
    named = [kept["eos_token"]] if "eos_token" in kept and config.get("model_type") != "bert" else []
    tokens = named + [token for i in stops if (token := tokenizer.id_to_token(i)) is not None]
    controls = {added.content for added in tokenizer.get_added_tokens_decoder().values() if added.special}
    tokens += [token for token in END_OF_TURN if token in controls]
    defaults = {n: float(generation[n]) for n in _GENERATION_FIELDS if isinstance(generation.get(n), int | float)}
    return TextSide(tokenizer.to_str(), kept, tuple(dict.fromkeys(tokens)), defaults)


def _chat_template(folder: Path, stored: Mapping[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = stored.get("chat_template")
    if isinstance(template, list):  # several named templates
        template = {item.get("name"): item.get("template") for item in template}.get("default")
    return template if isinstance(template, str) else None


def _ids(value: Any) -> list[int]:
    return [i for i in (value if isinstance(value, list) else [value]) if isinstance(i, int)]


def _json(path: Path, model: str, *, required: bool = True, kind: type = dict) -> Any:
    """Return what a file holds, which is a `kind`; an empty one where it is missing and not required."""
    if not path.is_file():
        if required:
            raise ModelDamaged(f"{model}: {path.name} is missing in {path.parent}", model=model)
        return kind()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelDamaged(f"{model}: {path.name} is not JSON: {error}", model=model) from error
    if not isinstance(found, kind):
        raise ModelDamaged(f"{model}: {path.name} holds {type(found).__name__}, not {kind.__name__}", model=model)
    return found
