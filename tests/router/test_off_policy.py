"""Estimates from logs with known propensities against the truth."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.router.off_policy import TooFewSamples, doubly_robust, effective_sample_size, ips, snips

Log = dict[str, np.ndarray]


def logged(n: int = 4000, seed: int = 0) -> tuple[Log, float]:
    """Return a log of two tiers and the true value of a policy that it did not follow."""
    rng = np.random.default_rng(seed)
    x = rng.random(n)
    behaviour = np.stack([0.3 + 0.4 * x, 0.7 - 0.4 * x], 1)
    target = np.stack([x < 0.5, x >= 0.5], 1).astype(float)
    mean = np.stack([1.0 - x, 0.3 + 0.5 * x], 1)
    tier = (rng.random(n) > behaviour[:, 0]).astype(int)
    reward = (rng.random(n) < mean[np.arange(n), tier]).astype(float)
    log = {"target": target, "tier": tier, "propensity": behaviour[np.arange(n), tier], "reward": reward}
    return log | {"model": mean}, float((target * mean).sum(axis=1).mean())


def without_model(log: Log) -> Log:
    return {name: column for name, column in log.items() if name != "model"}


def test_all_three_estimates_hold_the_truth() -> None:
    log, truth = logged()
    for estimate in (ips(**without_model(log)), snips(**without_model(log)), doubly_robust(**log)):
        assert estimate.low < truth < estimate.high
        assert estimate.low < estimate.value < estimate.high


def test_intervals_cover_at_their_rate() -> None:
    covered = 0
    for seed in range(100):
        log, _ = logged(400, seed)
        estimate = doubly_robust(**log | {"model": np.full((400, 2), 0.5)}, seed=seed)
        covered += estimate.low < 0.6875 < estimate.high  # the mean over x of max-half choices
    assert covered / 100 >= 0.95 - 3.0 * np.sqrt(0.05 * 0.95 / 100)


def test_a_good_model_narrows_the_interval() -> None:
    log, _ = logged()
    flat = doubly_robust(**log | {"model": np.zeros((4000, 2))})
    good = doubly_robust(**log)
    assert flat.value == pytest.approx(ips(**without_model(log)).value)
    assert good.high - good.low < 0.9 * (flat.high - flat.low)


def test_doubly_robust_survives_wrong_propensities_with_the_right_model() -> None:
    log, truth = logged(20_000)
    wrong = np.clip(log["propensity"] * 1.3, 0.0, 1.0)
    assert doubly_robust(**log | {"propensity": wrong}).value == pytest.approx(truth, abs=0.02)
    assert abs(ips(**without_model(log) | {"propensity": wrong}).value - truth) > 0.05


def test_a_missing_reward_is_missing_not_bad() -> None:
    log, truth = logged(20_000)
    log["reward"][::2] = np.nan
    assert snips(**without_model(log)).value == pytest.approx(truth, abs=0.03)


def test_the_effective_sample_is_the_sum_squared_over_the_squares() -> None:
    assert effective_sample_size(np.ones(7)) == 7.0
    assert effective_sample_size(np.array([1.0, 0.0, 0.0])) == 1.0
    assert effective_sample_size(np.zeros(3)) == 0.0


def test_too_small_a_log_is_refused() -> None:
    log, _ = logged(150)
    with pytest.raises(TooFewSamples, match="100 are needed") as refused:
        ips(**without_model(log))
    assert refused.value.effective < 100.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"propensity": np.zeros(400)}, "propensity"),
        ({"target": np.ones((400, 2))}, "target"),
        ({"tier": np.full(400, 2)}, "tier"),
        ({"tier": np.zeros(3, int)}, "must be"),
        ({"model": np.zeros((400, 3))}, "model"),
    ],
)
def test_unusable_logs_are_refused(change: Log, message: str) -> None:
    log, _ = logged(400)
    with pytest.raises(ValueError, match=message):
        doubly_robust(**log | change)
