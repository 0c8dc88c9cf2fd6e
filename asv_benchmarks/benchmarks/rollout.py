"""What asking after one more row of a student's trial costs."""

from __future__ import annotations

import numpy as np

from ruvllm.bench.rollout_trials import Student, draw
from ruvllm.config import RolloutConfig
from ruvllm.tuning.rollout import evaluate_canary, evaluate_shadow


class Decide:
    """Pairs of a shadow phase; requests of a canary phase, a tenth of which the student answered."""

    param_names = ("requests",)
    params = (200, 2000, 20_000)

    def setup(self, requests: int) -> None:
        rng = np.random.default_rng(0)
        self.config = RolloutConfig()
        self.pairs = draw(Student(), requests, rng).pairs()
        canary = draw(Student(session_requests=5), requests, rng, share=0.1)
        self.control, self.treatment = canary.rows(0), canary.rows(1)

    def time_shadow(self, requests: int) -> None:
        evaluate_shadow(self.pairs, self.config)

    def time_canary(self, requests: int) -> None:
        evaluate_canary(self.control, self.treatment, self.config)
