"""The transformer runtime: a model's weights, conversations that keep their caches, sampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

from ruvllm.kernels.loaded import core

__all__ = ["KvType", "RuntimeModel", "RuntimeSampler", "RuntimeSession"]

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
MAX_FLOAT32 = float(np.finfo(np.float32).max)
KvType = Literal["float32", "int8"]
Want = Literal["logits", "all_logits", "logprobs", "hidden"]


class RuntimeSession:
    """What one conversation carries: its tokens, keys and values, convolution states, the logits after the last token.

    Made by `RuntimeModel.session`. One thread at a time: a second one is a RuntimeError, not corruption.
    """

    def __init__(self, native: core.RuntimeSession) -> None:
        self._native = native

    @property
    def length(self) -> int:
        """Tokens so far."""
        return self._native.length

    @property
    def kv(self) -> str:
        """How keys and values are stored: "float32" or "int8"."""
        return self._native.kv

    @property
    def context_tokens(self) -> int:
        """Tokens that fit."""
        return self._native.context_tokens

    def tokens(self) -> Ids:
        """Return the tokens so far, (length,) int32."""
        return self._native.tokens()

    def logits(self) -> Floats:
        """Return the logits after the last token, (vocab_size,) float32; empty when they are not known."""
        return self._native.logits()

    def nbytes(self) -> int:
        """Return the memory it holds, in bytes."""
        return self._native.nbytes()

    def cut(self, length: int) -> None:
        """Forget all but the first `length` tokens, if there are more: what follows has the same bits as if the others
        had never been.

        A short convolution remembers what it forgets: where more than 8 tokens go, at most (width - 1) * layers of
        those before them are run again.
        """
        self._native.cut(_count(length, "length"))

    def fork(self, length: int | None = None) -> RuntimeSession:
        """Return another session that stands where this one stood after `length` tokens; None = where it stands."""
        return RuntimeSession(self._native.fork(self.length if length is None else _count(length, "length")))

    def save(self) -> bytes:
        """Return the session as bytes, with a version and a checksum; `RuntimeModel.restore` reads them."""
        return self._native.save()


class RuntimeModel:
    """A transformer from a model.bin in CTranslate2's format: an LFM2, a Llama-like decoder or a BERT-like encoder.

    The weights are repacked once while they load (the file is mapped meanwhile) and shared by all sessions. Safe to
    share between threads: passes wait for each other. Results do not depend on the number of threads, on how tokens
    are cut into passes, or on what else is in a pass.

    Args:
        path: of model.bin.
        norm_eps: epsilon of the norms where the file does not hold it (layer_norm_epsilon of config.json).
        num_threads: in [1, 256], this one among them; they spin for up to 0.1 ms between pieces of work, then sleep.

    Raises:
        RuntimeError: the file is missing, damaged, contradicts itself or is no such model; the message names the field.
    """

    def __init__(self, path: Path, *, norm_eps: float, num_threads: int) -> None:
        self._native = core.RuntimeModel(str(path), norm_eps, _count(num_threads, "num_threads"))

    @property
    def num_threads(self) -> int:
        """Threads of a pass."""
        return self._native.num_threads

    @property
    def hidden_size(self) -> int:
        """Entries of a hidden state."""
        return self._native.hidden_size

    @property
    def vocab_size(self) -> int:
        """Logits of a token."""
        return self._native.vocab_size

    @property
    def is_encoder(self) -> bool:
        """Whether it encodes whole texts instead of continuing sessions."""
        return self._native.is_encoder

    def nbytes(self) -> int:
        """Return the memory of the weights, in bytes."""
        return self._native.nbytes()

    def session(self, *, context_tokens: int, kv: KvType = "float32") -> RuntimeSession:
        """Return an empty session; its memory grows with its tokens, up to `context_tokens`.

        Args:
            context_tokens: the most it may hold.
            kv: type of keys and values; int8 takes a quarter of the memory and of the time that reading them takes.
        """
        return RuntimeSession(self._native.session(kv, _count(context_tokens, "context_tokens")))

    def restore(self, snapshot: bytes, *, context_tokens: int) -> RuntimeSession:
        """Return the session of `RuntimeSession.save`.

        Raises:
            ValueError: damaged, of another model or version, or longer than `context_tokens`.
        """
        return RuntimeSession(self._native.restore(snapshot, _count(context_tokens, "context_tokens")))

    @overload
    def advance(
        self,
        sessions: Sequence[RuntimeSession],
        ids: Sequence[Ids],
        *,
        want: Literal["logits"] = ...,
        tails: None = ...,
    ) -> None: ...
    @overload
    def advance(
        self,
        sessions: Sequence[RuntimeSession],
        ids: Sequence[Ids],
        *,
        want: Literal["logits"] = ...,
        tails: Sequence[int],
    ) -> Floats: ...
    @overload
    def advance(
        self,
        sessions: Sequence[RuntimeSession],
        ids: Sequence[Ids],
        *,
        want: Literal["all_logits", "logprobs", "hidden"],
        tails: None = ...,
    ) -> Floats: ...
    def advance(
        self,
        sessions: Sequence[RuntimeSession],
        ids: Sequence[Ids],
        *,
        want: Want = "logits",
        tails: Sequence[int] | None = None,
    ) -> Floats | None:
        """Append tokens to sessions, all in one pass over the weights (a pass for each 256 tokens).

        Args:
            sessions: each at most once.
            ids: of each session, (n,) int32, at least one.
            want: "logits" keeps those after the last token in each session. "all_logits" returns (total, vocab_size)
                beside that, "logprobs" (total,): the log-probability of each given token after those before it, NaN
                where the logits before it are not known. "hidden" returns (total, hidden_size), final hidden states,
                and no logits.
            tails: of each session how many of its last tokens, at least one; with "logits" returns theirs, (sum of the
                tails, vocab_size).

        Raises:
            ValueError: an id or a tail out of range, a session of another model, or more tokens than fit.
            RuntimeError: a session is in use by another thread.
            MemoryError: then the sessions hold the tokens they held, but no logits.
        """
        flat = np.concatenate(ids) if ids else np.empty(0, np.int32)
        lengths = np.array([len(one) for one in ids], np.int64)
        if tails is not None and want != "logits":
            raise ValueError(f"tails must be None with want {want!r}")
        last = lengths if want == "all_logits" else None if tails is None else np.array(tails, np.int64)
        kind = "logits" if want == "all_logits" else want
        return self._native.advance([session._native for session in sessions], flat, lengths, kind, last)

    def encode(self, ids: Sequence[Ids]) -> Floats:
        """Return (n, hidden_size): the mean of the last hidden states of each text of an encoder; not normalised.

        Args:
            ids: of each text, (length,) int32, at least one and at most as many as the model has positions.
        """
        lengths = np.array([len(one) for one in ids], np.int64)
        return self._native.encode(np.concatenate(ids) if ids else np.empty(0, np.int32), lengths)


class RuntimeSampler:
    """Draws next tokens, for one thread at a time, in the order of transformers: penalty, temperature, top_k, top_p,
    min_p.

    Args:
        temperature: 0 takes the most likely token.
        top_k: tokens kept; 0 = all.
        top_p: of what top_k left, the fewest most likely tokens whose probabilities reach this; in (0, 1].
        min_p: of what top_p left, tokens with at least this share of the most likely one's probability; in [0, 1].
        repetition_penalty: > 0; positive logits of repeated ids are divided by it, negative ones multiplied.
        seed: of the draws; the same on every platform.
        limit: >= 1; ids from here on are never drawn: rows of the head without a token.
    """

    def __init__(
        self,
        *,
        limit: int,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int = 0,
    ) -> None:
        if limit < 1:
            raise ValueError(f"limit must be >= 1 ({limit})")
        if not 0.0 <= temperature <= MAX_FLOAT32:  # beyond it a token that is not allowed could be drawn
            raise ValueError(f"temperature must be >= 0 and finite ({temperature})")
        if not 0.0 < top_p <= 1.0:
            raise ValueError(f"top_p must be in (0, 1] ({top_p})")
        if not 0.0 <= min_p <= 1.0:
            raise ValueError(f"min_p must be in [0, 1] ({min_p})")
        if not 0.0 < repetition_penalty < math.inf:
            raise ValueError(f"repetition_penalty must be > 0 and finite ({repetition_penalty})")
        self._native = core.RuntimeSampler(
            temperature, _count(top_k, "top_k"), top_p, min_p, repetition_penalty, seed % 2**64, limit
        )

    def next(
        self,
        session: RuntimeSession,
        *,
        seen_from: int = 0,
        allowed: npt.NDArray[np.bool_] | None = None,
        bias: Floats | None = None,
    ) -> tuple[int, float]:
        """Return the next token of `session` and its log-probability before temperature and the cuts.

        Args:
            session: with logits; it is not advanced.
            seen_from: tokens of the session from this place on count as repeated.
            allowed: (vocab_size,): ids that may be drawn.
            bias: (vocab_size,), added to the logits first.

        Raises:
            ValueError: the session has no logits, no token is left, or a logit is NaN or +infinity.
        """
        return self._native.next(session._native, seen_from, allowed, bias)

    def choose(self, logits: Floats, seen: Ids) -> tuple[int, float]:
        """Return the same from (n,) logits and the ids that count as repeated."""
        return self._native.choose(logits, seen)


def _count(value: int, name: str) -> int:
    if value < 0:
        raise ValueError(f"{name} must be >= 0 ({value})")
    return value
