"""Attribution: which of the sources an answer was shown did it really need?

A logistic model over what ranking knew of each source and over the answer's own words, calibrated on answers of a
reader of 0.5 B parameters, on gold answers and without an answer, over 2Wiki, HotpotQA, XQuAD and PubMedQA. LoCoMo, on
which it is measured, is not in the fit: its labels are noisy and not free to use. docs/memory.md has the figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ruvllm.attention.features import FEATURES
from ruvllm.text import containment, normalized_tokens

__all__ = ["ATTRIBUTION_FEATURES", "CALIBRATED", "attribute", "attribution_features", "calibrate", "says", "sharpened"]

Floats = npt.NDArray[np.float32]
Weights = Mapping[str, float]

_OF_NODES = ("log_prior", "similarity", "named", "cites_in_named")
ATTRIBUTION_FEATURES = (*_OF_NODES, "question", "contained", "only_span")
"""Of one source beside the mean of those shown with it: what ranking knew, the share of the question's words in it,
that of the answer's words, and whether the answer stands in it and in no other.

What is credited is taught to the ranking, so that nothing is here that a fit may count with the wrong sign and training
would then teach: degrees, order, rare names, and the keyword score, which fits counted against a source beside the
question's words."""

CALIBRATED: Weights = {
    "log_prior": 1.44, "similarity": 0.83, "named": 0.29, "cites_in_named": 0.48, "question": 2.15, "contained": 0.78,
    "only_span": 1.88, "intercept": -0.43,
}  # fmt: skip
"""The weights in force; `calibrate` fits others."""

SAYS_NOTHING = frozenset(("", "yes", "no"))
SAYS_IT = 0.9  # share of an answer's words that a text holds which says it
SHARPNESS = 2.0  # credits are taught as their squares: what was hardly needed teaches next to nothing
RIDGE = 3.0  # pull of `calibrate` towards 0, in sources
MAX_STEPS = 50


def attribute(
    question: str, answer: str, texts: Sequence[str], node_features: Floats, weights: Weights = CALIBRATED
) -> Floats:
    """Return the credit of each shown source, (m,) float32 in [0, 1]: the chance that the answer needed it.

    Args:
        question: as it was asked.
        answer: as it was given; empty when there is none.
        texts: of the m sources with their titles, best ranked first.
        node_features: (m, len(FEATURES)), their rows of `features.node_features`.
    """
    rows = attribution_features(question, answer, texts, node_features)
    logits = rows @ np.array([weights[name] for name in ATTRIBUTION_FEATURES]) + weights["intercept"]
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0))), np.float32)


def says(text: str, answer: str) -> bool:
    """Return whether a text holds an answer's words: all but a few, so that who says the opposite does not count."""
    return containment(answer, text) >= SAYS_IT


def sharpened(credit: Floats) -> Floats:
    """Return credits as they are taught: squared, and summing to 1 unless all are 0."""
    squared = np.asarray(credit, np.float32) ** SHARPNESS
    total = float(squared.sum())
    return squared / total if total > 0.0 else squared


def attribution_features(question: str, answer: str, texts: Sequence[str], node_features: Floats) -> Floats:
    """Return (m, len(ATTRIBUTION_FEATURES)) float32, each column less its mean; arguments as for `attribute`."""
    words = normalized_tokens(answer)
    if " ".join(words) in SAYS_NOTHING:
        words, answer = [], ""
    span = np.array([_holds(normalized_tokens(text), words) for text in texts], np.float32)
    columns = [
        *(node_features[:, FEATURES.index(name)] for name in _OF_NODES),
        np.array([containment(question, text) for text in texts], np.float32),
        np.array([containment(answer, text) if words else 0.0 for text in texts], np.float32),
        span if span.sum() == 1.0 else np.zeros_like(span),
    ]
    rows = np.column_stack(columns).astype(np.float32)
    return np.asarray(rows - rows.mean(axis=0), np.float32)


def calibrate(rows: Floats, needed: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Return weights for `attribute` by ridge-penalised logistic regression; nothing counts against a source.

    Args:
        rows: (n, len(ATTRIBUTION_FEATURES)) of many answers' sources, from `attribution_features`.
        needed: (n,) which of them their answers needed.

    Raises:
        ValueError: another shape, or all of one kind.

    Source: Newton's method, as in Bishop 2006, section 4.3.3 (iteratively reweighted least squares).
    """
    if rows.ndim != 2 or rows.shape != (len(needed), len(ATTRIBUTION_FEATURES)):
        raise ValueError(f"rows must have shape ({len(needed)}, {len(ATTRIBUTION_FEATURES)}) ({rows.shape})")
    if needed.all() or not needed.any():
        raise ValueError("needed must hold both kinds of sources")
    scale = rows.std(axis=0) + 1e-6
    kept = np.ones(rows.shape[1], np.bool_)
    while True:
        w = _logistic(np.where(kept, rows / scale, 0.0), needed)
        if not (w[:-1] < 0.0).any():
            break
        kept &= w[:-1] >= 0.0
    fitted = dict(zip(ATTRIBUTION_FEATURES, (w[:-1] / scale).tolist(), strict=True))
    return fitted | {"intercept": float(w[-1])}


def _logistic(rows: Floats, needed: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return weights and, last, the intercept."""
    x = np.column_stack([rows, np.ones(len(rows))]).astype(np.float64)
    penalty = np.append(np.full(x.shape[1] - 1, RIDGE), 0.0)
    w = np.zeros(x.shape[1])
    for _ in range(MAX_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ w, -30.0, 30.0)))
        gradient = x.T @ (p - needed) + penalty * w
        hessian = (x * (p * (1.0 - p))[:, None]).T @ x + np.diag(penalty + 1e-9)
        step = np.linalg.solve(hessian, gradient)
        w -= step
        if np.abs(step).max() < 1e-6:
            break
    return w


def _holds(words: Sequence[str], phrase: Sequence[str]) -> bool:
    return bool(phrase) and f" {' '.join(phrase)} " in f" {' '.join(words)} "  # no word holds a space
