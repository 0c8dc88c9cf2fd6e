"""`ruvllm bench perplexity`: what quantizing a decoder costs, as perplexity over windows of a text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.timing import compared
from ruvllm.config import ModelsConfig
from ruvllm.inference.open import find_or_pull
from ruvllm.inference.perplexity import Windows, perplexity_of, runtime_logprobs, token_windows
from ruvllm.models.cache import directory_name

__all__ = ["QUANTIZATIONS", "ctranslate2_logprobs", "run"]

QUANTIZATIONS = ("float32", "int8", "int4")  # the first is what the others are held against
INT8_LOSS_PERCENT = 1.0

Progress = Callable[[str, int, int], None]


def run(
    text: Path,
    model: str,
    config: ModelsConfig,
    *,
    windows: int = 24,
    window: int = 512,
    num_threads: int,
    on_progress: Progress = lambda what, done, total: None,
) -> Report:
    """Measure a catalogue model in each quantization on the first tokens of a text.

    Args:
        windows, window: how many pieces of how many tokens; a piece knows nothing of those before it.

    Raises:
        ValueError: the text is shorter than that.
        PullError: the model cannot be fetched.
    """
    folders = {q: find_or_pull(directory_name(model, q), config, task="generate") for q in QUANTIZATIONS}
    pieces = token_windows(text, folders["int8"], windows=windows, window=window)
    ours, theirs = {}, {}
    for quantization, folder in folders.items():

        def show(done: int, quantization: str = quantization) -> None:
            on_progress(quantization, done, windows)

        ours[quantization] = perplexity_of(runtime_logprobs(folder, pieces, num_threads, show))
        if quantization != "int4":  # our own format
            theirs[quantization] = perplexity_of(ctranslate2_logprobs(folder, pieces, num_threads))
    rows: list[Row] = []
    for quantization, value in ours.items():
        peers = {"CTranslate2": theirs[quantization]} if quantization in theirs else {}
        rows.append(compared(f"{model} {quantization}", value, peers, unit="perplexity"))
    for quantization in QUANTIZATIONS[1:]:
        peers = {"CTranslate2": _loss(theirs, quantization)} if quantization in theirs else {}
        target = INT8_LOSS_PERCENT if quantization == "int8" else None
        rows.append(
            compared(f"{model} {quantization} over float32", _loss(ours, quantization), peers, unit="%", target=target)
        )
    return make_report("perplexity", rows)


def ctranslate2_logprobs(model_dir: Path, windows: Windows, num_threads: int) -> np.ndarray:
    """Return the same by CTranslate2."""
    import ctranslate2

    generator = ctranslate2.Generator(str(model_dir), device="cpu", intra_threads=num_threads)
    tokens = json.loads((model_dir / "vocabulary.json").read_text(encoding="utf-8"))
    found = []
    for ids in windows:
        (scored,) = generator.score_batch([[tokens[i] for i in ids]])
        found.append(scored.log_probs)
    return np.concatenate(found)


def _loss(perplexities: dict[str, float], quantization: str) -> float:
    """Return by how many percent a perplexity is above float32's."""
    return 100.0 * (perplexities[quantization] / perplexities["float32"] - 1.0)
