"""What requests may cost and how late they may come, held over all of them: a price for cost, a factor for latency."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log

import numpy as np

from ruvllm.router.losses import LATENCY_QUANTILE
from ruvllm.router.outcomes import TierInfo

__all__ = ["FREE", "Budget", "Lateness", "Terms"]

WINDOW = 500  # newest requests that the price is reckoned on
EVERY = 16  # requests between two reckonings, once there are so many
HORIZON = 200  # requests over which what was saved or overspent is made up for
AIM = 0.98  # of the limit: costs are uncertain, and what is short of the limit is there for the next dear question
PRIOR = 10  # requests of which it is believed that they cost what was expected
BISECTIONS = 40
RATE = 0.05  # by which one late answer raises the logarithm of the factor
MAX_FACTOR = 4.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What a request may cost at most, `purse`, and the quality that one unit of cost must buy, `price`."""

    purse: float = inf
    price: float = 0.0


FREE = Terms()


class Budget:
    """Keeps the mean cost of all requests at `limit` or below. Not safe to share between threads.

    Each request is granted `limit`, and nothing is spent that was not granted. So that dear questions get dear tiers,
    cost has a price lambda: of a tier and all cheaper ones, the one answers whose quality - lambda cost is best.
    Lambda, the dual variable of the limit, is just large enough that the newest requests would have kept it.

    Args:
        limit: mean cost of a request, > 0, in the unit of `TierInfo.cost`.
        tiers: the cheapest first.
    """

    def __init__(self, limit: float, tiers: Sequence[TierInfo]) -> None:
        if not 0.0 < limit < inf:
            raise ValueError(f"limit must be finite and > 0 ({limit})")
        self.limit = limit
        self.requests = 0
        self.spent = 0.0
        self._costs = np.array([tier.cost for tier in tiers])
        self._newest: deque[tuple[Sequence[float], int]] = deque(maxlen=WINDOW)
        self._expected = self._real = PRIOR * limit  # cost of answers whose real cost is known
        self._price = 0.0

    def terms(self) -> Terms:
        """Return what the next request may cost."""
        granted = self.limit * (self.requests + 1)
        return Terms(max(granted - self.spent, 0.0) / self._dearer, self._price)

    def charge(self, quality: Sequence[float], wanted: int, tier: int) -> None:
        """Count a request that wanted one tier and got another, or the same; `quality` (T,) was expected of them."""
        self.requests += 1
        self.spent += self._dearer * float(self._costs[tier])
        self._newest.append((quality, wanted))
        if self.requests <= EVERY or self.requests % EVERY == 0:
            self._price = self._least_price()

    def settle(self, charged: int, tier: int, cost: float) -> None:
        """Put the real cost of an answer by `tier` in the place of what was charged for the one that was to answer."""
        self.spent += cost - self._dearer * float(self._costs[charged])
        self._expected += float(self._costs[tier])
        self._real += cost

    @property
    def _dearer(self) -> float:
        """How many times their expected cost answers really cost."""
        return self._real / self._expected

    def _least_price(self) -> float:
        """Return the lambda above which the newest requests cost what may be spent on each of the next ones.

        At it, questions that are all alike may cost more: then the purse decides how many of them.
        """
        saved = self.limit * self.requests - self.spent
        pace = max(AIM * self.limit + saved / HORIZON, 0.0) / self._dearer
        quality, wanted = (np.array(column) for column in zip(*self._newest, strict=True))
        is_offered = np.arange(len(self._costs)) <= wanted[:, np.newaxis]

        def mean_cost(price: float) -> float:
            chosen = np.where(is_offered, quality - price * self._costs, -inf).argmax(axis=1)
            return float(self._costs[chosen].mean())

        if self._costs[wanted].mean() <= pace:
            return 0.0
        gaps = np.diff(self._costs)
        high = 1.0 / float(gaps[gaps > 0.0].min(initial=inf))  # buys nothing: no quality differs by more than 1
        low = 1e-9 * high
        for _ in range(BISECTIONS):
            middle = (low * high) ** 0.5
            low, high = (low, middle) if mean_cost(middle) <= pace else (middle, high)
        return low


class Lateness:
    """A factor on expected latencies, so that at most a share 1 - `LATENCY_QUANTILE` of the answers misses its limit.

    log factor grows by `RATE` (late - share) with each answer, late being 0 or 1: adaptive conformal inference. After n
    answers the share is over by log(MAX_FACTOR) / (RATE n) at most, while the factor is below its bound. It is never
    less than 1: what was learnt of latencies is not made bolder.

    Source: Gibbs and Candes 2021 (arXiv:2106.00170).
    """

    def __init__(self) -> None:
        self._log_factor = 0.0

    @property
    def factor(self) -> float:
        """By which expected latencies are multiplied, in [1, MAX_FACTOR]."""
        return exp(self._log_factor)

    def observe(self, is_late: bool) -> None:
        """Take an answer of which it was expected that it comes within its limit."""
        moved = self._log_factor + RATE * (is_late - (1.0 - LATENCY_QUANTILE))
        self._log_factor = min(max(moved, 0.0), log(MAX_FACTOR))
