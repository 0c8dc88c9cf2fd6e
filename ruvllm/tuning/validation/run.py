"""A student and its baseline asked the same questions, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from ruvllm.inference.engine import Engine
from ruvllm.inference.local_model import available_threads
from ruvllm.inference.perplexity import token_windows
from ruvllm.inference.runtime_engine import RuntimeEngine
from ruvllm.tuning.validation.answers import Answer, answer
from ruvllm.tuning.validation.holdout import HoldoutDataset
from ruvllm.tuning.validation.metrics import Floats, Judge, metrics_of, perplexity_by_window
from ruvllm.tuning.validation.result import Limits, ValidationResult
from ruvllm.types import GenerationOptions

__all__ = ["WINDOWS", "WINDOW_TOKENS", "validate", "validate_engines"]

Progress = Callable[[str, int, int], None]

WINDOWS, WINDOW_TOKENS = 32, 512  # of general text
LIMITS = Limits()
OPTIONS = GenerationOptions(max_new_tokens=48)


def validate(
    student_dir: Path,
    baseline_dir: Path,
    holdout: HoldoutDataset,
    *,
    text: Path | None = None,
    windows: int = WINDOWS,
    window_tokens: int = WINDOW_TOKENS,
    judge: Judge | None = None,
    limits: Limits = LIMITS,
    options: GenerationOptions = OPTIONS,
    num_threads: int = 0,
    context_tokens: int = 2048,
    on_progress: Progress = lambda what, done, total: None,
) -> ValidationResult:
    """Return how a student compares with the model it was made from; both are directories of the runtime.

    Args:
        text: general text of which the perplexity is measured, which shows what was forgotten; None for none.
        windows, window_tokens: how many pieces of how many tokens of it.
        judge: maps an item and an answer to a quality; None for none.
        options: of every answer; greedy, as they are by default, both models answer the same way every time.

    Raises:
        ModelDamaged, ModelUnsupported: a model cannot be loaded.
        ValueError: `text` is too short, or the two read it in other tokens.
    """
    nats: tuple[Floats | None, Floats | None] = (None, None)
    if text is not None:
        on_progress("perplexity", 0, 1)
        nats = _nats(text, student_dir, baseline_dir, windows, window_tokens, num_threads)
    with (
        closing(RuntimeEngine(student_dir, num_threads=num_threads, context_tokens=context_tokens)) as student,
        closing(RuntimeEngine(baseline_dir, num_threads=num_threads, context_tokens=context_tokens)) as baseline,
    ):
        answers = _ask(student, baseline, holdout, options, on_progress)
        sizes = student.size_bytes, baseline.size_bytes
    x, y = (
        metrics_of(holdout, given, judge=judge, nats_by_window=found, bytes=size)
        for given, found, size in zip(answers, nats, sizes, strict=True)
    )
    return ValidationResult(x, y, limits, holdout.sha256)


def validate_engines(
    student: Engine,
    baseline: Engine,
    holdout: HoldoutDataset,
    *,
    judge: Judge | None = None,
    limits: Limits = LIMITS,
    options: GenerationOptions = OPTIONS,
    on_progress: Progress = lambda what, done, total: None,
) -> ValidationResult:
    """Return the same of engines of any kind: without perplexity and size, which need the weights."""
    given = _ask(student, baseline, holdout, options, on_progress)
    x, y = (metrics_of(holdout, one, judge=judge) for one in given)
    return ValidationResult(x, y, limits, holdout.sha256)


def _nats(
    text: Path, student_dir: Path, baseline_dir: Path, windows: int, window_tokens: int, num_threads: int
) -> tuple[Floats, Floats]:
    """Return the mean nats of a token in each window of `text`, of either model."""
    pieces = token_windows(text, student_dir, windows=windows, window=window_tokens)
    if pieces != token_windows(text, baseline_dir, windows=windows, window=window_tokens):
        raise ValueError("student and baseline must have one tokenizer: perplexities of other tokens do not compare")
    threads = available_threads(num_threads)
    return perplexity_by_window(student_dir, pieces, threads), perplexity_by_window(baseline_dir, pieces, threads)


def _ask(
    student: Engine, baseline: Engine, holdout: HoldoutDataset, options: GenerationOptions, on_progress: Progress
) -> tuple[list[Answer], list[Answer]]:
    """Return the answers of both, asked in turn, so that a busy machine slows both down alike; who is first changes."""
    engines = (student, baseline)
    given: tuple[list[Answer], list[Answer]] = ([], [])
    for done, item in enumerate(holdout.items):
        on_progress("questions", done, len(holdout))
        for which in (0, 1) if done % 2 else (1, 0):
            given[which].append(answer(engines[which], item, options))
    return given
