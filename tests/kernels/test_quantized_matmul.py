"""Products with quantized matrices against NumPy on whole numbers: the same bits on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels.unaligned import shifted
from ruvllm import kernels
from ruvllm.kernels.loaded import core

EPS = float(np.finfo(np.float32).eps)
GROUP, INT4_GROUP = 64, 32  # entries of x, and of a row of an int4 W, that share a scale
DEPTHS = [1, 3, 4, 31, 32, 33, 63, 64, 65, 100, 128, 191, 192, 260]  # on both sides of every quad and group
WIDTHS = [1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 80]  # on both sides of every panel and block of panels


def in_groups(a: np.ndarray) -> np.ndarray:
    """(rows, k) -> (rows, groups, GROUP), filled up with zeros."""
    return np.pad(a, [(0, 0), (0, -a.shape[1] % GROUP)]).reshape(len(a), -1, GROUP)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def quantized(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (m, groups, GROUP) whole numbers and (m, groups) float32 scales: the largest entry becomes 127."""
    groups = in_groups(x)
    largest = np.abs(groups).max(-1)
    inverse = np.divide(np.float32(127), largest, out=np.zeros_like(largest), where=largest > 0)
    return np.rint(groups * inverse[..., None]).astype(np.int64), largest / np.float32(127)


class Int8:
    """A W of 8 bits, one scale a row, and a bias."""

    def __init__(self, n: int, k: int, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        self.w = rng.integers(-128, 128, (n, k), dtype=np.int8)
        self.row_scales = rng.uniform(0.001, 0.1, n).astype(np.float32)
        self.bias = rng.standard_normal(n, dtype=np.float32)

    def multiply(self, x: np.ndarray, out: np.ndarray, add: bool) -> None:
        core._Int8Weights(self.w, self.row_scales, self.bias).multiply(x, out, add)

    def exact(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return x W^T and the most that one rounding a group and one at the end can change."""
        values, scales = quantized(x)
        w = in_groups(self.w.astype(np.int64))
        terms = np.einsum("mgi,ngi->mng", values, w) * scales[:, None].astype(np.float64) * self.row_scales[:, None]
        bound = (terms.shape[-1] + 1) * EPS * np.abs(terms).sum(-1) + EPS * np.abs(self.bias)
        return terms.sum(-1) + self.bias, bound


class Int4:
    """A W of 4 bits, with a float16 scale for each 32 entries of a row."""

    def __init__(self, n: int, k: int, seed: int = 1) -> None:
        rng, groups = np.random.default_rng(seed), -(-k // INT4_GROUP)
        self.codes = rng.integers(0, 256, (n, groups * INT4_GROUP // 2), dtype=np.uint8)
        self.scales = rng.uniform(0.001, 0.1, (n, groups)).astype(np.float16)

    def multiply(self, x: np.ndarray, out: np.ndarray, add: bool) -> None:
        core._Int4Weights(self.codes, self.scales.view(np.uint16)).multiply(x, out, add)

    def exact(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return x W^T and the most that two roundings a group can change."""
        n, groups = self.scales.shape
        bytes_of_group = self.codes.reshape(n, groups, INT4_GROUP // 2).astype(np.int64)
        w = np.concatenate([bytes_of_group & 15, bytes_of_group >> 4], axis=-1) - 8  # entries j and j + 16 share a byte
        values, scales = quantized(x)
        values = values.reshape(len(x), -1, INT4_GROUP)[:, :groups]
        scales = np.repeat(scales, GROUP // INT4_GROUP, axis=1)[:, None, :groups].astype(np.float64)
        terms = np.einsum("mgi,ngi->mng", values, w) * scales * self.scales.astype(np.float64)
        return terms.sum(-1), (groups + 1) * EPS * np.abs(terms).sum(-1)


Weights = Int8 | Int4
both_kinds = pytest.mark.parametrize("kind", [Int8, Int4])


def product(weights: Weights, x: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    n = len(weights.w if isinstance(weights, Int8) else weights.codes)
    out = np.full((len(x), n), np.nan, np.float32) if before is None else before.copy()
    weights.multiply(x, out, before is not None)
    return out


def products(weights: Weights, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return the product by every instruction set."""
    before, found = kernels.isa(), {}
    for isa in kernels.available_isas():
        kernels._use_isa(isa)
        found[isa] = product(weights, x)
    kernels._use_isa(before)
    return found


def check(weights: Weights, x: np.ndarray) -> None:
    exact, bound = weights.exact(x)
    assert np.all(np.abs(product(weights, x) - exact) <= bound)
    before = normal(*exact.shape, seed=2)
    assert np.all(np.abs(product(weights, x, before) - (exact + before)) <= bound + EPS * np.abs(exact + before))


def check_same_bits(weights: Weights, x: np.ndarray) -> None:
    found = products(weights, x)
    for isa, values in found.items():
        np.testing.assert_array_equal(values, found["scalar"], err_msg=isa)


def test_rows_are_quantized_as_defined(isa_or_amx: str) -> None:
    for k in range(1, 2 * GROUP + 2):
        x = normal(3, k, seed=k)
        values, scales = quantized(x)
        found_values, found_scales, found_sums = core._quantize_rows(x)
        np.testing.assert_array_equal(found_values, values.reshape(3, -1))
        np.testing.assert_array_equal(found_scales, scales)
        np.testing.assert_array_equal(found_sums, values.reshape(3, -1, INT4_GROUP).sum(-1))


def test_halves_are_rounded_to_even(isa_or_amx: str) -> None:
    x = np.array([[127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, -126.5]], np.float32)
    np.testing.assert_array_equal(core._quantize_rows(x)[0][0, :9], [127, 0, 2, 2, 0, -2, -2, 126, -126])


@pytest.mark.parametrize("largest", [1e-30, 1.0, 3e38])
def test_the_largest_entry_becomes_127(isa_or_amx: str, largest: float) -> None:
    x = np.float32(largest) * np.array([[-1.0, 1.0, 0.0, 0.25]], np.float32)
    values, scales, _ = core._quantize_rows(x)
    assert values[0, :4].tolist() == [-127, 127, 0, 32]
    assert scales[0, 0] == np.float32(largest) / np.float32(127)


@both_kinds
def test_every_depth_matches_the_oracle(isa_or_amx: str, kind: type[Weights]) -> None:
    for k in DEPTHS:
        for m in (1, 5, 17):
            check(kind(37, k), normal(m, k))


@both_kinds
def test_every_width_matches_the_oracle(isa_or_amx: str, kind: type[Weights]) -> None:
    for n in WIDTHS:
        for m in (1, 3, 9):
            check(kind(n, 100), normal(m, 100))


@both_kinds
@pytest.mark.parametrize(("m", "n", "k"), [(1, 576, 1536), (20, 1536, 576), (33, 200, 4608)])
def test_real_sizes_match_the_oracle(isa_or_amx: str, kind: type[Weights], m: int, n: int, k: int) -> None:
    check(kind(n, k), normal(m, k))


@both_kinds
def test_every_instruction_set_gives_the_same_bits(kind: type[Weights]) -> None:
    for m in (1, 2, 3, 4, 7, 8, 9, 12, 13, 15, 16, 17, 25, 31, 32, 33, 48):
        for n, k in ((1, 1), (33, 65), (70, 100), (64, 192)):
            check_same_bits(kind(n, k), normal(m, k))


@both_kinds
def test_a_batch_equals_its_rows_one_by_one(isa_or_amx: str, kind: type[Weights]) -> None:
    weights, x = kind(70, 200), normal(40, 200)
    rows = np.concatenate([product(weights, x[i : i + 1]) for i in range(len(x))])
    for m in range(1, len(x) + 1):
        np.testing.assert_array_equal(product(weights, x[:m]), rows[:m])


@both_kinds
def test_a_column_does_not_depend_on_the_columns_beside_it(isa_or_amx: str, kind: type[Weights]) -> None:
    weights, x = kind(80, 100), normal(9, 100)
    together = product(weights, x)
    for name, values in vars(weights).items():
        setattr(weights, name, np.ascontiguousarray(values[7:40]))
    np.testing.assert_array_equal(product(weights, x), together[:, 7:40])


@both_kinds
def test_unaligned_starts_give_the_same_bits(isa_or_amx: str, kind: type[Weights]) -> None:
    weights, x, before = kind(37, 100), normal(9, 100), normal(9, 37, seed=2)
    expected = product(weights, x, before)
    for offset in range(1, 16):
        out = shifted(before, offset)
        weights.multiply(shifted(x, offset), out, True)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("w", [-128, -127, 127])
def test_the_largest_int8_sums_are_exact(isa_or_amx: str, sign: int, w: int) -> None:
    weights, x = Int8(17, 4608), np.full((9, 4608), 127 * sign, np.float32)
    weights.w[...], weights.row_scales[...], weights.bias[...] = w, 1, 0
    assert np.all(product(weights, x) == 127 * sign * w * 4608)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("code", [0, 8, 15])
def test_the_largest_int4_sums_are_exact(isa_or_amx: str, sign: int, code: int) -> None:
    weights, x = Int4(17, 4608), np.full((9, 4608), 127 * sign, np.float32)
    weights.codes[...], weights.scales[...] = 17 * code, 1
    assert np.all(product(weights, x) == 127 * sign * (code - 8) * 4608)


def test_every_code_stands_at_its_place(isa_or_amx: str) -> None:
    weights = Int4(16, 32)
    for column in range(32):
        x = np.zeros((1, 32), np.float32)
        x[0, column] = 127
        codes = (weights.codes[:, column % 16] >> (4 * (column // 16))) & 15
        expected = (127 * (codes.astype(np.float32) - 8)) * weights.scales.astype(np.float32)[:, 0]
        np.testing.assert_allclose(product(weights, x)[0], expected, rtol=2 * EPS, atol=0)


def test_zeros_leave_the_bias(isa_or_amx: str) -> None:
    weights = Int8(37, 100)
    np.testing.assert_array_equal(product(weights, np.zeros((9, 100), np.float32)), np.tile(weights.bias, (9, 1)))
    assert not product(Int4(37, 100), np.zeros((9, 100), np.float32)).any()


@both_kinds
def test_one_huge_entry_matches_the_oracle(isa_or_amx: str, kind: type[Weights]) -> None:
    x = normal(9, 200)
    x[3, 70] = -1e30  # the other entries of its group become 0, those of other groups stay
    check(kind(37, 200), x)


@both_kinds
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("m", [1, 9, 17])
def test_a_row_that_is_not_finite_gives_nan_alone(isa_or_amx: str, kind: type[Weights], bad: float, m: int) -> None:
    weights, x = kind(37, 100), normal(m, 100)
    expected = product(weights, x)
    for column in (0, 63, 64, 99):
        changed = x.copy()
        changed[m // 2, column], expected[m // 2] = bad, np.nan
        np.testing.assert_array_equal(product(weights, changed), expected)


def test_the_smallest_scales_count(isa_or_amx: str) -> None:
    weights, x = Int4(37, 100), normal(9, 100)
    smallest = np.finfo(np.float16).smallest_subnormal
    weights.scales[::2], weights.scales[1::4, 0] = [0, smallest, 3 * smallest, -0.5], np.finfo(np.float16).max
    check(weights, x)


@pytest.mark.parametrize("largest", [9e-37, 3e-37, 1e-39, 1e-45])
def test_a_group_of_the_smallest_entries_counts_as_zeros(isa_or_amx: str, largest: float) -> None:
    x = np.float32(largest) * np.array([[1.0, -1.0, 0.0, 0.5]], np.float32)
    values, _, sums = core._quantize_rows(x)
    assert not values.any() and not sums.any()


@both_kinds
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(
    m=st.integers(1, 40),
    n=st.integers(1, 70),
    k=st.integers(1, 200),
    spread=st.sampled_from([0, 1, 6]),
    zeros=st.sampled_from([0.0, 0.5, 0.95]),
    seed=st.integers(0, 1000),
)
def test_any_shape_gives_the_oracles_numbers_and_the_same_bits(
    kind: type[Weights], m: int, n: int, k: int, spread: int, zeros: float, seed: int
) -> None:
    rng, weights = np.random.default_rng(seed), kind(n, k, seed)
    x = (rng.standard_normal((m, k)) * 10.0 ** rng.uniform(-spread, spread, (m, k))).astype(np.float32)
    x[rng.random((m, k)) < zeros] = 0
    exact, bound = weights.exact(x)
    found = products(weights, x)
    assert np.all(np.abs(found["scalar"] - exact) <= bound)
    for values in found.values():
        np.testing.assert_array_equal(values, found["scalar"])
