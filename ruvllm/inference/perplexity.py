"""How well a decoder of the runtime foretells a text: the log-probability of its tokens, window by window."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ruvllm.inference.local_model import load_tokenizer
from ruvllm.inference.runtime_model import open_runtime
from ruvllm.models import read_card

__all__ = ["Windows", "perplexity_of", "read_text", "runtime_logprobs", "token_windows"]

Windows = list[list[int]]
"""Token ids; a window knows nothing of those before it."""


def read_text(path: Path) -> str:
    """Return a text file, which may be gzipped."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as stream:
        return stream.read()


def token_windows(text: Path, model_dir: Path, *, windows: int, window: int) -> Windows:
    """Return the beginning of a text as so many windows of so many tokens.

    Args:
        model_dir: with a tokenizer.json: of the runtime or of Hugging Face.

    Raises:
        ValueError: the text is shorter than that.
    """
    tokenizer = load_tokenizer(model_dir)
    ids = tokenizer.encode(read_text(text), add_special_tokens=False).ids
    if len(ids) < windows * window:
        raise ValueError(f"{text} has {len(ids)} tokens; {windows} windows of {window} need {windows * window}")
    return [ids[i * window : (i + 1) * window] for i in range(windows)]


def runtime_logprobs(
    model_dir: Path,
    windows: Sequence[Sequence[int]],
    num_threads: int,
    on_window: Callable[[int], None] = lambda done: None,
) -> npt.NDArray[np.float32]:
    """Return the log-probability of every token of every window but its first."""
    model = open_runtime(model_dir, read_card(model_dir), num_threads=num_threads)
    found = []
    for done, ids in enumerate(windows, 1):
        session = model.session(context_tokens=len(ids))
        found.append(model.advance([session], [np.array(ids, np.int32)], want="logprobs")[1:])
        on_window(done)
    return np.concatenate(found)


def perplexity_of(logprobs: npt.NDArray[np.float32]) -> float:
    """Return exp of the mean negative log-probability."""
    return float(np.exp(-np.mean(logprobs, dtype=np.float64)))
