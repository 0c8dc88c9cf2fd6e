"""The judge of a brain: signals to a quality, calibrated by that brain's ratings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ruvllm.judging import Answered, Judgement
from ruvllm.learning.judge.llm import LlmJudge
from ruvllm.learning.judge.model import said, shipped
from ruvllm.learning.judge.signals import Encode, Rarity, signals_of
from ruvllm.router.calibration import Calibration

__all__ = ["Calibrated", "Judge", "score_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A map from scores to qualities that ratings taught, and its version; 0 is the one that changes nothing."""

    calibration: Calibration
    version: int = 0

    @classmethod
    def untrained(cls) -> Calibrated:
        """Return the map that changes nothing."""
        return cls(Calibration.identity())


class Judge:
    """Says how good answers are, by what can be measured in them. Safe to share between threads.

    Args:
        encode: of the brain's embedder. rarity: of the brain's words.
        llm: is asked too, where given; that takes as long as an answer does.
    """

    def __init__(self, encode: Encode, rarity: Rarity, *, llm: LlmJudge | None = None) -> None:
        self._encode = encode
        self._rarity = rarity
        self._llm = llm
        self._name_alone = f"signals/{shipped()['version']}"
        self.name = self._name_alone + ("+llm" if llm else "")
        self.calibrated = Calibrated.untrained()  # replaced as a whole

    def judge(self, answered: Answered) -> Judgement:
        """Return the quality of an answer, in [0, 1], who says so, and what that was made of.

        `signals["answerable"]` is how likely the sources hold an answer to the question at all, whatever was answered;
        it is not there where there are no sources.
        `source` is "signals/1" by the version of the weights, with "+llm" where a model was asked, and "@3" where
        version 3 of the calibration holds; `signals["score"]` is the quality before calibration.

        Raises:
            EngineError: the model that is asked failed.
        """
        signals = signals_of(answered, self._encode, self._rarity)
        if "similarity" in signals:
            signals["answerable"] = said(signals, shipped()["answerable"])
        if self._llm is not None and self._llm.may_read(answered):
            signals["llm"] = self._llm.grade(answered)
        signals["score"] = score_of(signals)
        if self._llm is not None and "llm" not in signals:  # the calibration is of other scores
            return Judgement(signals["score"], self._name_alone, signals)
        calibrated = self.calibrated
        quality = float(calibrated.calibration.apply(np.array([signals["score"]]))[0])
        source = f"{self.name}@{calibrated.version}" if calibrated.version else self.name
        return Judgement(min(max(quality, 0.0), 1.0), source, signals)

    def judge_with_samples(self, answered: Answered, agreement: float) -> Judgement:
        """Return the judgement of an answer that other answers to the same question agree with in part.

        Args:
            agreement: in [0, 1], see `agreement.agreement_of`; it weighs as much as all signals together.
        """
        if not 0.0 <= agreement <= 1.0:
            raise ValueError(f"agreement must be in [0, 1] ({agreement!r})")
        alone = self.judge(answered)
        quality = 0.5 * (alone.quality + agreement)
        return Judgement(quality, f"{alone.source}+samples", {**alone.signals, "agreement": agreement})


def score_of(signals: Mapping[str, float]) -> float:
    """Return what the signals say before any calibration, in (0, 1); a model's grade counts as much as they do."""
    head = "grounded" if "support" in signals else "worked" if signals["worked"] else "open"
    score = said(signals, shipped()[head])
    if "llm" not in signals:
        return score
    grade = min(max(signals["llm"], 0.05), 0.95)
    odds = 0.5 * (math.log(score / (1.0 - score)) + math.log(grade / (1.0 - grade)))
    return 1.0 / (1.0 + math.exp(-odds))
