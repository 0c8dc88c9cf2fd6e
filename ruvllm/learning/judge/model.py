"""Signals to a quality: four logistic models, whose weights are shipped."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from ruvllm.learning.judge.signals import ANSWERABLE, GROUNDED, OPEN

__all__ = ["AGAINST", "HEADS", "Weights", "fit", "fit_signed", "said", "shipped"]

Weights = Mapping[str, float]
"""Weight of each signal, and "intercept"."""

HEADS: Mapping[str, Sequence[str]] = {"answerable": ANSWERABLE, "grounded": GROUNDED, "open": OPEN, "worked": OPEN}
"""The models and the signals that each reads."""

AGAINST = ("missing", "unsaid")
"""Signals of a grounded answer that can only count against it; all others can only count for it, but for its length,
which may do either. Where a fit says otherwise, the signal is left out: it tells of the set, not of answers."""

RIDGE = 3.0  # pull towards 0, in answers, of weights of signals in units of their spread
MAX_STEPS = 100


@cache
def shipped() -> dict[str, Any]:
    """Return the weights of each head, and what they were fitted on; `ruvllm bench judge --fit` writes the file."""
    text = files("ruvllm.learning.judge").joinpath("weights.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def said(signals: Mapping[str, float], weights: Weights) -> float:
    """Return what a head says of an answer, in (0, 1)."""
    z = weights["intercept"] + math.fsum(weights[name] * signals[name] for name in weights if name != "intercept")
    e = math.exp(-min(abs(z), 30.0))
    return 1.0 / (1.0 + e) if z >= 0.0 else e / (1.0 + e)


def fit_signed(
    rows: npt.NDArray[np.float64], labels: npt.NDArray[np.float64], names: Sequence[str]
) -> dict[str, float]:
    """Return the weights of `fit` with those of a wrong sign held at 0, see `AGAINST`."""
    sign = np.array([0.0 if name == "log_words" else -1.0 if name in AGAINST else 1.0 for name in names])
    kept = np.ones(len(names), np.bool_)
    while True:
        weights = fit(np.where(kept, rows, 0.0), labels, names)
        wrong = kept & (np.array([weights[name] for name in names]) * sign < 0.0)
        if not wrong.any():
            return weights
        kept &= ~wrong


def fit(rows: npt.NDArray[np.float64], labels: npt.NDArray[np.float64], names: Sequence[str]) -> dict[str, float]:
    """Return ridge-penalised logistic weights.

    Args:
        rows: (n, len(names)) signals, or differences of two answers' signals.
        labels: (n,) in [0, 1].

    Source: Newton's method, as in Bishop 2006, section 4.3.3 (iteratively reweighted least squares).
    """
    scale = rows.std(axis=0) + 1e-6
    x = np.column_stack([rows / scale, np.ones(len(rows))])
    penalty = np.append(np.full(rows.shape[1], RIDGE), 1e-9)
    w = np.zeros(x.shape[1])
    for _ in range(MAX_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ w, -30.0, 30.0)))
        hessian = (x * (p * (1.0 - p))[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(hessian, x.T @ (p - labels) + penalty * w)
        w -= step
        if np.abs(step).max() < 1e-9:
            break
    return dict(zip(names, (w[:-1] / scale).tolist(), strict=True)) | {"intercept": float(w[-1])}
