"""The figures of one model on a holdout, each with its value for every question."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ruvllm.inference.perplexity import Windows, runtime_logprobs
from ruvllm.tuning.validation import answers as scoring
from ruvllm.tuning.validation.answers import Answer
from ruvllm.tuning.validation.holdout import HoldoutDataset, HoldoutItem

__all__ = ["Judge", "Metrics", "metrics_of", "perplexity_by_window"]

Floats = npt.NDArray[np.float64]

Judge = Callable[[HoldoutItem, str], float]
"""Maps an item and an answer to a quality in [0, 1]."""


@dataclass(frozen=True)
class Metrics:
    """What was measured of a model; None: it was not.

    Attributes:
        accuracy: share of right answers.
        f1: mean token F1 with the nearest accepted answer.
        judge_quality: mean quality in [0, 1].
        perplexity: of a general text, what the model knew before it was tuned.
        refusal_rate: share of answers that decline; where declining is right it does not count.
        format_rate: share of whole answers in the form that was asked for.
        latency_ms: median time of an answer.
        bytes: of the model on disk.
        by_question: (n,) values behind a figure, of latency and perplexity logarithms; the figure alone where there are
            none.
    """

    accuracy: float
    f1: float | None = None
    judge_quality: float | None = None
    perplexity: float | None = None
    refusal_rate: float | None = None
    format_rate: float | None = None
    latency_ms: float | None = None
    bytes: int | None = None
    by_question: Mapping[str, Floats] = field(default_factory=dict, repr=False, compare=False)


def metrics_of(
    holdout: HoldoutDataset,
    given: Sequence[Answer],
    *,
    judge: Judge | None = None,
    nats_by_window: Floats | None = None,
    bytes: int | None = None,
) -> Metrics:
    """Return the figures of the answers that a model gave to the items of `holdout`, in its order.

    Raises:
        ValueError: there is not one answer for each item, or a quality of `judge` is not in [0, 1].
    """
    if len(given) != len(holdout):
        raise ValueError(f"given must hold one answer for each item ({len(given)} for {len(holdout)})")
    pairs = list(zip(holdout.items, given, strict=True))
    by_question: dict[str, Floats] = {
        "accuracy": _values(scoring.is_right(item, one.text) for item, one in pairs),
        "f1": _values(scoring.f1(item, one.text) for item, one in pairs),
        "refusal_rate": _values(
            scoring.is_refusal(one.text) and not any(map(scoring.is_refusal, item.answers)) for item, one in pairs
        ),
        "format_rate": _values(scoring.is_well_formed(item, one) for item, one in pairs),
        "latency_ms": np.log(np.maximum(_values(one.latency_ms for one in given), 1e-3)),
    }
    if judge is not None:
        by_question["judge_quality"] = _values(0.0 if one.has_failed else judge(item, one.text) for item, one in pairs)
        if not ((by_question["judge_quality"] >= 0.0) & (by_question["judge_quality"] <= 1.0)).all():
            raise ValueError("judge must return qualities in [0, 1]")
    if nats_by_window is not None:
        by_question["perplexity"] = nats_by_window
    means = {name: float(values.mean()) for name, values in by_question.items()}
    return Metrics(
        accuracy=means["accuracy"],
        f1=means["f1"],
        judge_quality=means.get("judge_quality"),
        perplexity=float(np.exp(means["perplexity"])) if "perplexity" in means else None,
        refusal_rate=means["refusal_rate"],
        format_rate=means["format_rate"],
        latency_ms=float(np.exp(np.median(by_question["latency_ms"]))),
        bytes=bytes,
        by_question=by_question,
    )


def perplexity_by_window(model_dir: Path, windows: Windows, num_threads: int) -> Floats:
    """Return the mean negative log-probability of a token of each window, all of one length, in nats."""
    logprobs = runtime_logprobs(model_dir, windows, num_threads).astype(np.float64)
    return np.asarray(-logprobs.reshape(len(windows), -1).mean(axis=1))


def _values(found: Iterable[float]) -> Floats:
    return np.fromiter(found, np.float64)
