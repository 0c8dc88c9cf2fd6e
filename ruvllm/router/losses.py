"""The routing loss and the losses of the router's heads, each with its gradient. A missing outcome counts nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ruvllm.router.model import sigmoid

__all__ = [
    "LATENCY_QUANTILE",
    "binary_loss",
    "class_loss",
    "difference_loss",
    "doubly_robust",
    "policy_loss",
    "quantile_loss",
    "softmax",
]

Floats = npt.NDArray[np.float32]

LATENCY_QUANTILE = 0.9
LEAST_PROPENSITY = 0.02  # a rarer try counts as this: 50 times itself; also one that no draw decided, 0


def softmax(logits: Floats) -> Floats:
    """Return the softmax over the last axis."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    out: Floats = e / e.sum(axis=-1, keepdims=True)
    return out


def binary_loss(logits: Floats, targets: Floats) -> tuple[float, Floats]:
    """Return the sum of the cross-entropies to targets in [0, 1], where they are known, and the gradient p - y."""
    is_known = ~np.isnan(targets)
    y = np.where(is_known, targets, 0.0)
    p = sigmoid(logits)
    loss = np.logaddexp(0.0, logits) - y * logits
    return float(loss[is_known].sum()), np.where(is_known, p - y, 0.0).astype(np.float32)


def difference_loss(logits: Floats, targets: Floats) -> tuple[float, Floats]:
    """Return half the squared error of differences of quality between neighbouring tiers, both known, and its gradient.

    Most of what decides a question's quality is the same for all tiers; a router lives on the rest.

    Args:
        logits, targets: (..., T), the cheapest tier first.
    """
    p = sigmoid(logits)
    error = np.diff(p, axis=-1) - np.diff(targets, axis=-1)
    error = np.where(np.isnan(error), 0.0, error)
    by_p = np.zeros_like(p)
    by_p[..., 1:] += error
    by_p[..., :-1] -= error
    return float(0.5 * np.square(error).sum()), (by_p * p * (1.0 - p)).astype(np.float32)


def quantile_loss(log_latency: Floats, latency_ms: Floats) -> tuple[float, Floats]:
    """Return the pinball loss of log latencies at `LATENCY_QUANTILE`, where known, and its gradient."""
    is_known = ~np.isnan(latency_ms)
    error = np.log(np.where(is_known, latency_ms, 1.0)) - log_latency  # > 0: it took longer
    q = LATENCY_QUANTILE
    loss = np.where(error > 0.0, q * error, (q - 1.0) * error)
    gradient = np.where(error > 0.0, -q, 1.0 - q)
    return float(loss[is_known].sum()), np.where(is_known, gradient, 0.0).astype(np.float32)


def class_loss(logits: Floats, labels: npt.NDArray[np.int64]) -> tuple[float, Floats]:
    """Return the cross-entropy to class `labels`, (...,), where they are >= 0, and the gradient p - y."""
    is_known = labels >= 0
    y = np.eye(logits.shape[-1], dtype=np.float32)[np.where(is_known, labels, 0)]
    p = softmax(logits)
    loss = -np.log(np.maximum((p * y).sum(axis=-1), 1e-12))
    return float(loss[is_known].sum()), np.where(is_known[..., np.newaxis], p - y, 0.0).astype(np.float32)


def doubly_robust(model: Floats, observed: Floats, propensity: Floats) -> Floats:
    """Return f_k + 1[k tried] (L_k - f_k) / propensity_k: the value of each tier, tried or not.

    Args:
        model: (..., T) f, what a fitted model expects. observed: (..., T), NaN where a tier was not tried.
        propensity: (..., T) in (0, 1], how likely it was that the tier was tried.

    Source: Dudik et al. 2011 (arXiv:1103.4601).
    """
    tried = ~np.isnan(observed)
    weight = np.where(tried, 1.0 / np.where(tried, np.maximum(propensity, LEAST_PROPENSITY), 1.0), 0.0)
    value: Floats = (model + weight * np.where(tried, observed - model, 0.0)).astype(np.float32)
    return value


def policy_loss(logits: Floats, losses: Floats, *, entropy_weight: float = 0.01) -> tuple[float, Floats]:
    """Return the sum of J = sum_k p_k L_k - tau entropy(p), with p the softmax of `logits`, and its gradient.

    dJ/dlogit_k = p_k (L_k - sum_j p_j L_j), and the entropy's, which keeps exploration alive.
    """
    p = softmax(logits)
    log_p = np.log(np.maximum(p, 1e-12))
    value = losses + entropy_weight * log_p
    mean = (p * value).sum(axis=-1, keepdims=True)
    return float(mean.sum()), (p * (value - mean)).astype(np.float32)
