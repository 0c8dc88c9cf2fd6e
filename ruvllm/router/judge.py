"""One question judged in plain floats: what `RouterModel.step` and `estimates` say of it, in an eighth of the time.

The arrays are as small as the tiers are few, so a numpy call costs more than the arithmetic in it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ruvllm.router.calibration import EDGE, Calibration
from ruvllm.router.model import CONTEXT_BINS, MIN_P, NUM_EVIDENCE, RouterModel, TierInputs

__all__ = ["NOVEL", "Expected", "Judge"]

Floats = npt.NDArray[np.float32]

CONTEXT_LABELS = 500  # answers that must have told what they used before the context is chosen
CONTEXT_SHARE = 0.95  # of such answers that must have found room
NOVEL = 0.05  # share of the training questions below whose nearest similarity a question counts as unlike all of them


class Expected(NamedTuple):
    """What is expected of T tiers for one question, as in `Estimates`.

    Attributes:
        confidence: familiarity counted; None where nothing was learnt.
        context_tokens: the smallest bin that holds, by `CONTEXT_SHARE`, what answers to such questions use; 0 while
            too few answers told.
    """

    quality: list[float]
    latency_ms: list[float]
    confidence: float | None
    context_tokens: int = 0


class Judge:
    """Judges by a network and its calibrations, which must not change.

    Args:
        calibrations: one a tier, of quality. confidence: of the confidence.
        mean_quality: (T,), what is expected of questions unlike all others.
        nearest: (k,) ascending quantiles of the training questions' nearest cosines.
        context_labels: answers that told what context they needed.
    """

    def __init__(
        self,
        model: RouterModel,
        calibrations: Sequence[Calibration],
        confidence: Calibration,
        mean_quality: Floats,
        nearest: Floats,
        context_labels: int,
    ) -> None:
        self._step = model.cell.step
        self._scored = slice(model.rows("quality")[0], model.rows("latency")[-1] + 1)  # outputs of one after the other
        self._confidence_output = model.rows("confidence")[0]
        context = model.rows("context")
        self._context = slice(context[0], context[-1] + 1) if context_labels >= CONTEXT_LABELS else None
        static = model.static
        self._descriptors = np.concatenate([static, np.zeros((len(static), NUM_EVIDENCE), np.float32)], axis=1)
        self._calibrated = [one.of_logit() for one in calibrations]
        self._confidence = confidence.of_logit()
        self._mean_quality: list[float] = mean_quality.tolist()
        self._nearest: list[float] = nearest.tolist()

    def __call__(
        self, features: Floats, state: Floats, told: TierInputs, nearest_similarity: float
    ) -> tuple[Floats, Expected]:
        """Return the next state, (64,), and what is expected: features (128,), state (64,), told of T tiers."""
        state, outputs = self._step(features, state)
        d = self._descriptors.copy()
        d[:, -NUM_EVIDENCE:] = told.evidence
        by_quality, by_latency = outputs[self._scored].reshape(2, -1).dot(d.T).tolist()
        known = self._familiarity(nearest_similarity)
        quality, latency_ms = [], []
        told_quality, told_ms = told.quality.tolist(), told.latency_ms.tolist()
        for said, said_ms, more, more_latency, calibrated, mean in zip(
            told_quality, told_ms, by_quality, by_latency, self._calibrated, self._mean_quality, strict=True
        ):
            quality.append(known * calibrated(_logit(said, MIN_P) + more) + (1.0 - known) * mean)
            latency_ms.append(said_ms * math.exp(more_latency))
        confidence = self._confidence(_logit(outputs.item(self._confidence_output), EDGE))
        context = 0 if self._context is None else _holding(outputs[self._context].tolist())
        return state, Expected(quality, latency_ms, known * confidence, context)

    def _familiarity(self, nearest_similarity: float) -> float:
        share = bisect_right(self._nearest, nearest_similarity) / max(len(self._nearest), 1)
        return min(share / NOVEL, 1.0)


def _holding(logits: list[float]) -> int:
    """Return the smallest bin below which, itself included, `CONTEXT_SHARE` of the probability lies."""
    top = max(logits)
    shares = [math.exp(one - top) for one in logits]
    rest = CONTEXT_SHARE * sum(shares)
    for tokens, share in zip(CONTEXT_BINS, shares, strict=True):
        rest -= share
        if rest <= 0.0:
            return tokens
    return CONTEXT_BINS[-1]


def _logit(p: float, edge: float) -> float:
    """Return log(p / (1 - p)) with p kept in [edge, 1 - edge]."""
    p = edge if p < edge else 1.0 - edge if p > 1.0 - edge else p
    return math.log(p / (1.0 - p))
