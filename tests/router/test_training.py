"""Training: held-out loss falls, W ends sparse, nothing depends on the hour, and missing outcomes teach nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.cases import TIERS, lessons, with_missing
from ruvllm.kernels import keep_largest
from ruvllm.router import training
from ruvllm.router.model import RouterModel
from ruvllm.router.replay import replayed
from ruvllm.router.training import Lessons, Trained, TrainingConfig, _dropped, held_out_loss, judge, train

CONFIG = TrainingConfig(epochs=12, learning_rate=3e-3)
MODEL = RouterModel(TIERS)


@pytest.mark.parametrize("seed", range(5))
def test_router_training_converges(seed: int) -> None:
    known, held_out = lessons(400, seed=seed), lessons(200, seed=100 + seed)
    trained = train(MODEL, known, held_out, CONFIG, np.random.default_rng(seed))
    assert held_out_loss(MODEL, trained.params, held_out, CONFIG) < 0.9 * trained.losses[0]


def test_one_tried_tier_a_turn_is_enough_to_learn_from() -> None:
    known, held_out = with_missing(lessons(800), np.random.default_rng(0)), lessons(200, seed=1)
    trained = train(MODEL, known, held_out, CONFIG, np.random.default_rng(0))
    assert held_out_loss(MODEL, trained.params, held_out, CONFIG) < trained.losses[0]


def test_w_ends_with_the_density_asked_for_and_keeps_its_support() -> None:
    trained = train(MODEL, lessons(200), lessons(50, seed=1), CONFIG, np.random.default_rng(0))
    piece, shape = MODEL.cell.layout["w"]
    assert trained.w_support.sum() == round(0.3 * 64 * 128)
    assert not trained.params[piece].reshape(shape)[~trained.w_support].any()
    again = train(MODEL, lessons(200), lessons(50, seed=1), CONFIG, np.random.default_rng(1), start=trained)
    np.testing.assert_array_equal(again.w_support, trained.w_support)


def test_the_support_changes_while_it_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = []
    monkeypatch.setattr(training, "keep_largest", lambda w, share: chosen.append(keep_largest(w, share)) or chosen[-1])
    fast = replace(CONFIG, learning_rate=1e-2)
    trained = train(MODEL, lessons(400), lessons(50, seed=1), fast, np.random.default_rng(0))
    assert (chosen[0] != chosen[-1]).any()
    np.testing.assert_array_equal(trained.w_support, chosen[-1])


def test_the_same_seed_gives_the_same_parameters() -> None:
    both = [train(MODEL, lessons(100), lessons(50, seed=1), CONFIG, np.random.default_rng(7)) for _ in range(2)]
    np.testing.assert_array_equal(both[0].params, both[1].params)


def test_training_goes_on_from_where_it_stopped() -> None:
    first = train(MODEL, lessons(200), lessons(100, seed=1), CONFIG, np.random.default_rng(0))
    more = train(MODEL, lessons(200), lessons(100, seed=1), CONFIG, np.random.default_rng(1), start=first)
    assert more.step > first.step and min(more.losses) <= more.losses[0]


def test_features_that_are_dropped_leave_less_to_learn_by_heart() -> None:
    known, held_out, long = lessons(150), lessons(400, seed=9), replace(CONFIG, epochs=60, patience=60)
    kept, dropped = (
        train(MODEL, known, held_out, replace(long, feature_dropout=share), np.random.default_rng(0)).losses[-1]
        for share in (0.0, 0.4)
    )
    assert dropped < 0.9 * kept


def test_the_mean_of_dropped_features_stays() -> None:
    dropped = _dropped(np.ones((50, 1, 128), np.float32), 0.2, np.random.default_rng(0))
    assert dropped.mean() == pytest.approx(1.0, abs=5 * 0.5 / 80.0)  # sd 0.5 each, of 6,400
    np.testing.assert_array_equal(np.unique(dropped), np.array([0.0, 1.25], np.float32))


def test_a_cancelled_training_gives_what_it_has() -> None:
    trained = train(MODEL, lessons(100), lessons(50, seed=1), CONFIG, np.random.default_rng(0), cancelled=lambda: True)
    assert len(trained.losses) == 2 and np.isfinite(trained.params).all()


def test_without_outcomes_quality_is_not_moved() -> None:
    known = lessons(100)
    nothing = replace(
        known, quality=np.full_like(known.quality, np.nan), latency_ms=np.full_like(known.latency_ms, np.nan)
    )
    trained = train(MODEL, nothing, lessons(50, seed=1), replace(CONFIG, w_density=1.0), np.random.default_rng(0))
    judged = judge(MODEL, trained.params, known)
    np.testing.assert_allclose(judged.quality_logit, 0.0, atol=1e-6)


def test_the_policy_head_prefers_what_costs_less_where_quality_is_the_same() -> None:
    known = lessons(400)
    same = replace(known, quality=np.ones_like(known.quality))
    trained = train(MODEL, same, same, CONFIG, np.random.default_rng(0))
    assert (judge(MODEL, trained.params, same).tier_logit.argmax(axis=-1) == 0).mean() > 0.95


def test_an_sla_turns_the_policy_away_from_slow_tiers() -> None:
    known = lessons(400)
    same = replace(known, quality=np.ones_like(known.quality), cost=np.zeros_like(known.cost))
    config = replace(CONFIG, latency_sla_ms=60.0, latency_weight=1.0)
    trained = train(MODEL, same, same, config, np.random.default_rng(0))
    assert (judge(MODEL, trained.params, same).tier_logit.argmax(axis=-1) == 0).mean() > 0.95


def test_a_dual_variable_holds_the_policy_to_an_sla_that_the_weight_alone_does_not() -> None:
    known = lessons(400)
    quality = np.broadcast_to(np.linspace(0.6, 1.0, known.quality.shape[-1]), known.quality.shape).astype(np.float32)
    better = replace(known, quality=quality, cost=np.zeros_like(known.cost))
    config = replace(CONFIG, latency_sla_ms=100.0, latency_weight=0.01, epochs=24, patience=24)
    free, held = (
        train(MODEL, better, better, replace(config, dual_rate=rate), np.random.default_rng(0)) for rate in (0.0, 0.05)
    )
    share_late = [
        np.take_along_axis(better.latency_ms > 100.0, _policy(one, better)[..., np.newaxis], -1).mean()
        for one in (free, held)
    ]
    assert free.sigma == 0.0 and held.sigma > 0.1
    assert share_late[0] > 0.9 and share_late[1] <= 0.1


def _policy(trained: Trained, known: Lessons) -> np.ndarray:
    tiers: np.ndarray = judge(MODEL, trained.params, known).tier_logit.argmax(axis=-1)
    return tiers


def test_replay_keeps_what_was_learnt_before() -> None:
    first, second, test_a = lessons(400), lessons(400, seed=1, task=1), lessons(300, seed=2)
    a = train(MODEL, first, test_a, CONFIG, np.random.default_rng(0))
    judged = judge(MODEL, a.params, first)
    kept = replayed(first, judged.quality_logit, judged.tier_logit, capacity=200)
    longer = replace(CONFIG, epochs=30, patience=30)

    def loss_after(**changed: object) -> float:
        b = train(MODEL, second, second, longer, np.random.default_rng(1), start=a, **changed)  # type: ignore[arg-type]
        return held_out_loss(MODEL, b.params, test_a, CONFIG)

    assert loss_after(replay=kept) < loss_after()


def test_replay_keeps_every_tier() -> None:
    known = with_missing(lessons(300, tiers=4), np.random.default_rng(0))
    rare = replace(known, quality=known.quality.copy())
    rare.quality[5:, :, 3] = np.nan
    judged = judge(MODEL, MODEL.initial_params(np.random.default_rng(0)), rare)
    kept = replayed(rare, judged.quality_logit, judged.tier_logit, capacity=40)
    expected = (~np.isnan(rare.quality[:, -1, 3])).sum()
    assert (~np.isnan(kept.lessons.quality[:, -1, 3])).sum() == expected
