"""Edge decay against a float64 oracle, on every instruction set; and the features of an edge."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from ruvllm import kernels

I, B, F, C = np.int64, np.uint8, np.float32, np.uint16  # noqa: E741
EPS = float(np.finfo(F).eps)
UNROLLED = 16  # the widest vector: no loop takes more at once
TINY = 2.0**-149  # the last bit of a subnormal result
NOW = 1e6


class Edges(NamedTuple):
    weights: np.ndarray
    last_used: np.ndarray
    types: np.ndarray
    counts: np.ndarray


def edges(n: int, num_types: int = 1, seed: int = 0) -> Edges:
    rng = np.random.default_rng(seed)
    return Edges(
        rng.random(n, dtype=F),
        (NOW * 1.1 * rng.random(n)).astype(F),  # a tenth lies in the future
        rng.integers(0, num_types, n).astype(B),
        rng.integers(0, 4, (n, 2)).astype(C),
    )


def half_lives(num_types: int) -> np.ndarray:
    lives = (10.0 ** np.random.default_rng(1).uniform(2, 7, num_types)).astype(F)
    lives[-1] = np.inf
    return lives


def oracle(e: Edges, lives: np.ndarray, since: float = -np.inf) -> tuple[np.ndarray, np.ndarray]:
    """The decayed weights in float64, and the bound on the rounding of ours.

    The exponent x is rounded in the age, in the reciprocal of the half-life and in the product: 3 eps |x|, which is
    ln 2 times that in the result; exp2 (2 ulp) and the product add 3 eps; below the normal range one last bit.
    """
    age = np.maximum(F(NOW) - np.maximum(e.last_used.astype(np.float64), since), 0.0)
    x = age / lives.astype(np.float64)[e.types]
    exact = e.weights * 2.0**-x
    return exact, exact * EPS * (3 + 3 * np.log(2) * np.minimum(x, 150)) + TINY


def assert_decayed(e: Edges, weights: np.ndarray, lives: np.ndarray, since: float = -np.inf) -> None:
    exact, bound = oracle(e, lives, since)
    assert np.all(np.abs(weights - exact) <= bound)


def mark(e: Edges, lives: np.ndarray, floor: float, least: int) -> tuple[np.ndarray, np.ndarray]:
    weights = e.weights.copy()
    prunable = kernels.edge_decay_and_mark(
        weights, *e[1:], now=NOW, half_life_s=lives, floor=floor, min_interactions=least
    )
    return weights, prunable


@pytest.mark.parametrize("num_types", [1, 7, 16, 17, 256])
def test_every_length_matches_the_oracle(isa: str, num_types: int) -> None:
    lives = half_lives(num_types)
    for n in range(4 * UNROLLED + 1):
        e = edges(n, num_types)
        weights = e.weights.copy()
        kernels.edge_decay(weights, e.last_used, now=NOW, half_life_s=lives, types=e.types)
        assert_decayed(e, weights, lives)


def test_one_half_life_needs_no_types(isa: str) -> None:
    for n in (*range(4 * UNROLLED + 1), 10_001):
        e = edges(n)
        weights = e.weights.copy()
        kernels.edge_decay(weights, e.last_used, now=NOW, half_life_s=5e4)
        assert_decayed(e, weights, np.array([5e4]))


@pytest.mark.parametrize("num_types", [1, 8, 9, 40])
def test_weak_edges_with_enough_interactions_are_marked(isa: str, num_types: int) -> None:
    lives = half_lives(num_types)
    for n in (*range(4 * UNROLLED + 1), 10_001):
        e = edges(n, num_types)
        weights, prunable = mark(e, lives, 0.25, 3)
        assert_decayed(e, weights, lives)
        np.testing.assert_array_equal(prunable, (weights < F(0.25)) & (e.counts.sum(axis=1) >= 3))


def test_marking_changes_no_weight(isa: str) -> None:
    e, lives = edges(1003, 5), half_lives(5)
    weights = e.weights.copy()
    kernels.edge_decay(weights, e.last_used, now=NOW, half_life_s=lives, types=e.types)
    np.testing.assert_array_equal(mark(e, lives, 0.5, 0)[0], weights)


def test_an_edge_fades_alike_wherever_it_lies(isa: str) -> None:
    e, lives = edges(100, 5), half_lives(5)
    whole, _ = mark(e, lives, 0.5, 1)
    for start in range(1, 40):
        part = Edges(*(column[start:] for column in e))
        np.testing.assert_array_equal(mark(part, lives, 0.5, 1)[0], whole[start:])


def test_a_last_use_in_the_future_never_raises_a_weight(isa: str) -> None:
    weights = np.array([0.5, 0.25, 1.0], F)
    kernels.edge_decay(weights, np.array([NOW + 1, 3e38, NOW], F), now=NOW, half_life_s=1.0)
    assert weights.tolist() == [0.5, 0.25, 1.0]


def test_no_age_counts_from_before_the_last_decay(isa: str) -> None:
    e = edges(500, 4)
    weights = e.weights.copy()
    kernels.edge_decay(weights, e.last_used, now=NOW, half_life_s=half_lives(4), types=e.types, since=4e5)
    assert_decayed(e, weights, half_lives(4), since=4e5)


def test_half_a_weight_is_left_after_a_half_life(isa: str) -> None:
    weights = np.ones(5, F)
    kernels.edge_decay(weights, np.array([100, 90, 80, 0, -1e30], F), now=100, half_life_s=10.0)
    assert weights.tolist() == [1.0, 0.5, 0.25, 2.0**-10, 0.0]


def test_a_nan_gives_a_nan_and_leaves_the_others_alone(isa: str) -> None:
    weights, last_used, half = np.ones(40, F), np.full(40, 90.0, F), np.full(40, 0.5, F)
    weights[3] = last_used[7] = last_used[39] = np.nan
    half[[3, 7, 39]] = np.nan
    marked = weights.copy()
    kernels.edge_decay(weights, last_used, now=100.0, half_life_s=10.0)
    np.testing.assert_array_equal(weights, half)
    e = Edges(marked, last_used, np.zeros(40, B), np.zeros((40, 2), C))
    prunable = kernels.edge_decay_and_mark(*e, now=100.0, half_life_s=np.array([10], F), floor=1.0, min_interactions=0)
    np.testing.assert_array_equal(marked, half)
    np.testing.assert_array_equal(prunable, ~np.isnan(half))


def test_counts_are_added_without_overflow(isa: str) -> None:
    e = Edges(np.zeros(20, F), np.zeros(20, F), np.zeros(20, B), np.full((20, 2), 65535, C))
    for least, expected in ((131_070, True), (131_071, False), (2**31, False)):
        assert np.all(mark(e, np.ones(1, F), 1.0, least)[1] == expected)


def test_the_answer_goes_where_it_is_wanted() -> None:
    e, out = edges(33, 2), np.empty(33, np.bool_)
    found = kernels.edge_decay_and_mark(
        e.weights, *e[1:], now=NOW, half_life_s=half_lives(2), floor=1.0, min_interactions=0, out=out
    )
    assert found is out


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"weights": [0.5]}, TypeError, r"weights must be a numpy array \(list\)"),
        ({"weights": np.zeros(4)}, ValueError, r"weights must have dtype float32 \(float64\)"),
        ({"weights": np.zeros((2, 2), F)}, ValueError, r"weights must have 1 dimensions \(2\)"),
        ({"weights": np.zeros(8, F)[::2]}, ValueError, "weights must be C-contiguous"),
        ({"last_used": np.zeros(3, F)}, ValueError, r"last_used must have 4 entries \(3\)"),
        ({"types": np.full(4, 2, B)}, ValueError, r"types\[0\] must be in \[0, 2\) \(2\)"),
        ({"types": np.zeros(4, I)}, ValueError, r"types must have dtype uint8 \(int64\)"),
        ({"counts": np.zeros((5, 2), C)}, ValueError, r"counts must have 4 rows \(5\)"),
        ({"counts": np.zeros((4, 3), C)}, ValueError, r"counts must have 2 columns \(3\)"),
        ({"counts": np.zeros((4, 2), F)}, ValueError, r"counts must have dtype uint16 \(float32\)"),
        ({"half_life_s": np.array([1, 0], F)}, ValueError, r"half_life_s\[1\] must be > 0 \(0.0\)"),
        ({"half_life_s": np.array([-1, 1], F)}, ValueError, r"half_life_s\[0\] must be > 0 \(-1.0\)"),
        ({"half_life_s": np.array([np.nan, 1], F)}, ValueError, r"half_life_s\[0\] must be > 0 \(nan\)"),
        ({"half_life_s": np.array([1e-40, 1], F)}, ValueError, r"half_life_s\[0\] must be > 0"),
        ({"half_life_s": np.empty(0, F)}, ValueError, r"half_life_s must have 1 to 256 entries \(0\)"),
        ({"half_life_s": np.ones(257, F)}, ValueError, r"half_life_s must have 1 to 256 entries \(257\)"),
        ({"now": np.nan}, ValueError, "now must be in"),
        ({"since": np.inf}, ValueError, "since must be in"),
        ({"floor": np.nan}, ValueError, "floor must be in"),
        ({"min_interactions": -1}, ValueError, r"min_interactions must be >= 0 \(-1\)"),
        ({"out": np.zeros(4, B)}, ValueError, r"out must have dtype bool \(uint8\)"),
    ],
)
def test_bad_input_is_refused_by_name(change: dict[str, object], error: type[Exception], says: str) -> None:
    zeros = Edges(np.zeros(4, F), np.zeros(4, F), np.zeros(4, B), np.zeros((4, 2), C))._asdict()
    settings = {"now": 1.0, "half_life_s": np.ones(2, F), "floor": 0.5, "min_interactions": 0}
    with pytest.raises(error, match=says):
        kernels.edge_decay_and_mark(**zeros | settings | change)


@pytest.mark.parametrize("half_life_s", [0.0, -2.0, np.nan])
def test_a_half_life_is_positive(half_life_s: float) -> None:
    weights = np.ones(3, F)
    with pytest.raises(ValueError, match=r"half_life_s\[0\] must be > 0"):
        kernels.edge_decay(weights, np.zeros(3, F), now=1.0, half_life_s=half_life_s)
    assert weights.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("half_life_s", ["1", [1.0, 2.0], 10**400, None])
def test_a_half_life_is_a_number(half_life_s: Any) -> None:
    with pytest.raises(TypeError, match="half_life_s must be a number or an array"):
        kernels.edge_decay(np.ones(3, F), np.zeros(3, F), now=1.0, half_life_s=half_life_s)


def test_what_never_fades_keeps_its_weight_over_the_longest_age(isa: str) -> None:
    weights = np.ones(20, F)
    kernels.edge_decay(weights, np.full(20, np.finfo(F).min), now=1e30, half_life_s=np.inf)
    assert weights.tolist() == [1.0] * 20


def test_what_is_written_shares_no_memory() -> None:
    shared = np.ones(12, F)
    with pytest.raises(ValueError, match="last_used must not share memory with weights"):
        kernels.edge_decay(shared[:8], shared[4:], now=1.0, half_life_s=1.0)
    with pytest.raises(ValueError, match="half_life_s must not share memory with weights"):
        kernels.edge_decay(shared[:8], np.zeros(8, F), now=1.0, half_life_s=shared[7:8])
    edges = Edges(shared[:4], np.zeros(4, F), np.zeros(4, B), np.zeros((4, 2), C))
    settings = {"now": 1.0, "half_life_s": np.ones(2, F), "floor": 0.5, "min_interactions": 0}
    with pytest.raises(ValueError, match="weights must not share memory with out"):
        kernels.edge_decay_and_mark(*edges, **settings, out=shared.view(np.bool_)[3:7])
    assert shared.tolist() == [1.0] * 12


def test_several_half_lives_need_types() -> None:
    with pytest.raises(ValueError, match="types must be given"):
        kernels.edge_decay(np.ones(3, F), np.zeros(3, F), now=1.0, half_life_s=np.ones(2, F))


def test_read_only_weights_are_refused() -> None:
    weights = np.ones(3, F)
    weights.setflags(write=False)
    with pytest.raises(ValueError, match="weights must be writable"):
        kernels.edge_decay(weights, np.zeros(3, F), now=1.0, half_life_s=1.0)


def test_features_match_their_formulas() -> None:
    e, lives = edges(300, 4), half_lives(4)
    directions = np.random.default_rng(5).integers(0, 2, 300).astype(B)
    good, bad = e.counts.T.copy()
    features = kernels.edge_features(e.types, e.weights, e.last_used, good, bad, directions, now=NOW, half_life_s=lives)
    uses = good.astype(np.float64) + bad
    x = np.maximum(NOW - e.last_used.astype(np.float64), 0) / lives[e.types].astype(np.float64)
    np.testing.assert_array_equal(features[:, :4], np.eye(4)[e.types])
    np.testing.assert_array_equal(features[:, 4], e.weights)
    # as for the decay, without the product with the weight
    assert np.all(np.abs(features[:, 5] - 2.0**-x) <= 2.0**-x * EPS * (2 + 3 * np.log(2) * x) + TINY)
    np.testing.assert_allclose(features[:, 6], (good + 1.0) / (uses + 2.0), rtol=EPS)
    np.testing.assert_allclose(features[:, 7], np.log1p(uses), rtol=2 * EPS)
    np.testing.assert_array_equal(features[:, 8], directions)


def test_no_edges_have_no_features() -> None:
    none = edges(0, 3)
    shape = kernels.edge_features(
        none.types, *none[:2], *none.counts.T.copy(), np.empty(0, B), now=0.0, half_life_s=half_lives(3)
    ).shape
    assert shape == (0, 8)


def test_features_refuse_what_is_not_finite() -> None:
    e = edges(3)
    e.last_used[1] = np.nan
    with pytest.raises(ValueError, match="last_used must be finite: entry 1"):
        kernels.edge_features(
            e.types, e.weights, e.last_used, *e.counts.T.copy(), e.types, now=0.0, half_life_s=np.ones(1, F)
        )
