"""What the log of a ladder shows: each tier's quality and cost, when a larger one is needed, and what foretells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ruvllm.bench.report import Row, bootstrap_interval

__all__ = ["report_rows", "roc_auc"]

Logged = Mapping[str, Any]

MEANS = {"latency_ms": "ms", "cost": "core s", "prompt_tokens": "tokens", "completion_tokens": "tokens"}

DOUBT = {"top_probability": -1.0, "margin": -1.0, "entropy": 1.0, "mean_logprob": -1.0}
"""Numbers of a probe, with the sign that makes more of them more doubt."""


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
        for field, unit in MEANS.items():
            rows.append(Row(f"{name}, {model}, {field}", float(np.mean([row[field][model] for row in logged])), unit))
    smallest, wrong, any_right = models[0], ~right[:, 0], np.any(right, axis=1)
    rows.append(_share(f"{name}, a larger tier is needed", wrong & any_right))
    rows.append(_share(f"{name}, none is right", ~any_right))
    rows.append(_share(f"{name}, only the smallest is right", right[:, 0] & ~np.any(right[:, 1:], axis=1)))
    foretold = f"{name}, {smallest} is wrong by its"
    for probe, title in (("probe", "probe"), ("prompt_probe", "probe of the whole prompt")):
        for field, sign in DOUBT.items():
            doubt = np.array([sign * row[probe][field] for row in logged])
            rows.append(Row(f"{foretold} {title}, {field}", roc_auc(doubt, wrong), "ROC-AUC"))
    for field in ("mean", "min"):
        doubt = np.array([-row["answer_logprob"][smallest].get(field, -np.inf) for row in logged])
        rows.append(Row(f"{foretold} answer, {field}_logprob", roc_auc(doubt, wrong), "ROC-AUC"))
    return rows


def _share(name: str, holds: np.ndarray) -> Row:
    values = holds.astype(float)
    return Row(name, float(values.mean()), "fraction", bootstrap_interval(values))
