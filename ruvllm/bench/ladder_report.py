"""What the log of a ladder shows: each tier's quality and cost, when a larger one is needed, and what foretells it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ruvllm.bench.report import Row, bootstrap_interval

__all__ = ["report_rows", "roc_auc"]

Logged = Mapping[str, Any]

SIGNS: Mapping[str, Callable[[Logged, str], float]] = {
    "top probability": lambda row, probe: -row[probe]["top_probability"],
    "margin": lambda row, probe: -row[probe]["margin"],
    "entropy": lambda row, probe: row[probe]["entropy"],
    "prompt log-probability": lambda row, probe: -row[probe]["prompt_logprob"],
}
"""Numbers of a probe, turned so that more means more doubt."""


def roc_auc(values: np.ndarray, positive: np.ndarray) -> float:
    """Return how likely a positive's value lies above a negative's, ties counted half; NaN when one of them is missing.

    Args:
        values: (n,).
        positive: (n,) bool.
    """
    above = values[positive][:, None] - values[~positive][None, :]
    return float((np.sign(above) + 1.0).mean() / 2.0) if above.size else float("nan")


def report_rows(logged: Sequence[Logged]) -> list[Row]:
    """Return the figures of each benchmark, then those of all together."""
    benchmarks = dict.fromkeys(row["benchmark"] for row in logged)
    rows: list[Row] = []
    for benchmark in benchmarks:
        rows += _rows(benchmark, [row for row in logged if row["benchmark"] == benchmark])
    return rows + (_rows("all", logged) if len(benchmarks) > 1 else [])


def _rows(name: str, logged: Sequence[Logged]) -> list[Row]:
    models = list(logged[0]["score"])
    right = np.array([[row["score"][model] for model in models] for row in logged], bool)  # (n, tiers)
    rows = [Row(f"{name}, questions", len(logged), "count")]
    for model, of_model in zip(models, right.T, strict=True):
        rows.append(_share(f"{name}, {model}, accuracy", of_model))
        for field, unit in (("latency_ms", "ms"), ("cost", "core s"), ("prompt_tokens", "tokens")):
            rows.append(Row(f"{name}, {model}, {field}", _mean(logged, field, model), unit))
        rows.append(Row(f"{name}, {model}, completion_tokens", _mean(logged, "completion_tokens", model), "tokens"))
    wrong = ~right[:, 0]
    rows.append(_share(f"{name}, a larger tier is needed", wrong & right.any(axis=1)))
    rows.append(_share(f"{name}, none is right", ~right.any(axis=1)))
    rows.append(_share(f"{name}, the smallest is right and the largest wrong", right[:, 0] & ~right[:, -1]))
    for probe, title in (("probe", "probe of the question"), ("prompt_probe", "probe of the whole prompt")):
        for sign, doubt in SIGNS.items():
            values = np.array([doubt(row, probe) for row in logged])
            rows.append(Row(f"{name}, the smallest is wrong by {title}, {sign}", roc_auc(values, wrong), "ROC-AUC"))
    for part in ("mean", "min"):
        own = np.array([-row["answer_logprob"][models[0]].get(part, -np.inf) for row in logged])
        title = f"{name}, the smallest is wrong by its answer's {part} log-probability"
        rows.append(Row(title, roc_auc(own, wrong), "ROC-AUC"))
    return rows


def _share(name: str, holds: np.ndarray) -> Row:
    values = holds.astype(float)
    return Row(name, float(values.mean()), "fraction", bootstrap_interval(values))


def _mean(logged: Sequence[Logged], field: str, model: str) -> float:
    return float(np.mean([row[field][model] for row in logged]))
