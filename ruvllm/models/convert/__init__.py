"""From a checkpoint (Hugging Face folder or GGUF file) to a CTranslate2 model directory, without PyTorch."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.models.convert.checkpoint import Checkpoint, DecoderShape, EncoderShape, Lfm2Shape, TextSide
from ruvllm.models.convert.gguf_file import gguf_checkpoint
from ruvllm.models.convert.hf_export import write_hf_folder
from ruvllm.models.convert.hf_folder import hf_checkpoint

__all__ = ["QUANTIZATIONS", "Converted", "convert"]

logger = logging.getLogger(__name__)

QUANTIZATIONS = ("int8", "float32", "int4", "hf")
_DAMAGE = (  # of reading numbers, lists and texts that are of another kind than their names say
    ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip
_FAMILIES: dict[type, Literal["llama", "bert", "lfm2"]] = {
    DecoderShape: "llama",
    EncoderShape: "bert",
    Lfm2Shape: "lfm2",
}


@dataclass(frozen=True, slots=True)
class Converted:
    """What a conversion found out about the model it wrote."""

    family: Literal["llama", "bert", "lfm2"]
    task: Literal["generate", "embed"]
    parameters: int
    hidden_size: int
    vocab_size: int
    context_tokens: int
    stop_tokens: tuple[str, ...]
    generation: dict[str, float]
    pooling: Literal["mean", "cls"] | None
    license: str | None


def convert(source: Path, target: Path, *, model: str, quantization: str = "int8") -> Converted:
    """Write `source` (a Hugging Face folder or a .gguf file) as a CTranslate2 directory into the empty folder `target`.

    Every weight is read, quantized and written before the next one is touched: the memory needed is about 1.6 times
    the largest tensor in float32, however large the model.

    Args:
        quantization: int8 and float32 are CTranslate2's own formats; int4 packs the linear layers of a decoder (see
            `int4`), keeps embedding and head in int8, and only the runtime reads it; hf is no quantization but a
            Hugging Face folder in float32, which no engine runs and training starts from.

    Raises:
        ModelDamaged: a file or tensor is missing, truncated, or contradicts the configuration.
        ModelUnsupported: the architecture, the tokenizer or an option has no counterpart here.
        ValueError: `quantization` is unknown.
    """
    if quantization not in QUANTIZATIONS:
        raise ValueError(f"quantization must be one of {', '.join(QUANTIZATIONS)} ({quantization!r})")
    try:
        return _converted(source, target, model, quantization)
    except _DAMAGE as error:
        reason = f"{type(error).__name__}: {error}"
        raise ModelDamaged(f"{model}: {source} holds something of the wrong kind ({reason})", model=model) from error


def _converted(source: Path, target: Path, model: str, quantization: str) -> Converted:
    checkpoint = gguf_checkpoint(source, model=model) if source.is_file() else hf_checkpoint(source, model=model)
    shape, tensors = checkpoint.shape, checkpoint.tensors
    spec = _spec(checkpoint, "float32" if quantization == "hf" else quantization)  # checks every tensor's shape
    if quantization == "hf":
        write_hf_folder(checkpoint, target)
    else:
        _write_ctranslate2(checkpoint, spec, target)
    logger.debug("converted %s: %d parameters, %s", model, tensors.parameters, quantization)
    return Converted(
        family=_FAMILIES[type(shape)],
        task="embed" if isinstance(shape, EncoderShape) else "generate",
        parameters=tensors.parameters,
        hidden_size=shape.hidden_size,
        vocab_size=shape.vocab_size,
        context_tokens=checkpoint.max_tokens or 512 if isinstance(shape, EncoderShape) else shape.context_tokens,
        stop_tokens=checkpoint.text.stop_tokens,
        generation=dict(checkpoint.text.generation),
        pooling=checkpoint.pooling,
        license=checkpoint.license,
    )


def _write_ctranslate2(checkpoint: Checkpoint, spec: Any, target: Path) -> None:
    spec.register_vocabulary(_vocabulary(checkpoint))
    config = checkpoint.text.config
    spec.config.unk_token = config.get("unk_token", "")
    spec.config.bos_token = config.get("bos_token", config.get("cls_token", config.get("pad_token", "")))
    spec.config.eos_token = config.get("eos_token", config.get("sep_token", ""))
    spec.validate()
    spec.optimize(None)  # finds the aliases; the weights are quantized as they are written
    spec.save(str(target))
    _write_text_side(checkpoint.text, target)


def _spec(checkpoint: Checkpoint, quantization: str) -> Any:
    """Return the CTranslate2 specification, its weights still to be read."""
    from ruvllm.models.convert import lfm2_spec, spec  # they import CTranslate2

    shape, tensors = checkpoint.shape, checkpoint.tensors
    if isinstance(shape, Lfm2Shape):
        return lfm2_spec.lfm2_spec(shape, tensors, quantization)
    if isinstance(shape, DecoderShape):
        return spec.decoder_spec(shape, tensors, quantization)
    if quantization == "int4":
        raise ModelUnsupported(f"{checkpoint.model}: int4 is for decoders, this is an encoder", model=checkpoint.model)
    return spec.encoder_spec(shape, tensors, quantization)


def _vocabulary(checkpoint: Checkpoint) -> list[str]:
    """Return one token a row of the embedding; rows past the tokenizer's last id get placeholders."""
    from tokenizers import Tokenizer

    by_token = Tokenizer.from_str(checkpoint.text.tokenizer).get_vocab(with_added_tokens=True)
    rows, model = checkpoint.shape.vocab_size, checkpoint.model
    largest = max(by_token.values(), default=-1)
    if largest >= rows:
        raise ModelDamaged(f"{model}: the tokenizer's last id is {largest}, the embedding has {rows} rows", model=model)
    tokens = [f"<extra_id_{i}>" for i in range(rows)]
    for token, i in by_token.items():
        tokens[i] = token
    if len(set(tokens)) != rows:
        raise ModelUnsupported(f"{model}: a token has the name of a placeholder (<extra_id_...>)", model=model)
    return tokens


def _write_text_side(text: TextSide, target: Path) -> None:
    (target / "tokenizer.json").write_text(text.tokenizer, encoding="utf-8")
    config = json.dumps(dict(text.config), indent=2, ensure_ascii=False, sort_keys=True)
    (target / "tokenizer_config.json").write_text(config + "\n", encoding="utf-8")
