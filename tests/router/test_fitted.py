"""A router fitted on outcomes: it knows what it saw, says when it does not, and survives being written down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.questions import DIM, RIGHT, TIERS, kind, outcomes
from ruvllm.router.features import ProbeView
from ruvllm.router.fitted import FittedRouter, fit
from ruvllm.router.learn import with_tiers
from ruvllm.router.learnt import Learnt, familiarity
from ruvllm.router.model import TierInputs
from ruvllm.router.outcomes import TierInfo


@pytest.fixture(scope="module")
def fitted() -> FittedRouter:
    """A router that saw 400 questions."""
    return fit(outcomes())


@pytest.mark.parametrize("number", range(4))
def test_what_is_expected_of_a_kind_is_what_it_was(fitted: FittedRouter, number: int) -> None:
    expected = fitted.predict(*kind(number)).quality.mean(axis=0)
    np.testing.assert_allclose(expected, RIGHT[number], atol=0.15)


def test_latency_is_that_of_the_tier(fitted: FittedRouter) -> None:
    latency = fitted.predict(*kind(0)).latency_ms
    assert (latency[:, 0] < 120.0).all() and (latency[:, 1] > 250.0).all()


def test_router_confidence_correlates_with_seen_patterns(fitted: FittedRouter) -> None:
    rng = np.random.default_rng(0)
    novel = rng.standard_normal((20, DIM)).astype(np.float32)
    novel[:, :4] = 0.0
    novel /= np.linalg.norm(novel, axis=1, keepdims=True)
    unseen = fitted.predict([f"zorp {i} blick wug" for i in range(20)], novel)
    seen = fitted.predict(*kind(0))
    assert (seen.confidence * seen.familiarity).mean() > (unseen.confidence * unseen.familiarity).mean() + 0.2


def test_what_is_unlike_everything_is_expected_to_be_average(fitted: FittedRouter) -> None:
    away = np.zeros((1, DIM), np.float32)
    away[0, 10] = -1.0
    expected = fitted.predict(["zorp blick wug"], away)
    assert expected.familiarity[0] == 0.0
    np.testing.assert_allclose(expected.quality[0], fitted.learnt.mean_quality, atol=1e-6)


def test_the_same_seed_gives_the_same_router() -> None:
    assert fit(outcomes(120)).learnt.sha256() == fit(outcomes(120)).learnt.sha256()
    assert fit(outcomes(120)).learnt.sha256() != fit(outcomes(120), seed=1).learnt.sha256()


def test_a_router_of_other_weights_is_another_router(fitted: FittedRouter) -> None:
    learnt = fitted.learnt
    other = replace(learnt, trained=replace(learnt.trained, params=np.float32(1.01) * learnt.trained.params))
    assert other.sha256() != learnt.sha256()


def test_a_router_is_the_same_after_it_was_written_down(fitted: FittedRouter) -> None:
    learnt = fitted.learnt
    again = Learnt.restored(learnt.trained.params, learnt.arrays(), learnt.about())
    assert again.sha256() == learnt.sha256()
    texts, vectors = kind(1)
    both = [FittedRouter(one, fitted.memory).predict(texts, vectors) for one in (learnt, again)]
    np.testing.assert_array_equal(both[0].quality, both[1].quality)


@pytest.mark.parametrize("lost", ["w_support", "embedding_map", "nearest"])
def test_a_damaged_checkpoint_is_refused(fitted: FittedRouter, lost: str) -> None:
    arrays = {name: array for name, array in fitted.learnt.arrays().items() if name != lost}
    with pytest.raises(ValueError, match="damaged"):
        Learnt.restored(fitted.learnt.trained.params, arrays, fitted.learnt.about())


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("mean_quality", [0.5]),
        ("mean_quality", [np.nan, 0.5]),
        ("mean_quality", [7.0, 0.5]),
        ("nearest", [[0.5], [0.6]]),
    ],
)
def test_parts_that_do_not_fit_are_refused(fitted: FittedRouter, part: str, value: object) -> None:
    arrays = {**fitted.learnt.arrays(), part: np.array(value, np.float32)}
    with pytest.raises(ValueError, match="damaged"):
        Learnt.restored(fitted.learnt.trained.params, arrays, fitted.learnt.about())


def test_features_of_another_version_are_refused(fitted: FittedRouter) -> None:
    about = {**fitted.learnt.about(), "feature_version": 999}
    with pytest.raises(ValueError, match="999"):
        Learnt.restored(fitted.learnt.trained.params, fitted.learnt.arrays(), about)


def test_a_tier_that_joins_leaves_what_is_known_of_the_others(fitted: FittedRouter) -> None:
    joined = (TIERS[0], TierInfo("middle", 1_200_000_000, 0.7), TIERS[1])
    wider = with_tiers(fitted.learnt, joined)
    memory = type(fitted.memory)(joined, DIM)
    known = outcomes()
    quality = np.insert(known.quality, 1, np.nan, axis=1)
    memory.extend(
        list(range(len(known))), known.texts, known.vectors, quality, np.insert(known.latency_ms, 1, np.nan, axis=1)
    )
    texts, vectors = kind(3)
    before, after = fitted.predict(texts, vectors), FittedRouter(wider, memory).predict(texts, vectors)
    np.testing.assert_allclose(after.quality[:, [0, 2]], before.quality, atol=0.1)
    assert (np.abs(after.quality[:, 1] - 0.5) < 0.35).all()


@pytest.mark.parametrize("left", [(0, 1), (1, 2), (0, 2)])
def test_who_leaves_moves_nothing_that_is_expected_of_the_others(fitted: FittedRouter, left: tuple[int, ...]) -> None:
    three = (TIERS[0], TierInfo("middle", 1_200_000_000, 0.7), TIERS[1])
    wide = with_tiers(fitted.learnt, three)
    rng = np.random.default_rng(0)
    params = wide.trained.params + 0.1 * rng.standard_normal(len(wide.trained.params)).astype(np.float32)
    wide = replace(wide, trained=replace(wide.trained, params=params))  # sizes and costs matter
    narrow = with_tiers(wide, [three[i] for i in left])
    told = TierInputs(np.full(3, 0.5, np.float32), np.full(3, 90.0, np.float32), np.zeros((3, 5), np.float32))
    fewer = TierInputs(*(getattr(told, name)[list(left)] for name in TierInputs.__slots__))
    x, state = rng.standard_normal(128).astype(np.float32), np.zeros(64, np.float32)
    before, after = wide.judge(x, state, told, 1.0)[1], narrow.judge(x, state, fewer, 1.0)[1]
    np.testing.assert_allclose(after.quality, np.array(before.quality)[list(left)], atol=1e-6)
    np.testing.assert_allclose(after.latency_ms, np.array(before.latency_ms)[list(left)], rtol=1e-5)


def test_a_probe_that_tells_is_listened_to() -> None:
    known = outcomes(600)
    rng = np.random.default_rng(0)
    coin = rng.random(len(known)) < 0.5
    told = replace(known, quality=np.stack([coin, np.ones_like(coin)], axis=1).astype(np.float32))
    views = [ProbeView(0.9 if c else 0.2, 0.8 if c else 0.05, 0.5 if c else 3.0, -2.0, 20) for c in coin]
    router = fit(told, probes=views)
    texts, vectors = kind(0)
    sure = router.predict(texts, vectors, [ProbeView(0.9, 0.8, 0.5, -2.0, 20)] * len(texts)).quality[:, 0]
    unsure = router.predict(texts, vectors, [ProbeView(0.2, 0.05, 3.0, -2.0, 20)] * len(texts)).quality[:, 0]
    assert sure.mean() > unsure.mean() + 0.3


def test_one_tier_needs_no_router() -> None:
    known = outcomes(50)
    alone = replace(
        known, tiers=TIERS[:1], **{n: getattr(known, n)[:, :1] for n in ("quality", "latency_ms", "cost", "propensity")}
    )
    with pytest.raises(ValueError, match="two tiers"):
        fit(alone)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 20"):
        fit(outcomes(10))


def test_familiarity_counts_the_lowest_of_what_was_seen() -> None:
    quantiles = np.linspace(0.2, 0.9, 101).astype(np.float32)
    found = familiarity(np.array([0.0, 0.21, 0.9]), quantiles)
    assert found[0] == 0.0 and 0.0 < found[1] < 1.0 and found[2] == 1.0
    assert familiarity(np.array([0.9]), np.empty(0, np.float32))[0] == 0.0
