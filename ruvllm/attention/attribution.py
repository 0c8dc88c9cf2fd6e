"""Attribution: which of the sources an answer was shown did it really need?

A logistic model over what ranking knew of each source and over the answer's own words, calibrated on answers of a
reader of 0.5 B parameters, on gold answers and without an answer, over 2Wiki, HotpotQA, XQuAD, PubMedQA and LoCoMo.
Earlier fits of nearly these features, made without the set they were asked about, told gold from the other shown
sources of a question with an AUROC of 0.92 to 0.93 on 2Wiki (the rank alone: 0.90). On HotpotQA they did so only with
the gold answer's words (0.92, rank 0.89); with a small reader's own answers, right ones too, they were no better than
the rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ruvllm.attention.features import FEATURES
from ruvllm.text import containment, normalized_tokens

__all__ = ["ATTRIBUTION_FEATURES", "CALIBRATED", "attribute", "attribution_features", "calibrate", "sharpened"]

Floats = npt.NDArray[np.float32]
Weights = Mapping[str, float]

_OF_NODES = (
    "log_prior", "similarity", "keyword", "named", "cites_out_named", "cites_in_named", "cites_in_score",
    "cites_out_score", "log_in", "log_out", "rest", "order_in_score", "order_out_score", "shared_in_score",
    "shared_out_score", "speaker",
)  # fmt: skip
ATTRIBUTION_FEATURES = ("rank", *_OF_NODES, "question", "contained", "span", "only_span")
"""Of one source beside the mean of those shown with it: its rank, what ranking knew, the share of the question's words
in it, that of the answer's words, whether the answer stands in it, and whether it does in no other."""

CALIBRATED: Weights = {
    "rank": -0.16, "log_prior": 1.38, "similarity": 0.53, "keyword": -0.91, "named": 0.78, "cites_out_named": -0.47,
    "cites_in_named": 0.71, "cites_in_score": 0.36, "cites_out_score": -0.54, "log_in": -1.23, "log_out": 1.32,
    "rest": 0.29, "order_in_score": -0.37, "order_out_score": 0.02, "shared_in_score": 0.54, "shared_out_score": -0.48,
    "speaker": 0.31, "question": 4.54, "contained": 1.11, "span": -1.38, "only_span": 2.91, "intercept": -1.0,
}  # fmt: skip
"""The weights in force; `calibrate` fits others."""

SAYS_NOTHING = frozenset(("", "yes", "no"))
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
        np.arange(len(texts), dtype=np.float32),
        *(node_features[:, FEATURES.index(name)] for name in _OF_NODES),
        np.array([containment(question, text) for text in texts], np.float32),
        np.array([containment(answer, text) if words else 0.0 for text in texts], np.float32),
        span,
        span / max(float(span.sum()), 1.0),
    ]
    rows = np.column_stack(columns).astype(np.float32)
    return np.asarray(rows - rows.mean(axis=0), np.float32)


def calibrate(rows: Floats, needed: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Return weights for `attribute` by ridge-penalised logistic regression.

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
    x = np.column_stack([rows / scale, np.ones(len(rows))]).astype(np.float64)
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
    fitted = dict(zip(ATTRIBUTION_FEATURES, (w[:-1] / scale).tolist(), strict=True))
    return fitted | {"intercept": float(w[-1])}


def _holds(words: Sequence[str], phrase: Sequence[str]) -> bool:
    n = len(phrase)
    return n > 0 and any(words[i : i + n] == phrase for i in range(len(words) - n + 1))
