"""What another policy would have reached on logged requests, from the one outcome that each of them has.

A row was sent to tier a with probability `propensity`; the policy in question would have sent it there with
`target[a]`; the importance weight is w = target[a] / propensity. Rows without a reward are left out, not counted as
failures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["MIN_EFFECTIVE", "Estimate", "TooFewSamples", "doubly_robust", "effective_sample_size", "ips", "snips"]

Floats = npt.NDArray[np.float64]
Tiers = npt.NDArray[np.integer]

MIN_EFFECTIVE = 100.0
RESAMPLES = 1000
CHUNK = 100  # resamples at a time


class TooFewSamples(ValueError):
    """The log holds too little of what the policy would do, `.effective`."""

    def __init__(self, effective: float) -> None:
        super().__init__(
            f"the log is worth {effective:.0f} requests of this policy, {MIN_EFFECTIVE:.0f} are needed: "
            f"explore more, or ask about a policy nearer to the logged one"
        )
        self.effective = effective


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean reward of a policy with its 95 % bootstrap interval, from a log worth `effective` of its requests."""

    value: float
    low: float
    high: float
    effective: float


def effective_sample_size(weights: Floats) -> float:
    """Return (sum w)^2 / sum w^2: how many requests of the policy the weighted log is worth."""
    squares = float(np.square(weights).sum())
    return float(np.sum(weights)) ** 2 / squares if squares > 0.0 else 0.0


def ips(target: Floats, tier: Tiers, propensity: Floats, reward: Floats, *, seed: int = 0) -> Estimate:
    """Return the estimate by inverse propensity, mean w r: unbiased, and as wide as the weights are.

    Args:
        target: (n, T) probabilities of the policy in question.
        tier: (n,) that each request was sent to.
        propensity: (n,) in (0, 1], the probability with which it was.
        reward: (n,) what came back, any unit; NaN where it is not known.

    Raises:
        TooFewSamples: the effective sample size is below 100.
        ValueError: shapes differ, or a probability is out of range.
    """
    rows = _Rows(target, tier, propensity, reward)
    return rows.estimate(rows.weights * rows.reward, None, seed)


def snips(target: Floats, tier: Tiers, propensity: Floats, reward: Floats, *, seed: int = 0) -> Estimate:
    """Return the self-normalised estimate, sum w r / sum w: a little biased, much narrower. Arguments as for `ips`."""
    rows = _Rows(target, tier, propensity, reward)
    return rows.estimate(rows.weights * rows.reward, rows.weights, seed)


def doubly_robust(
    target: Floats, tier: Tiers, propensity: Floats, reward: Floats, model: Floats, *, seed: int = 0
) -> Estimate:
    """Return the doubly robust estimate, right if either the propensities or the outcome model are.

    mean of sum_a target_a f_a + w (r - f_tier). Arguments as for `ips`, and `model` (n, T), the expected reward f of
    each tier, fitted on other rows.

    Source: Dudik, Langford and Li 2011 (arXiv:1103.4601).
    """
    rows = _Rows(target, tier, propensity, reward)
    model = np.asarray(model, np.float64)
    if model.shape != np.shape(target) or not np.isfinite(model).all():
        raise ValueError(f"model must be {np.shape(target)} and finite ({model.shape})")
    model = model[rows.known]
    direct = (rows.target * model).sum(axis=1)
    said = model[np.arange(len(model)), rows.tier]
    return rows.estimate(direct + rows.weights * (rows.reward - said), None, seed)


class _Rows:
    """Logged rows whose reward is known, checked."""

    def __init__(self, target: Floats, tier: Tiers, propensity: Floats, reward: Floats) -> None:
        target, propensity = np.asarray(target, np.float64), np.asarray(propensity, np.float64)
        tier, reward = np.asarray(tier), np.asarray(reward, np.float64)
        n = len(target)
        if target.ndim != 2 or any(column.shape != (n,) for column in (tier, propensity, reward)):
            raise ValueError(
                f"target must be (n, T), tier, propensity and reward (n,) "
                f"({target.shape}, {tier.shape}, {propensity.shape}, {reward.shape})"
            )
        if not (target >= 0.0).all() or not np.allclose(target.sum(axis=1), 1.0, atol=1e-4):
            raise ValueError("target must hold probabilities that sum to 1")
        if not ((propensity > 0.0) & (propensity <= 1.0)).all():
            raise ValueError("propensity must be in (0, 1]")
        if n and not (tier.min() >= 0 and tier.max() < target.shape[1]):
            raise ValueError(f"tier must be in 0..{target.shape[1] - 1}")
        self.known = np.isfinite(reward)
        self.target, self.tier, self.reward = target[self.known], tier[self.known], reward[self.known]
        self.weights = self.target[np.arange(len(self.tier)), self.tier] / propensity[self.known]

    def estimate(self, values: Floats, weights: Floats | None, seed: int) -> Estimate:
        """Return the mean of `values`, or their sum over that of `weights`, with its interval."""
        effective = effective_sample_size(self.weights)
        if effective < MIN_EFFECTIVE:
            raise TooFewSamples(effective)
        n, rng = len(values), np.random.default_rng(seed)
        over = np.ones(n) if weights is None else weights
        drawn = []
        for _ in range(RESAMPLES // CHUNK):
            copies = np.array([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(CHUNK)], np.float64)
            drawn.append((copies @ values) / (copies @ over))
        low, high = np.percentile(np.concatenate(drawn), [2.5, 97.5])
        return Estimate(float(values.sum() / over.sum()), float(low), float(high), effective)
