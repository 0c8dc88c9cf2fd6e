"""`ruvllm bench perplexity`: what quantizing a decoder costs, as perplexity over windows of a text."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.timing import compared
from ruvllm.config import ModelsConfig
from ruvllm.inference.local_model import load_tokenizer
from ruvllm.inference.open import find_or_pull
from ruvllm.inference.runtime_model import open_runtime
from ruvllm.models import read_card
from ruvllm.models.cache import directory_name

__all__ = ["QUANTIZATIONS", "ctranslate2_logprobs", "read_text", "run", "runtime_logprobs"]

QUANTIZATIONS = ("float32", "int8", "int4")  # the first is what the others are held against
INT8_LOSS_PERCENT = 1.0

Windows = list[list[int]]
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
    pieces = _windows(text, folders["int8"], windows, window)
    ours, theirs = {}, {}
    for quantization, folder in folders.items():

        def show(done: int, quantization: str = quantization) -> None:
            on_progress(quantization, done, windows)

        ours[quantization] = _perplexity(runtime_logprobs(folder, pieces, num_threads, show))
        if quantization != "int4":  # our own format
            theirs[quantization] = _perplexity(ctranslate2_logprobs(folder, pieces, num_threads))
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


def read_text(path: Path) -> str:
    """Return a text file, which may be gzipped."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as stream:
        return stream.read()


def runtime_logprobs(
    model_dir: Path, windows: Windows, num_threads: int, on_window: Callable[[int], None] = lambda done: None
) -> np.ndarray:
    """Return the log-probability of every token of every window but the first, by the runtime."""
    model = open_runtime(model_dir, read_card(model_dir), num_threads=num_threads)
    found = []
    for done, ids in enumerate(windows, 1):
        session = model.session(context_tokens=len(ids))
        found.append(model.advance([session], [np.array(ids, np.int32)], want="logprobs")[1:])
        on_window(done)
    return np.concatenate(found)


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


def _windows(text: Path, model_dir: Path, windows: int, window: int) -> Windows:
    tokenizer = load_tokenizer(model_dir, read_card(model_dir))
    ids = tokenizer.encode(read_text(text), add_special_tokens=False).ids
    if len(ids) < windows * window:
        raise ValueError(f"{text} has {len(ids)} tokens; {windows} windows of {window} need {windows * window}")
    return [ids[i * window : (i + 1) * window] for i in range(windows)]


def _perplexity(logprobs: np.ndarray) -> float:
    return float(np.exp(-np.mean(logprobs, dtype=np.float64)))


def _loss(perplexities: dict[str, float], quantization: str) -> float:
    """Return by how many percent a perplexity is above float32's."""
    return 100.0 * (perplexities[quantization] / perplexities["float32"] - 1.0)
