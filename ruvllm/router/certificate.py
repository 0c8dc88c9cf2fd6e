"""A promise about quality that holds with a stated probability, and what ends it.

A router sends a request to the cheapest tier whose score clears a threshold t, else to the largest. `certify` finds
the boldest threshold whose risk is at most `risk` with probability `confidence`, on calibration rows that are
exchangeable with the requests to come: every tier answered them, they were drawn before the answers, and nothing was
trained on them.

Learn then test: H_t says that the policy of threshold t loses more than `risk`. Thresholds are walked from safe to
bold, each is tested at level delta = 1 - confidence, and the first that cannot be rejected ends the walk. Only one true
hypothesis matters, the first on the way, so that no correction for their number is needed, and loss need not grow with
boldness. The walk passes over every real t; the number of losses changes only at the scores of calibration rows, where
it is evaluated, so that the order of the tests depends on no outcome.

Sources: Angelopoulos et al. 2021, Learn then Test (arXiv:2110.01052); Bates et al. 2021 (arXiv:2101.02703) for
Hoeffding-Bentkus; Clopper and Pearson 1934.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import ceil, e, inf, isfinite, log, log1p, pi
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

__all__ = [
    "Certificate",
    "Loss",
    "Refusal",
    "Watch",
    "binomial_cdf",
    "certify",
    "clopper_pearson",
    "fingerprint",
    "hoeffding_bentkus",
    "latency_factor",
    "losses",
    "routes",
    "rows_needed",
    "spent",
    "total_losses",
]

Floats = npt.NDArray[np.float64]
Loss = Literal["harm", "absolute", "regret"]
"""What counts against a route: "harm" that it misses the floor although the largest tier meets it, "absolute" that it
misses the floor, "regret" the quality by which it stays below the largest tier."""

BISECTIONS = 60
BETS = 16


# -- exact tests -----------------------------------------------------------------------------------------------------


def binomial_cdf(n: int, p: float) -> Floats:
    """Return P(Bin(n, p) <= k) for k = 0..n, (n + 1,), summed in log space: small tails keep their digits."""
    if not 0.0 < p < 1.0:
        return np.concatenate([np.full(n, 1.0 if p <= 0.0 else 0.0), [1.0]])
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    k = np.arange(n + 1)
    log_mass = log_factorial[n] - log_factorial - log_factorial[::-1] + k * log(p) + (n - k) * log1p(-p)
    return np.minimum(np.exp(np.logaddexp.accumulate(log_mass)), 1.0)


def clopper_pearson(k: int, n: int, delta: float) -> float:
    """Return the upper bound, exceeded with probability <= `delta`, of a rate that showed in `k` of `n` rows."""
    if k >= n:
        return 1.0
    low, high = k / n, 1.0
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if binomial_cdf(n, middle)[k] > delta else (low, middle)
    return high


def hoeffding_bentkus(total: Floats, n: int, risk: float) -> Floats:
    """Return p-values of "the mean loss exceeds `risk`" for sums of `n` losses in [0, 1], in the shape of `total`.

    min(exp(-n kl(min(mean, risk), risk)), e P(Bin(n, risk) <= ceil(total))), kl between two coins.
    """
    total = np.asarray(total, np.float64)
    mean = np.minimum(total / n, risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        kl = np.where(mean > 0.0, mean * np.log(mean / risk), 0.0) + (1.0 - mean) * np.log((1.0 - mean) / (1.0 - risk))
    bentkus = e * binomial_cdf(n, risk)[np.ceil(np.round(total, 9)).astype(np.int64)]
    return np.minimum(np.minimum(np.exp(-n * kl), bentkus), 1.0)


def rows_needed(risk: float, delta: float) -> int:
    """Return the rows without which no loss at all is no proof: the least n with (1 - risk)^n <= delta."""
    return ceil(log(delta) / log1p(-risk) - 1e-9)


def spent(delta: float, attempt: int) -> float:
    """Return the share of `delta` for the k-th calibration, delta 6 / (pi k)^2; all of them together spend delta."""
    if attempt < 1:
        raise ValueError(f"attempt must be >= 1 ({attempt})")
    return delta * 6.0 / (pi * attempt) ** 2


# -- policies and their losses ---------------------------------------------------------------------------------------


def routes(scores: Floats, threshold: float) -> npt.NDArray[np.int64]:
    """Return the tier (n,) of each row of `scores` (n, T): the cheapest that clears the threshold, else the largest."""
    clears = np.asarray(scores) >= threshold
    clears[:, -1] = True
    return np.asarray(np.argmax(clears, axis=1))


def losses(quality: Floats, floor: float, loss: Loss) -> Floats:
    """Return what each tier would have lost on each row, (n, T) in [0, 1], from `quality` (n, T), largest tier last."""
    quality = np.asarray(quality)
    missed = quality < quality.dtype.type(floor)  # in the type of quality: 0.7 is no miss of 0.7
    if loss == "absolute":
        return missed.astype(np.float64)
    if loss == "harm":
        return (missed & ~missed[:, -1:]).astype(np.float64)
    if loss == "regret":
        return np.maximum(quality[:, -1:].astype(np.float64) - quality, 0.0)
    raise ValueError(f"loss must be one of {', '.join(get_args(Loss))} ({loss!r})")


def total_losses(scores: Floats, lost: Floats) -> tuple[Floats, Floats]:
    """Return thresholds from safe to bold, infinity first, and the sum of losses at each.

    A row goes to tier j for t in (m_{j-1}, m_j], m the running maximum of its scores; so its loss changes by
    l_j - l_{j+1} when the walk reaches m_j.
    """
    turning = np.maximum.accumulate(scores[:, :-1], axis=1).ravel()
    change = (lost[:, :-1] - lost[:, 1:]).ravel()
    order = np.argsort(-turning, kind="stable")
    turning, total = turning[order], lost[:, -1].sum() + np.cumsum(change[order])
    last = np.append(np.diff(turning) != 0.0, True)[: len(turning)]
    return np.append(inf, turning[last]), np.append(lost[:, -1].sum(), total[last])


# -- the certificate -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Certificate:
    """A threshold whose risk is at most `risk`, with probability `confidence`.

    Attributes:
        threshold: that a tier's score must clear; infinite when only the largest tier is certified.
        loss, floor, risk, confidence: what is promised.
        attempt: the how-many-th calibration this is; 0 when it is to stay the only one.
        rows: calibration rows.
        total: the sum of their losses at the threshold, and `p_value` of the test it passed.
        shares: of the calibration rows that each tier gets.
        worst_among_routed: upper bound of the rate of loss among requests sent below the largest tier, by
            Clopper-Pearson at the same confidence for this threshold by itself; None for "regret", or without any.
        label_source: where the quality of the calibration rows came from: "user", "task" or "judge".
        bound_to: fingerprints of all that the promise depends on, such as namespace, router, models and policy.
        max_requests, max_new_nodes: how many requests it lasts, and which share of new nodes.
        latency_factor: an answer takes at most so many times what was expected, with probability 1 - risk; None when
            too few latencies are known.
    """

    threshold: float
    loss: Loss
    floor: float
    risk: float
    confidence: float
    attempt: int
    rows: int
    total: float
    p_value: float
    shares: tuple[float, ...]
    worst_among_routed: float | None
    label_source: str
    bound_to: Mapping[str, str] = field(default_factory=dict)
    max_requests: int = 100_000
    max_new_nodes: float = 0.02
    latency_factor: float | None = None

    def ended(self, bound_to: Mapping[str, str], *, requests: int = 0, new_nodes: float = 0.0) -> str | None:
        """Return why the certificate no longer holds, None while it does.

        Args:
            bound_to: the fingerprints as they are now.
            requests: answered since it was issued.
            new_nodes: nodes added since then, over the nodes there were.
        """
        changed = sorted(
            name for name in self.bound_to.keys() | bound_to.keys() if self.bound_to.get(name) != bound_to.get(name)
        )
        if changed:
            return f"{', '.join(changed)} changed"
        if requests >= self.max_requests:
            return f"{requests} requests were answered ({self.max_requests} allowed)"
        if new_nodes > self.max_new_nodes:
            return f"the memory grew by {new_nodes:.1%} ({self.max_new_nodes:.1%} allowed)"
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads; an infinite threshold is None."""
        fields = asdict(self)
        return fields | {"threshold": self.threshold if isfinite(self.threshold) else None}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Certificate:
        """Return the certificate that `to_dict` wrote.

        Raises:
            ValueError: it is not one.
        """
        try:
            threshold = inf if fields["threshold"] is None else float(fields["threshold"])
            return cls(**{**fields, "threshold": threshold, "shares": tuple(fields["shares"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"fields must describe a certificate: {error}") from error


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nothing can be promised: every request goes to the largest tier.

    Attributes:
        reasons: in words.
        reachable_risk: the least risk that these rows certify at this floor and confidence, by the largest tier.
        rows_needed: the least rows that can certify the asked risk at all.
    """

    reasons: tuple[str, ...]
    reachable_risk: float
    rows_needed: int

    @property
    def threshold(self) -> float:
        """Infinite: no score clears it."""
        return inf


def certify(
    scores: Floats,
    quality: Floats,
    *,
    floor: float,
    risk: float,
    confidence: float = 0.9,
    loss: Loss = "harm",
    attempt: int = 0,
    label_source: str = "task",
    bound_to: Mapping[str, str] | None = None,
    max_requests: int = 100_000,
    max_new_nodes: float = 0.02,
) -> Certificate | Refusal:
    """Return the certificate of the boldest threshold that these rows allow, or why there is none.

    Args:
        scores: (n, T) how likely each tier is to do; those of the largest tier, the last, are not looked at.
        quality: (n, T) in [0, 1], of every tier's answer to every row.
        floor: of quality, in (0, 1].
        risk: the share of requests (for "regret", the mean loss) that is allowed, in (0, 1).
        confidence: probability with which the promise holds, over the draw of the rows.
        attempt: k >= 1 for the k-th calibration of one promise, which is then tested at `spent(1 - confidence, k)`, so
            that all of them together hold; 0 when there will be no other.

    Raises:
        ValueError: an argument is out of range, shapes differ, or a row lacks the quality of a tier.
    """
    scores, quality = np.asarray(scores, np.float64), np.asarray(quality)
    _check(scores, quality, floor, risk, confidence)
    delta = spent(1.0 - confidence, attempt) if attempt else 1.0 - confidence
    n, needed = len(scores), rows_needed(risk, delta)
    if n == 0:
        return Refusal((f"there are no calibration rows ({needed} needed at least)",), 1.0, needed)
    lost = losses(quality, floor, loss)
    thresholds, totals = total_losses(scores, lost)
    p_values = _p_values(totals, n, risk, loss)
    failed = p_values > delta
    if failed[0]:
        return _refusal(quality, lost, floor=floor, risk=risk, delta=delta, loss=loss)
    chosen = int(np.argmax(failed) if failed.any() else len(failed)) - 1
    tier = routes(scores, thresholds[chosen])
    routed = tier < scores.shape[1] - 1
    count, harmed = int(routed.sum()), lost[np.arange(n), tier][routed].sum()
    return Certificate(
        threshold=float(thresholds[chosen]),
        loss=loss,
        floor=floor,
        risk=risk,
        confidence=confidence,
        attempt=attempt,
        rows=n,
        total=float(totals[chosen]),
        p_value=float(p_values[chosen]),
        shares=tuple((np.bincount(tier, minlength=scores.shape[1]) / n).tolist()),
        worst_among_routed=None if loss == "regret" or not count else clopper_pearson(round(harmed), count, delta),
        label_source=label_source,
        bound_to=dict(bound_to or {}),
        max_requests=max_requests,
        max_new_nodes=max_new_nodes,
    )


def _p_values(totals: Floats, n: int, risk: float, loss: Loss) -> Floats:
    if loss == "regret":
        return hoeffding_bentkus(totals, n, risk)
    return np.asarray(binomial_cdf(n, risk)[np.round(totals).astype(np.int64)])


def _refusal(quality: Floats, lost: Floats, *, floor: float, risk: float, delta: float, loss: Loss) -> Refusal:
    """Say why not even the largest tier can be certified, and what could be."""
    n, needed = len(lost), rows_needed(risk, delta)
    missed = round(float(lost[:, -1].sum()))
    reachable = clopper_pearson(missed, n, delta)
    reasons = []
    if n < needed:
        reasons.append(f"{n} calibration rows are too few ({needed} needed at least)")
    if loss == "absolute" and missed:
        reasons.append(
            f"the largest tier itself misses {floor:g} on {missed / n:.1%} of the rows: {reachable:.3f} is the least "
            f"risk that it can be certified for, {risk:g} was asked"
        )
        hopeless = float(lost.min(axis=1).mean())
        if hopeless > risk:
            reasons.append(
                f"every tier misses it on {hopeless:.1%}: even a perfect router would have to refuse "
                f"{(hopeless - risk) / (1.0 - risk):.1%} of the requests"
            )
    return Refusal(tuple(reasons), reachable, needed)


def _check(scores: Floats, quality: Floats, floor: float, risk: float, confidence: float) -> None:
    if scores.ndim != 2 or scores.shape != quality.shape or scores.shape[1] < 1:
        raise ValueError(f"scores and quality must be (n, T) of one shape ({scores.shape}, {quality.shape})")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    if not ((quality >= 0.0) & (quality <= 1.0)).all():
        raise ValueError("quality must be in [0, 1] for every tier on every row")
    for name, value in (("risk", risk), ("confidence", confidence)):
        if not 0.0 < value < 1.0:
            raise ValueError(f"{name} must be in (0, 1) ({value})")
    if not 0.0 < floor <= 1.0:
        raise ValueError(f"floor must be in (0, 1] ({floor})")


def fingerprint(*parts: str | bytes) -> str:
    """Return the SHA-256 of the parts, in hex; their boundaries count."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()


# -- afterwards ------------------------------------------------------------------------------------------------------


class Watch:
    """Looks at every new calibration row for signs that the loss exceeds the certified risk.

    A test by betting: capital grows by 1 + b (loss - risk) with each row, b >= 0, so that on average it never grows
    while the promise holds, and P(it ever reaches 1 / delta) <= delta, however long one looks (Ville). The capital is
    the mean over several bets b. The i-th row starts a part of it, 1 / (i (i + 1)), the rest waits: what a long good
    time has eaten does not hide a change for the worse.

    Source: Waudby-Smith and Ramdas 2020 (arXiv:2010.09686); Shin, Ramdas and Rinaldo 2022 (arXiv:2203.03532).
    """

    def __init__(self, risk: float, delta: float = 0.05) -> None:
        if not 0.0 < risk < 1.0 or not 0.0 < delta < 1.0:
            raise ValueError(f"risk and delta must be in (0, 1) ({risk}, {delta})")
        self.risk, self.delta = risk, delta
        self.rows, self.peak = 0, 1.0
        self._bets = np.geomspace(0.05, min(8.0, 0.9 / risk), BETS)
        self._capital = np.zeros(BETS)

    @property
    def is_alarmed(self) -> bool:
        """Whether the loss is above the risk, with probability 1 - delta of no false alarm ever."""
        return self.peak >= 1.0 / self.delta

    def observe(self, loss: float) -> bool:
        """Take the loss of one row, in [0, 1], and return whether it is time to recalibrate."""
        if not 0.0 <= loss <= 1.0:
            raise ValueError(f"loss must be in [0, 1] ({loss})")
        self.rows += 1
        self._capital += 1.0 / (self.rows * (self.rows + 1))
        self._capital *= 1.0 + self._bets * (loss - self.risk)
        self._capital = np.minimum(self._capital, 1e300)
        self.peak = max(self.peak, float(self._capital.mean()) + 1.0 / (self.rows + 1))
        return self.is_alarmed

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads."""
        return {
            "risk": self.risk,
            "delta": self.delta,
            "rows": self.rows,
            "peak": self.peak,
            "capital": self._capital.tolist(),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Watch:
        """Return the watch that `to_dict` wrote.

        Raises:
            ValueError: it is not one.
        """
        try:
            watch = cls(float(fields["risk"]), float(fields["delta"]))
            watch.rows, watch.peak = int(fields["rows"]), float(fields["peak"])
            watch._capital = np.array(fields["capital"], np.float64)
        except (KeyError, TypeError) as error:
            raise ValueError(f"fields must describe a watch: {error}") from error
        if watch.rows < 0 or watch._capital.shape != (BETS,) or not (watch._capital >= 0.0).all():
            raise ValueError("fields must describe a watch: its capital is damaged")
        return watch


def latency_factor(actual_ms: Floats, predicted_ms: Floats, risk: float) -> float:
    """Return u such that P(latency <= u * predicted) >= 1 - risk for the next exchangeable request.

    The ceil((n + 1) (1 - risk))-th smallest ratio of actual to predicted; infinite when there are fewer.
    """
    actual, predicted = np.asarray(actual_ms, np.float64), np.asarray(predicted_ms, np.float64)
    if actual.shape != predicted.shape or actual.ndim != 1 or not (actual > 0.0).all() or not (predicted > 0.0).all():
        raise ValueError(f"actual_ms and predicted_ms must be (n,) and > 0 ({actual.shape}, {predicted.shape})")
    if not 0.0 < risk < 1.0:
        raise ValueError(f"risk must be in (0, 1) ({risk})")
    place = ceil((len(actual) + 1) * (1.0 - risk) - 1e-9)
    if place > len(actual):
        return inf
    return float(np.sort(actual / predicted)[place - 1])
