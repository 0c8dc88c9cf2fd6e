"""What ratings teach the judge: a calibration, behind a gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from ruvllm.router.calibration import Calibration, Kind
from ruvllm.router.measures import brier, ece

__all__ = ["JudgeReport", "calibrate", "train"]

Floats = npt.NDArray[np.float64]

MIN_LABELS = 20
ISOTONIC_LABELS = 50  # below, steps follow single answers
FOLDS = 5
GATE_SHARE = 3  # one of so many rated answers judges the calibration that the others gave
BINS = 10


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """What one training of the judge did.

    Attributes:
        examples: rated answers there were; `held_out` of them judged.
        before_loss, loss, ece_before, ece_after: on these, uncalibrated and by what the others taught; None where too
            few were rated, or none since the version in force.
        version: in force afterwards, 0 for the uncalibrated judge.
    """

    examples: int
    held_out: int
    before_loss: float | None
    loss: float | None
    ece_before: float | None
    ece_after: float | None
    kind: Kind | None
    accepted: bool
    version: int
    reason: str


def calibrate(score: Floats, quality: Floats, seed: int = 0) -> Calibration:
    """Return the calibration of rated answers: Platt scaling, or isotonic where that predicts unseen ones better.

    Args:
        score: (n,) of the judge, in [0, 1]. quality: (n,) as rated, in [0, 1].
    """
    kind: Kind = "platt"
    if len(score) >= ISOTONIC_LABELS:
        fold = np.random.default_rng(seed).permutation(len(score)) % FOLDS
        kinds: tuple[Kind, ...] = ("platt", "isotonic")
        kind = min(kinds, key=lambda one: _cross_validated(score, quality, one, fold))
    return Calibration.fit(score, quality, kind)


def _cross_validated(score: Floats, quality: Floats, kind: Kind, fold: npt.NDArray[np.int64]) -> float:
    said = np.empty_like(score)
    for left_out in range(FOLDS):
        rows = fold == left_out
        said[rows] = Calibration.fit(score[~rows], quality[~rows], kind).apply(score[rows])
    return brier(said, quality)


def train(
    ids: list[str],
    score: Floats,
    quality: Floats,
    version: int,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Calibration | None, JudgeReport]:
    """Return a calibration of all rated answers, None where one made without the held-out third predicts it no better
    than the uncalibrated judge, by the Brier score: the one in force was made of that third, too.

    Args:
        ids: of the answers, which decide who is held out: the same ones every time.
        version: in force.
    """
    n = len(ids)
    held = np.array([_is_held_out(one) for one in ids], np.bool_)
    if n < MIN_LABELS or not 0 < held.sum() < n:
        reason = f"{n} answers were rated; {MIN_LABELS} are the least"
        return None, JudgeReport(n, int(held.sum()), None, None, None, None, None, False, version, reason)
    tried = calibrate(score[~held], quality[~held])
    before, after = score[held], tried.apply(score[held])
    figures = (brier(before, quality[held]), brier(after, quality[held]))
    errors = (ece(before, quality[held], BINS), ece(after, quality[held], BINS))
    accepted = figures[1] < figures[0] and not cancelled()
    reason = "" if accepted else "cancelled" if cancelled() else "no better on held-out ratings"
    report = JudgeReport(n, int(held.sum()), *figures, *errors, tried.kind, accepted, version, reason)
    return (calibrate(score, quality) if accepted else None), report


def _is_held_out(id: str) -> bool:
    return int.from_bytes(sha256(id.encode()).digest()[:4], "big") % GATE_SHARE == 0
