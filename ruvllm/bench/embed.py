"""`ruvllm bench embed`: one query and a batch of texts through MiniLM, by the runtime and by other engines.

All get the same token ids, except sentence-transformers, which tokenises for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ruvllm.bench import encoders
from ruvllm.bench.encoders import Encode
from ruvllm.bench.report import Report, make_report
from ruvllm.bench.timing import compared, race, seconds_per_call
from ruvllm.inference.local_model import load_tokenizer
from ruvllm.models import read_card

__all__ = ["BATCH_TEXTS", "BATCH_TOKENS", "QUERY_TOKENS", "peers_of", "run", "token_ids"]

QUERY_TOKENS, BATCH_TEXTS, BATCH_TOKENS = 16, 64, 128


def run(model_dir: Path, *, num_threads: int, rounds: int = 7, seconds: float = 0.3) -> Report:
    """Measure the MiniLM in `model_dir`.

    Args:
        num_threads: of every engine.
        rounds: every engine is measured once a round.
        seconds: time spent on one engine in one round.
    """
    card = read_card(model_dir)
    tokenizer = load_tokenizer(model_dir, card)
    query, batch = token_ids(tokenizer, 1, QUERY_TOKENS), token_ids(tokenizer, BATCH_TEXTS, BATCH_TOKENS)
    ours = encoders.runtime(model_dir, num_threads)
    peers = peers_of(model_dir, tokenizer, num_threads)
    threads = "1 thread" if num_threads == 1 else f"{num_threads} threads"
    one = race(
        f"MiniLM {card.quantization}, one query of {QUERY_TOKENS} tokens, {threads}",
        lambda: ours(query),
        {label: lambda encode=encode: encode(query) for label, encode in peers.items()},  # type: ignore[misc]
        unit="ms",
        target=1.0,
        rounds=rounds,
        seconds=seconds,
    )
    times = seconds_per_call(
        {label: lambda encode=encode: encode(batch) for label, encode in {"": ours, **peers}.items()},  # type: ignore[misc]
        rounds=rounds,
        seconds=seconds,
    )
    rates = {label: sum(map(len, batch)) / time for label, time in times.items()}
    many = compared(
        f"MiniLM {card.quantization}, {BATCH_TEXTS} texts of {BATCH_TOKENS} tokens, {threads}",
        rates.pop(""),
        rates,
        unit="tokens/s",
        target_ratio=3.0,
        more_is_better=True,
    )
    return make_report("embed", [one, many])


def peers_of(model_dir: Path, tokenizer: Tokenizer, num_threads: int) -> Mapping[str, Encode]:
    """Return the installed peers: CTranslate2 on one thread, on all, and with a worker for each."""

    def texts_of(ids: encoders.Ids) -> list[str]:
        return [tokenizer.decode(list(one)) for one in ids]

    found: dict[str, Encode | None] = {"CTranslate2 int8, 1 thread": encoders.ctranslate2(model_dir, 1)}
    if num_threads > 1:
        found[f"CTranslate2 int8, {num_threads} threads"] = encoders.ctranslate2(model_dir, num_threads)
        found[f"CTranslate2 int8, {num_threads} workers"] = encoders.ctranslate2(model_dir, 1, num_workers=num_threads)
    found["onnxruntime int8"] = encoders.onnxruntime(num_threads)
    found["torch bf16"] = encoders.torch_bf16(num_threads)
    found["sentence-transformers float32"] = encoders.sentence_transformers(num_threads, texts_of)
    return {label: encode for label, encode in found.items() if encode is not None}


def token_ids(tokenizer: Tokenizer, count: int, length: int, seed: int = 0) -> list[list[int]]:
    """Return `count` texts of about `length` tokens each, special tokens included, one exactly when there is one only.

    They are made of words that are one token each, so that their text has the same ids.
    """
    rng = np.random.default_rng(seed)
    words = [token for token in tokenizer.get_vocab() if token.isascii() and token.isalpha() and token.islower()]
    words.sort()  # the vocabulary comes in no stated order
    lengths = [length] if count == 1 else np.clip(rng.normal(length, length / 10, count), 3, 1.25 * length)
    return [tokenizer.encode(" ".join(rng.choice(words, int(size) - 2))).ids for size in lengths]
