"""A setting is taken up when draws prove a gain, and hardly ever when there is none."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.router.sampling import MIN_DRAWN, Draw, Setting, proven, settings

GREEDY = Setting(0.0, 1.0)


def drawn(n: int, *, gain: float = 0.0, seed: int = 0, told: float = 0.2) -> list[Draw]:
    """Return `n` rated draws in which the first setting beside the configured one gains `gain`.

    Args:
        told: how far the expected quality of a request differs from that of others.
    """
    rng, known = np.random.default_rng(seed), settings(GREEDY)
    place = rng.integers(len(known), size=n)
    expected = np.clip(rng.normal(0.6, told, n), 0.05, 0.95)
    good = rng.random(n) < np.clip(expected + np.where(place == 1, gain, 0.0), 0.0, 1.0)
    chance = 1.0 / len(known)
    return [Draw(known[k], chance, f, float(r)) for k, f, r in zip(place.tolist(), expected, good, strict=True)]


def test_a_planted_gain_is_found() -> None:
    found = [proven(drawn(2000, gain=0.2, seed=seed), GREEDY) for seed in range(20)]
    assert sum(one is not None and one.setting == settings(GREEDY)[1] for one in found) >= 18


def test_without_a_gain_nothing_is_found() -> None:
    found = [proven(drawn(MIN_DRAWN, seed=seed), GREEDY) for seed in range(200)]
    assert sum(one is not None for one in found) <= 16  # 5 %, and 1.96 standard errors


def test_looking_often_finds_nothing_either() -> None:
    draws = [drawn(1500, seed=seed) for seed in range(20)]
    assert sum(any(proven(one[:n], GREEDY) for n in (500, 750, 1000, 1500)) for one in draws) <= 3


def test_a_loss_is_never_taken_for_a_gain() -> None:
    assert all(proven(drawn(1000, gain=-0.3, seed=seed), GREEDY) is None for seed in range(10))


def test_the_interval_holds_the_gain() -> None:
    proof = proven(drawn(4000, gain=0.2), GREEDY)
    assert proof is not None and proof.rated == 4000
    assert 0.0 < proof.gain.low < 0.2 < proof.gain.high


def test_too_few_draws_move_nothing_however_clear() -> None:
    assert proven(drawn(MIN_DRAWN - 1, gain=0.4), GREEDY) is None


def test_draws_of_other_settings_do_not_count() -> None:
    stray = [Draw(Setting(1.5, 0.3), 0.5, 0.5, 1.0)] * 1000
    assert proven([*drawn(MIN_DRAWN - 1, gain=0.4), *stray], GREEDY) is None


@pytest.mark.parametrize("configured", [GREEDY, Setting(0.0, 0.5), Setting(0.7, 0.9), Setting(0.4, 0.9)])
def test_the_configured_setting_comes_first_and_once(configured: Setting) -> None:
    known = settings(configured)
    assert known[0] == configured and len(set(known)) == len(known)
    assert sum(one.temperature == 0.0 for one in known) == 1
