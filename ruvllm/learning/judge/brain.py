"""The judge of an opened brain: reads its ratings, keeps its versions."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np

from ruvllm.checkpoints import Checkpoints, digest_of
from ruvllm.judging import Answered, Judgement
from ruvllm.learning.judge.judge import Calibrated, Judge
from ruvllm.learning.judge.llm import LlmJudge
from ruvllm.learning.judge.training import JudgeReport, train
from ruvllm.memory import Memory
from ruvllm.router.calibration import Calibration

__all__ = ["BrainJudge"]

logger = logging.getLogger(__name__)

MAX_LABELS = 2000  # newest rated answers that a training reads


class BrainJudge:
    """Judges the answers of one brain. Safe to share between threads.

    The signals' weights are those that are shipped; what a brain's ratings teach is a calibration of the scores that
    its answers were given, in numbered versions. Another release's weights make the calibrations of earlier ones
    unusable, and they are not used.
    """

    def __init__(self, memory: Memory, *, llm: LlmJudge | None = None) -> None:
        self._memory = memory
        self._judge = Judge(memory.encode, memory.rarity, llm=llm)
        self._checkpoints = Checkpoints(memory.path / "checkpoints" / "judge", form=self._judge.name)
        self._training = threading.Lock()
        self._put_in_force()

    def judge(self, answered: Answered) -> Judgement:
        """Return how good an answer is; see `Judge.judge`."""
        return self._judge.judge(answered)

    def with_agreement(self, answered: Answered, agreement: float) -> Judgement:
        """Return how good an answer is that others agree with; see `Judge.judge_with_samples`."""
        return self._judge.judge_with_samples(answered, agreement)

    @property
    def version(self) -> int:
        """Of the calibration in force, 0 for none."""
        return self._judge.calibrated.version

    def train(self, cancelled: Callable[[], bool] = lambda: False) -> JudgeReport:
        """Calibrate by the ratings of this brain; durable on return. What the gate refuses changes nothing.

        Raises:
            RuntimeError: a training is running.
        """
        if not self._training.acquire(blocking=False):
            raise RuntimeError("a training of the judge is running")
        try:
            return self._train(cancelled)
        finally:
            self._training.release()

    def _train(self, cancelled: Callable[[], bool]) -> JudgeReport:
        rated = self._memory.rated_answers(self._judge.name, MAX_LABELS)
        scores, qualities = np.array([one.score for one in rated]), np.array([one.quality for one in rated])
        taught = digest_of([asdict(one) for one in rated])
        reason = self._checkpoints.nothing_new(self.version, taught)
        if reason:
            return JudgeReport(len(rated), 0, None, None, None, None, None, False, self.version, reason)
        found, report = train([one.id for one in rated], scores, qualities, self.version, cancelled)
        if found is None:
            return report
        version = self._checkpoints.save(
            np.empty(0, np.float32), {"calibration": found.to_dict(), "report": asdict(report), "taught": taught}
        )
        self._judge.calibrated = Calibrated(found, version)
        logger.info("version %d of the judge's calibration is in force", version)
        return replace(report, version=version)

    def rollback(self) -> int:
        """Put the calibration before in force again; return its version, 0 for none."""
        version = self._checkpoints.rollback()
        self._put_in_force()
        logger.info("version %d of the judge's calibration is in force again", version)
        return version

    def _put_in_force(self) -> None:
        saved = self._checkpoints.current()
        if saved is None:
            self._judge.calibrated = Calibrated.untrained()
            return
        try:
            self._judge.calibrated = Calibrated(Calibration.from_dict(saved.about["calibration"]), saved.version)
        except (KeyError, ValueError) as error:
            logger.warning("the judge's calibration %d cannot be used: %s", saved.version, error)
            self._judge.calibrated = Calibrated.untrained()
