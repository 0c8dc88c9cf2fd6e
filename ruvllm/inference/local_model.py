"""What every local engine needs of a model directory and of the machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ruvllm.errors import ModelDamaged
from ruvllm.models import ModelCard

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["available_threads", "load_tokenizer"]

MAX_THREADS = 256


def available_threads(num_threads: int) -> int:
    """Return `num_threads`, or every core this process may use when it is 0."""
    if not 0 <= num_threads <= MAX_THREADS:
        raise ValueError(f"num_threads must be in [0, {MAX_THREADS}], 0 takes every core ({num_threads})")
    if num_threads:
        return num_threads
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_THREADS)


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
    if card is not None:  # by the largest id: there may be gaps before it
        tokens = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        if tokens > card.vocab_size:
            raise ModelDamaged(f"{path} has {tokens} tokens, the model {card.vocab_size}", model=model_dir.name)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
