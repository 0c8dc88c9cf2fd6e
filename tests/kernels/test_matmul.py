"""The products under the other kernels, against NumPy in float64, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.unaligned import shifted
from ruvllm import kernels
from ruvllm.kernels.loaded import core

EPS = float(np.finfo(np.float32).eps)
FORMS = ("nn", "tn", "nt", "packed")
SHAPES = {"nn": ("mk", "kn"), "packed": ("mk", "kn"), "tn": ("km", "kn"), "nt": ("mk", "nk")}
SIZES = [0, 1, 2, 5, 6, 7, 13, 14, 15, 16, 17, 29, 31, 32, 33, 48, 65]  # on both sides of every tile, panel and vector


def operands(form: str, m: int, n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng, size = np.random.default_rng(seed), {"m": m, "n": n, "k": k}
    a, b = (rng.standard_normal([size[axis] for axis in axes], dtype=np.float32) for axes in SHAPES[form])
    return a, b


def plain(form: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a.T if form == "tn" else a) @ (b.T if form == "nt" else b)


def product(form: str, a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    m, n = a.shape[form == "tn"], b.shape[form != "nt"]
    result = np.full((m, n), np.nan, a.dtype) if out is None else out.copy()
    core._matmul(form, a, b, result, out is not None)
    return result


def check(form: str, m: int, n: int, k: int) -> None:
    a, b = operands(form, m, n, k)
    exact = plain(form, a.astype(np.float64), b.astype(np.float64))
    bound = (k + 1) * EPS * plain(form, np.abs(a.astype(np.float64)), np.abs(b.astype(np.float64)))
    assert np.all(np.abs(product(form, a, b) - exact) <= bound)
    before = np.random.default_rng(1).standard_normal((m, n), dtype=np.float32)
    assert np.all(np.abs(product(form, a, b, before) - (exact + before)) <= bound + EPS * np.abs(exact + before))


@pytest.mark.parametrize("form", FORMS)
def test_every_block_of_rows_and_columns_matches_the_oracle(isa: str, form: str) -> None:
    for m in SIZES[:-4]:
        for n in SIZES:
            check(form, m, n, k=11)


@pytest.mark.parametrize("form", FORMS)
def test_every_depth_matches_the_oracle(isa: str, form: str) -> None:
    for k in range(2 * 16 + 2):
        check(form, 5, 37, k)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(50, 384, 384), (1, 384, 384), (1, 300, 129), (256, 64, 128), (130, 97, 30)])
def test_real_sizes_match_the_oracle(isa: str, form: str, shape: tuple[int, int, int]) -> None:
    check(form, *shape)


@pytest.mark.parametrize("form", FORMS)
def test_instruction_sets_agree_up_to_rounding(isa: str, form: str) -> None:
    a, b = operands(form, 50, 130, 97)
    found, whole = product(form, a, b), product(form, np.rint(8 * a), np.rint(8 * b))
    kernels._use_isa("scalar")
    bound = 2 * 98 * EPS * plain(form, np.abs(a.astype(np.float64)), np.abs(b.astype(np.float64)))
    assert np.all(np.abs(found - product(form, a, b)) <= bound)
    np.testing.assert_array_equal(whole, product(form, np.rint(8 * a), np.rint(8 * b)))  # sums of integers are exact


@pytest.mark.parametrize("form", FORMS)
def test_unaligned_starts_give_the_same_bits(isa: str, form: str) -> None:
    a, b = operands(form, 15, 37, 19)
    before = np.random.default_rng(1).standard_normal((15, 37), dtype=np.float32)
    for add in (False, True):
        expected = before.copy()
        core._matmul(form, a, b, expected, add)
        for offset in range(1, 16):
            out = shifted(before, offset)
            core._matmul(form, shifted(a, offset), shifted(b, offset), out, add)
            np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("form", FORMS)
def test_a_row_does_not_depend_on_the_rows_beside_it(isa: str, form: str) -> None:
    a, b = operands(form, 30, 150, 70)
    together = product(form, a, b)
    for i in range(30):
        row = a[:, i : i + 1] if form == "tn" else a[i : i + 1]
        np.testing.assert_array_equal(product(form, np.ascontiguousarray(row), b)[0], together[i])


def test_packing_changes_no_bit(isa: str) -> None:
    a, b = operands("nn", 50, 100, 70)
    np.testing.assert_array_equal(product("packed", a, b), product("nn", a, b))


@pytest.mark.parametrize("form", ["nn", "tn", "nt"])
def test_the_definition_runs_in_float64(form: str) -> None:
    a, b = (x.astype(np.float64) for x in operands(form, 7, 9, 11))
    np.testing.assert_allclose(product(form, a, b), plain(form, a, b), rtol=0, atol=1e-13)
