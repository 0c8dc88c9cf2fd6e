"""Pooled figures, paired gains, and bounds on what is lost."""

import numpy as np
import pytest

from ruvllm.bench.pool import Pool


def pool(gain: float) -> Pool:
    rng = np.random.default_rng(0)
    found = Pool(("recall",))
    for _ in range(3):
        base = rng.random((50, 1))
        found.add("untrained", range(50), base)
        found.add("trained", range(50), base + gain + 0.01 * rng.standard_normal((50, 1)))
    return found


def test_a_paired_gain_is_surer_than_the_figures_it_is_made_of() -> None:
    row = pool(0.05).gain("trained", "untrained", "recall", target=0.01)
    assert row.value == pytest.approx(0.05, abs=0.01) and row.met
    (alone,) = pool(0.05).rows("trained")
    assert row.interval and alone.interval
    assert row.interval[1] - row.interval[0] < 0.1 * (alone.interval[1] - alone.interval[0])


@pytest.mark.parametrize(("gain", "met"), [(-0.01, True), (-0.03, False)])
def test_a_bound_shows_whether_too_much_may_be_lost(gain: float, met: bool) -> None:
    row = pool(gain).bound("trained", "untrained", "recall", name="lost", margin=0.02)
    assert row.met is met and row.value < gain + 0.005
