"""Texts to unit vectors of the model's own dimension: tokenise, truncate, run in batches of like length, pool."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ruvllm.errors import ModelUnsupported
from ruvllm.models import read_card

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ruvllm.inference.ctranslate2_encoder import CTranslate2Encoder

__all__ = ["SentenceEncoder"]


class SentenceEncoder:
    """A sentence-transformers-like model on the CPU; implements `ruvllm.types.Embedder`. Safe to share between threads.

    The card is read here; tokenizer and weights load at first use (about 0.1 s and 30 MB for MiniLM).

    Args:
        model_dir: a converted encoder.
        max_tokens: longest input, the two special tokens included; never more than the model was trained for.
        batch_tokens: padded tokens in one call of the model; more than the cache holds costs more than it saves.
        num_threads: batches that run beside each other, each on one core; 0 takes all cores.

    Raises:
        ModelDamaged: the card cannot be read. Tokenizer and weights raise it at first use.
        ModelUnsupported: the model does not embed by mean pooling.
    """

    def __init__(self, model_dir: Path, *, max_tokens: int, batch_tokens: int, num_threads: int) -> None:
        self._card = read_card(model_dir)
        if self._card.task != "embed" or self._card.pooling != "mean":
            raise ModelUnsupported(f"{model_dir.name} does not embed texts by mean pooling", model=model_dir.name)
        self._model_dir = model_dir
        self._batch_tokens = batch_tokens
        self._num_threads = num_threads
        self._loading = threading.Lock()
        self.max_tokens = min(max_tokens, self._card.context_tokens)
        self.native_dim = self._card.hidden_size
        self.id = f"{model_dir.name}-{self._card.files['model.bin'].sha256[:12]}-{self.max_tokens}"

    def __repr__(self) -> str:
        return f"SentenceEncoder({self.id!r})"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, native_dim) float32 unit vectors; what exceeds `max_tokens` of a text is not seen.

        Raises:
            ValueError: a text is empty, only whitespace, or holds a lone surrogate; the message says which.
        """
        _require_texts(texts)
        ids = [self._truncated(encoding) for encoding in self._token_ids(texts, special=True)]
        vectors = np.empty((len(ids), self.native_dim), np.float32)
        if not ids:
            return vectors
        native = self._native

        def fill(batch: list[int]) -> None:
            rows = [ids[i] for i in batch]
            vectors[batch] = _mean_pool(native.hidden_states(rows), [len(row) for row in rows])

        share = -(-sum(map(len, ids)) // native.num_threads)
        batches = list(_batches_by_length([len(row) for row in ids], min(self._batch_tokens, share)))
        if len(batches) == 1:
            fill(batches[0])
        else:
            _beside_each_other(fill, batches, native.num_threads)
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text is, without special tokens and truncation."""
        return [len(ids) for ids in self._token_ids(texts, special=False)]

    def _token_ids(self, texts: Sequence[str], *, special: bool) -> Iterator[list[int]]:
        # one by one: the library's own batches start threads, and warn on stderr when the process forks later
        return (list(self._tokenizer.encode(text, add_special_tokens=special).ids) for text in texts)

    def _truncated(self, ids: list[int]) -> list[int]:
        return ids if len(ids) <= self.max_tokens else [*ids[: self.max_tokens - 1], ids[-1]]  # [-1] is [SEP]

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from ruvllm.inference.ctranslate2_model import load_tokenizer

        return load_tokenizer(self._model_dir, self._card)

    @property
    def _native(self) -> CTranslate2Encoder:
        with self._loading:
            return self._loaded

    @cached_property
    def _loaded(self) -> CTranslate2Encoder:
        from ruvllm.inference.ctranslate2_encoder import CTranslate2Encoder

        return CTranslate2Encoder(self._model_dir, num_threads=self._num_threads)


def _beside_each_other(fill: Callable[[list[int]], None], batches: Sequence[list[int]], num_threads: int) -> None:
    with ThreadPoolExecutor(num_threads) as threads:
        try:
            running = [threads.submit(fill, batch) for batch in batches]
        except RuntimeError:  # no new threads while the interpreter exits, and memory still has answers to write
            running = []
            for batch in batches:
                fill(batch)
        for one in running:
            one.result()


def _require_texts(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise TypeError("texts must be a sequence of str, not one str")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{i}] must be a str, not {type(text).__name__}")
        if not text.strip():
            raise ValueError(f"texts[{i}] is empty")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"texts[{i}] holds a lone surrogate at character {error.start}") from error


def _batches_by_length(lengths: Sequence[int], budget_tokens: int) -> Iterator[list[int]]:
    """Yield indices in batches of like length, longest first, each at most `budget_tokens` when padded (or one)."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget_tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _mean_pool(hidden: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
    """Return the unit-length mean over each row's own tokens: (n, t, dim) -> (n, dim)."""
    is_token = np.arange(hidden.shape[1]) < np.asarray(lengths)[:, None]  # (n, t)
    total = (is_token[:, None, :].astype(np.float32) @ hidden)[:, 0]  # (n, dim); unit length makes the mean's 1/t moot
    with np.errstate(divide="ignore", invalid="ignore"):  # a broken model's zeros become NaN, which memory refuses
        return np.asarray(total / np.linalg.norm(total, axis=1, keepdims=True), np.float32)
