"""Opening a CTranslate2 model directory, with the library's failures named as ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.models import ModelCard

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["available_threads", "load_tokenizer", "open_native"]

_RUNNABLE = {"Generator": ("llama",), "Encoder": ("bert",)}


def available_threads(num_threads: int) -> int:
    """Return `num_threads`, or every core this process may use when it is 0."""
    if num_threads < 0:
        raise ValueError(f"num_threads must be >= 0, 0 takes every core ({num_threads})")
    if num_threads:
        return num_threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_native(
    kind: Literal["Generator", "Encoder"],
    model_dir: Path,
    card: ModelCard,
    *,
    inter_threads: int = 1,
    intra_threads: int = 1,
) -> Any:
    """Load the weights and return CTranslate2's object (tens to hundreds of ms, the size of model.bin in memory).

    `inter_threads` calls run beside each other on the same weights, each on `intra_threads` cores.

    Raises:
        ModelDamaged: model.bin or a file beside it is missing, truncated or unreadable; the message names it.
        ModelUnsupported: CTranslate2 cannot run this family as a `kind`.
    """
    import ctranslate2

    name = model_dir.name
    if card.family not in _RUNNABLE[kind]:
        raise ModelUnsupported(f"{name}: CTranslate2 runs no {card.family} as {kind.lower()}", model=name)
    for file in ("model.bin", "config.json", "vocabulary.json"):
        if not (model_dir / file).is_file():
            raise ModelDamaged(f"{model_dir / file} is missing: pull {name} again", model=name)
    try:
        return getattr(ctranslate2, kind)(
            str(model_dir), device="cpu", inter_threads=inter_threads, intra_threads=intra_threads
        )
    except (RuntimeError, ValueError) as error:
        weights = model_dir / "model.bin"
        raise ModelDamaged(f"{weights} cannot be loaded ({error}): pull {name} again", model=name) from error


def load_tokenizer(model_dir: Path, card: ModelCard | None = None) -> Tokenizer:
    """Return a new tokenizer without truncation and padding, whatever tokenizer.json says about them.

    Raises:
        ModelDamaged: the file is missing, is not a tokenizer, or knows tokens beyond the vocabulary of `card`.
    """
    from tokenizers import Tokenizer

    path = model_dir / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises bare Exception for what it cannot parse
        raise ModelDamaged(f"{path} cannot be loaded: {error}", model=model_dir.name) from error
    tokens = tokenizer.get_vocab_size()
    if card is not None and tokens > card.vocab_size:
        raise ModelDamaged(f"{path} has {tokens} tokens, the model {card.vocab_size}", model=model_dir.name)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
