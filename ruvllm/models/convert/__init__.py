"""From a checkpoint (Hugging Face folder or GGUF file) to a CTranslate2 model directory, without PyTorch."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.models.convert.checkpoint import Checkpoint, DecoderShape, TextSide
from ruvllm.models.convert.gguf_file import gguf_checkpoint
from ruvllm.models.convert.hf_folder import hf_checkpoint
from ruvllm.models.convert.spec import decoder_spec, encoder_spec

__all__ = ["QUANTIZATIONS", "Converted", "convert"]

logger = logging.getLogger(__name__)

QUANTIZATIONS = ("int8", "float32")


@dataclass(frozen=True, slots=True)
class Converted:
    """What a conversion found out about the model it wrote."""

    family: Literal["llama", "bert"]
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

    Weights go through float32 one tensor at a time; peak memory is the result plus about three times the largest
    tensor in float32.

    Raises:
        ModelDamaged: a file or tensor is missing, truncated, or contradicts the configuration.
        ModelUnsupported: the architecture, the tokenizer or an option has no counterpart here.
        ValueError: `quantization` is unknown.
    """
    if quantization not in QUANTIZATIONS:
        raise ValueError(f"quantization must be one of {', '.join(QUANTIZATIONS)} ({quantization!r})")
    checkpoint = gguf_checkpoint(source, model=model) if source.is_file() else hf_checkpoint(source, model=model)
    shape, tensors = checkpoint.shape, checkpoint.tensors
    is_decoder = isinstance(shape, DecoderShape)
    spec: Any
    if isinstance(shape, DecoderShape):
        spec = decoder_spec(shape, tensors, quantization)
    else:
        spec = encoder_spec(shape, tensors, quantization)
    spec.register_vocabulary(_vocabulary(checkpoint))
    config = checkpoint.text.config
    spec.config.unk_token = config.get("unk_token", "")
    spec.config.bos_token = config.get("bos_token", config.get("cls_token", config.get("pad_token", "")))
    spec.config.eos_token = config.get("eos_token", config.get("sep_token", ""))
    spec.validate()
    spec.optimize(None)  # everything is quantized already; this finds the aliases
    spec.save(str(target))
    _write_text_side(checkpoint.text, target)
    logger.debug("converted %s: %d parameters, %s", model, tensors.parameters, quantization)
    return Converted(
        family="llama" if is_decoder else "bert",
        task="generate" if is_decoder else "embed",
        parameters=tensors.parameters,
        hidden_size=shape.hidden_size,
        vocab_size=shape.vocab_size,
        context_tokens=shape.context_tokens if isinstance(shape, DecoderShape) else checkpoint.max_tokens or 512,
        stop_tokens=checkpoint.text.stop_tokens,
        generation=dict(checkpoint.text.generation),
        pooling=checkpoint.pooling,
        license=checkpoint.license,
    )


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
