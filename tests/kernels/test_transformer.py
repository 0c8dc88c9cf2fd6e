"""What stands between the products of a transformer, against NumPy in float64, on every instruction set."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ruvllm.kernels.loaded import core

EPS = float(np.finfo(np.float32).eps)
TINY = float(np.finfo(np.float32).tiny)
LENGTHS = [*range(1, 2 * 64 + 2), 384, 576, 1024, 1536]  # twice four of the widest vectors, and real sizes
SHORT = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65]


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32) * np.float32(scale)


def wide(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(array.astype(np.float64) for array in arrays)


def called(function: str, x: np.ndarray, *others: object) -> np.ndarray:
    """Return what `function` leaves in a copy of `x`."""
    found = x.copy()
    getattr(core, function)(found, *others)
    return found


def test_rms_norm_matches_the_oracle(isa: str) -> None:
    for n in LENGTHS:
        x, gamma, eps = normal(3, n), normal(n, seed=1), 1e-5
        x64, gamma64 = wide(x, gamma)
        exact = gamma64 * x64 / np.sqrt((x64**2).mean(-1, keepdims=True) + eps)
        # a sum of n squares, whose root halves the error, and a handful of roundings
        assert np.all(np.abs(called("_rms_norm", x, gamma, eps) - exact) <= (n / 2 + 5) * EPS * np.abs(exact))


def test_layer_norm_matches_the_oracle(isa: str) -> None:
    for n in LENGTHS:
        x, gamma, beta, eps = normal(3, n) + 2, normal(n, seed=1), normal(n, seed=2), 1e-5
        x64, gamma64, beta64 = wide(x, gamma, beta)
        centred = x64 - x64.mean(-1, keepdims=True)
        variance = (centred**2).mean(-1, keepdims=True) + eps
        exact = gamma64 * centred / np.sqrt(variance) + beta64
        # the mean's error shifts every entry, and the variance by twice that times the mean distance
        shift = (n + 1) * EPS * np.abs(x64).max(-1, keepdims=True)
        variance_error = n * EPS * variance + 2 * shift * np.abs(centred).mean(-1, keepdims=True) + shift**2
        relative = variance_error / variance + 5 * EPS
        bound = np.abs(gamma64) / np.sqrt(variance) * (shift + np.abs(centred) * relative)
        bound += EPS * (np.abs(exact) + np.abs(beta64))
        assert np.all(np.abs(called("_layer_norm", x, gamma, beta, eps) - exact) <= bound)


@pytest.mark.parametrize("function", ["_rms_norm", "_layer_norm"])
def test_a_row_of_zeros_is_not_divided_by_zero(isa: str, function: str) -> None:
    gamma, beta = normal(37, seed=1), normal(37, seed=2)
    others = (gamma, 1e-5) if function == "_rms_norm" else (gamma, beta, 1e-5)
    expected = np.zeros(37) if function == "_rms_norm" else beta
    np.testing.assert_array_equal(called(function, np.zeros((2, 37), np.float32), *others), [expected, expected])


def angles(position: float, half: int) -> tuple[np.ndarray, np.ndarray]:
    theta = position * 10_000.0 ** (-np.arange(half) / half)
    return np.cos(theta).astype(np.float32), np.sin(theta).astype(np.float32)


def test_entries_rotate_with_those_half_a_head_away(isa: str) -> None:
    for half in (*SHORT, 24, 48):
        x, (cosines, sines) = normal(3, 2 * half), angles(5.0, half)
        a, b, c, s = wide(x[:, :half], x[:, half:], cosines, sines)
        found = called("_rotate_halves", x, cosines, sines)
        assert np.all(np.abs(found[:, :half] - (a * c - b * s)) <= 2 * EPS * (np.abs(a * c) + np.abs(b * s)))
        assert np.all(np.abs(found[:, half:] - (b * c + a * s)) <= 2 * EPS * (np.abs(b * c) + np.abs(a * s)))


def test_rotation_keeps_the_length_of_every_pair(isa: str) -> None:
    x = normal(3, 64)
    found, before = wide(called("_rotate_halves", x, *angles(1000.0, 32)), x)
    pairs, pairs_before = (np.hypot(y[:, :32], y[:, 32:]) for y in (found, before))
    np.testing.assert_allclose(pairs, pairs_before, rtol=6 * EPS)  # 2 EPS of each product, and of a cosine


def test_products_of_rotated_vectors_depend_on_the_distance_only(isa: str) -> None:
    q, k = normal(1, 64), normal(1, 64, seed=1)

    def score(q_position: float, k_position: float) -> float:
        rotated = (called("_rotate_halves", x, *angles(at, 32)) for x, at in ((q, q_position), (k, k_position)))
        return float(np.vdot(*wide(*rotated)))

    # an entry is wrong by at most 3 EPS (|a| + |b|): 12 EPS of the products of a pair, in each of two scores
    bound = 24 * EPS * float(np.vdot(*(np.abs(y[:, :32]) + np.abs(y[:, 32:]) for y in wide(q, k))))
    for shift in (1.0, 17.0, 300.0):
        assert abs(score(9.0, 4.0) - score(9.0 + shift, 4.0 + shift)) <= bound
    assert abs(score(9.0, 4.0) - score(9.0, 5.0)) > 1e-3


def test_silu_multiply_matches_the_oracle(isa: str) -> None:
    for n in LENGTHS:
        gate, up = normal(2, n, scale=4), normal(2, n, seed=1)
        gate64, up64 = wide(gate, up)
        exact = gate64 / (1 + np.exp(-gate64)) * up64
        # 2 ulp of the exponential, and the roundings of sum, quotient and products
        assert np.all(np.abs(called("_silu_multiply", gate, up) - exact) <= 6 * EPS * np.abs(exact))


def test_silu_of_far_values_is_zero_or_the_value(isa: str) -> None:
    gate = np.array([[-1e30, -200, -100, -88, -1e-30, 0, 1e-30, 88, 100, 1e30]], np.float32)
    exact = np.array([[0, 0, 0, 0, -5e-31, 0, 5e-31, 88, 100, 1e30]])
    found = called("_silu_multiply", gate, np.ones_like(gate))
    assert np.all(np.abs(found - exact) <= 2 * EPS * np.abs(exact) + 100 * TINY)  # below TINY the sigmoid may be 0


def activated(name: str, x: np.ndarray) -> np.ndarray:
    found = x.copy()
    core._activate(name, found)
    return found


def phi(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


FAR = np.array([-1e30, -1e4, -40, -15, -6, -1e-30, -0.0, 0, 1e-30, 6, 15, 1e4, 1e30], np.float32)


def inputs(n: int) -> np.ndarray:
    return np.concatenate([normal(2, n, scale=3), np.resize(FAR, (1, n))])


def test_gelu_is_near_the_exact_one(isa: str) -> None:
    for n in LENGTHS:
        x = inputs(n)
        (x64,) = wide(x)
        exact = x64 * np.vectorize(phi)(x64)
        # the approximation's 1.5e-7 / 2, and at most 2 EPS of roundings, of a factor below 1
        assert np.all(np.abs(activated("gelu", x) - exact) <= (0.75e-7 + 2 * EPS) * np.abs(x64))


def test_gelu_tanh_matches_the_oracle(isa: str) -> None:
    for n in LENGTHS:
        x = np.clip(inputs(n), -1e10, 1e10)  # whose cube is a number
        (x64,) = wide(x)
        exact = 0.5 * x64 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x64 + 0.044715 * x64**3)))
        # of the factor: 4 EPS of the inner sum move tanh by at most 4 * 0.45 EPS, tanh itself by 4 EPS, halved
        assert np.all(np.abs(activated("gelu_tanh", x) - exact) <= 4 * EPS * np.abs(x64))


def test_relu_is_exact(isa: str) -> None:
    for n in SHORT:
        np.testing.assert_array_equal(activated("relu", inputs(n)), np.maximum(inputs(n), 0))


def softmax(scores: np.ndarray, counts: list[int]) -> np.ndarray:
    return called("_softmax_rows", scores, np.array(counts, np.int64))


def test_softmax_matches_the_oracle(isa: str) -> None:
    for n in LENGTHS:
        scores, counts = normal(3, n, scale=5), [n, (n + 1) // 2, 1]
        found = softmax(scores, counts)
        for row, count, values in zip(found, counts, scores.astype(np.float64), strict=True):
            e = np.exp(values[:count] - values[:count].max())
            exact, spread = e / e.sum(), np.ptp(values[:count])
            # 2 ulp of an exponential, half an EPS of its argument, the same in the sum, and the sum of n
            assert np.all(np.abs(row[:count] - exact) <= (n + 6 + spread) * EPS * exact + TINY * EPS)
            assert not row[count:].any()


def test_a_softmax_row_depends_on_neither_the_length_nor_the_other_rows(isa: str) -> None:
    for count in (1, 5, 16, 17, 64, 65, 100, 129):
        row = normal(1, count, scale=3)
        alone = softmax(row, [count])
        among = normal(4, count + 37, seed=1)
        among[2, :count] = row
        among[0, count:], among[2, count:] = np.nan, np.inf  # what is behind the counts is not looked at
        np.testing.assert_array_equal(softmax(among, [count, 7, count, 1])[2, :count], alone[0])


def test_softmax_of_far_scores_neither_overflows_nor_divides_by_zero(isa: str) -> None:
    far = np.array([[3e38, -3e38, 0.0, -np.inf], [-3e38, -3e38, -np.inf, -np.inf]], np.float32)
    np.testing.assert_array_equal(softmax(far, [4, 4]), [[1, 0, 0, 0], [0.5, 0.5, 0, 0]])


def test_a_nan_stays_one(isa: str) -> None:
    for n in SHORT:
        for place in range(n):
            x = normal(1, n)
            x[0, place] = np.nan
            assert np.isnan(softmax(x, [n])).all()
            for name in ("gelu", "gelu_tanh", "relu"):
                assert np.flatnonzero(np.isnan(activated(name, x))).tolist() == [place]


def test_log_sum_exp_matches_the_oracle(isa: str) -> None:
    for n in (*LENGTHS, 70_001):
        x = normal(n, scale=5)
        x[1::7] = -np.inf
        x64 = x.astype(np.float64)
        most, spread = x64.max(), np.ptp(x64[np.isfinite(x64)])
        total = np.exp(x64 - most).sum()
        found, place = core._log_sum_exp(x)
        # the relative error of the sum is the absolute one of its logarithm
        assert abs(found - (most + np.log(total))) <= (n + 6 + spread + 2 * np.log(total) + abs(most)) * EPS
        assert place == x.argmax()


def test_the_first_of_equal_entries_is_the_largest(isa: str) -> None:
    for n in SHORT:
        for first in range(n):
            x = np.full(n, -np.inf, np.float32)
            x[first:] = 3
            assert core._log_sum_exp(x)[1] == first


def short_conv(projected: np.ndarray, taps: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return out, and the history with the rows of these tokens."""
    h = taps.shape[1]
    history = np.concatenate([before, np.full((len(projected), h), np.nan, np.float32)])
    out = np.full((len(projected), h), np.nan, np.float32)
    core._short_conv(projected, taps, history, out)
    return out, history


@pytest.mark.parametrize("width", [2, 3, 4, 5])
def test_short_conv_matches_the_oracle(isa: str, width: int) -> None:
    for h in (*SHORT, 1024):
        projected, taps, before = normal(7, 3 * h), normal(width, h, seed=1), normal(width - 1, h, seed=2)
        out, history = short_conv(projected, taps, before)
        b, c, z = np.split(projected, 3, axis=1)
        np.testing.assert_array_equal(history, np.concatenate([before, b * z]))
        terms = np.stack([taps[j] * history[j : j + 7].astype(np.float64) for j in range(width)])
        bound = (width + 1) * EPS * np.abs(terms).sum(0) * np.abs(c)
        assert np.all(np.abs(out - terms.sum(0) * c) <= bound)


@pytest.mark.parametrize("width", [2, 3, 4, 5])
def test_short_conv_cut_anywhere_gives_the_same_bits(isa: str, width: int) -> None:
    projected, taps, before = normal(9, 3 * 37), normal(width, 37, seed=1), normal(width - 1, 37, seed=2)
    whole, history = short_conv(projected, taps, before)
    for cut in range(10):
        first, state = short_conv(projected[:cut], taps, before)
        second, rest = short_conv(projected[cut:], taps, state[cut:])
        np.testing.assert_array_equal(np.concatenate([first, second]), whole)
        np.testing.assert_array_equal(np.concatenate([state, rest[width - 1 :]]), history)
