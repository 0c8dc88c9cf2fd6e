"""What a trial can find is what drawn trials find."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.config import RolloutConfig
from ruvllm.tuning.rollout.power import detectable_in_canary, detectable_in_shadow

CONFIG = RolloutConfig()


def test_three_points_are_found_in_fifteen_hundred_pairs() -> None:
    assert detectable_in_shadow(1500, 0.25, CONFIG) < 0.03 < detectable_in_shadow(1000, 0.25, CONFIG)


def test_a_canary_finds_less_than_pairs_do() -> None:
    assert detectable_in_canary(1000, 0.25, CONFIG) > detectable_in_shadow(1000, 0.25, CONFIG)


@pytest.mark.parametrize("n", [500, 2000])
def test_four_of_five_trials_prove_the_detectable_loss(n: int) -> None:
    from ruvllm.bench.rollout_trials import Student, draw, quality_proofs

    loss = detectable_in_shadow(n, 0.25, CONFIG)
    rng = np.random.default_rng(0)
    student = Student(loss=loss, kind="right or wrong")
    found = [quality_proofs(draw(student, n, rng), CONFIG)[0].any() for _ in range(200)]
    assert 0.75 <= np.mean(found) <= 0.95
