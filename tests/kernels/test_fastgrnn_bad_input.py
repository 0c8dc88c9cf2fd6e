"""What FastGRNN refuses, and what it then leaves as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels.fastgrnn_cases import model_of
from ruvllm.kernels import FastGrnn, Head, keep_largest

F = np.float32

X, H = np.zeros(3, F), np.zeros(2, F)

NAN, INF = np.array([0, np.nan, 0], F), np.array([0, np.inf], F)


@pytest.mark.parametrize(
    ("x", "h", "error", "says"),
    [
        ([0.0] * 3, H, TypeError, r"x must be a numpy array \(list\)"),
        (np.zeros(3), H, ValueError, r"x must have dtype float32 \(float64\)"),
        (np.zeros(4, F), H, ValueError, r"x must have 3 entries \(4\)"),
        (np.zeros((1, 3), F), H, ValueError, r"x must have 1 dimensions \(2\)"),
        (np.zeros(6, F)[::2], H, ValueError, "x must be C-contiguous"),
        (NAN, H, ValueError, "x must be finite: entry 1"),
        (X, INF, ValueError, "h must be finite: entry 1"),
        (X, X, ValueError, r"h must have 2 entries \(3\)"),
        (X, None, TypeError, "h must be a numpy array"),
    ],
)
def test_a_bad_step_is_refused(isa: str, x: Any, h: Any, error: type[Exception], says: str) -> None:
    model = FastGrnn(3, 2, u_rank=1)
    for step in (model.step, model.quantize().step):
        with pytest.raises(error, match=says):
            step(x, h)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"input_size": 0}, ValueError, r"input_size must be in \[1, 16384\] \(0\)"),
        ({"hidden_size": -1}, ValueError, r"hidden_size must be in \[1, 16384\] \(-1\)"),
        ({"hidden_size": 10**9}, ValueError, "hidden_size must be in"),
        ({"input_size": 1.5}, TypeError, "incompatible constructor arguments"),
        ({"u_rank": 3}, ValueError, r"u_rank must be in \[0, 2\] \(3\)"),
        ({"w_rank": 3}, ValueError, r"w_rank must be in \[0, 2\] \(3\)"),
        ({"w_rank": 1, "w_support": np.ones((2, 3), bool)}, ValueError, "w_support must be None when w_rank is given"),
        ({"w_support": np.ones((3, 2), bool)}, ValueError, r"w_support must have 2 rows \(3\)"),
        ({"w_support": np.ones((2, 3))}, ValueError, r"w_support must have dtype bool \(float64\)"),
        ({"heads": [Head("a", 0, "softmax")]}, ValueError, r"size of a head must be in \[1, 16384\] \(0\)"),
        ({"heads": [Head("a", 1, "relu")]}, ValueError, r"activation must be softmax, sigmoid or linear \(relu\)"),
        ({"heads": [Head("a", 16384, "linear"), Head("b", 1, "linear")]}, ValueError, r"outputs of all .* \(16385\)"),
        ({"heads": [Head("a", 1, "linear"), Head("a", 1, "linear")]}, ValueError, "heads must have different names"),
        ({"dtype": np.float16}, ValueError, r"dtype must be float32 or float64 \(float16\)"),
    ],
)
def test_a_bad_model_is_refused(options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        FastGrnn(**({"input_size": 3, "hidden_size": 2, "u_rank": 1} | options))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"x": np.zeros((2, 3), F)}, ValueError, r"x must have 3 dimensions \(2\)"),
        ({"x": np.zeros((2, 0, 3), F)}, ValueError, "x must hold a sequence of at least one step"),
        ({"x": np.zeros((0, 1, 3), F), "h_0": np.zeros((0, 2), F)}, ValueError, "x must hold a sequence"),
        ({"x": np.full((2, 4, 3), np.inf, F)}, ValueError, r"x\[0\] must be finite"),
        ({"h_0": np.zeros((3, 2), F)}, ValueError, r"h_0 must have 2 rows \(3\)"),
        ({"h_0": np.full((2, 2), np.nan, F)}, ValueError, r"h_0\[0\] must be finite"),
        ({"d_logits": np.zeros((2, 4, 3), F)}, ValueError, "d_logits must have 12 columns"),
        ({"d_logits": np.full((2, 4, 12), np.nan, F)}, ValueError, r"d_logits\[0\] must be finite"),
        ({"d_hidden": np.zeros((2, 4, 2))}, ValueError, "d_hidden must have dtype float32"),
        ({"d_hidden": np.full((2, 4, 2), np.nan, F)}, ValueError, r"d_hidden\[0\] must be finite"),
    ],
)
def test_a_bad_batch_is_refused(change: dict[str, Any], error: type[Exception], says: str) -> None:
    good = {"x": np.zeros((2, 4, 3), F), "h_0": np.zeros((2, 2), F), "d_logits": None, "d_hidden": None} | change
    with pytest.raises(error, match=says):
        _, _, tape = FastGrnn(3, 2, u_rank=1).forward_with_tape(good["x"], good["h_0"])
        tape.backward(d_logits=good["d_logits"], d_hidden=good["d_hidden"])


def test_a_model_of_gigabytes_is_refused() -> None:
    with pytest.raises(ValueError, match="parameters of input_size, hidden_size must be in"):
        FastGrnn(16384, 16384, u_rank=0)


def test_a_batch_of_steps_has_two_dimensions() -> None:
    model = model_of("dense", 3, 2)
    with pytest.raises(ValueError, match=r"x must have 2 dimensions \(1\)"):
        model.step_batch(np.zeros(3, np.float32), np.zeros((1, 2), np.float32))
    with pytest.raises(TypeError, match=r"x must be a numpy array \(list\)"):
        model.step_batch([[0.0] * 3], np.zeros((1, 2), np.float32))  # type: ignore[arg-type]


def test_bad_parameters_leave_the_old_ones(isa: str) -> None:
    model = model_of("dense", 3, 2)
    before = model.params()
    for flat, says in (
        (before[:-1].copy(), "params must have"),
        (np.full_like(before, np.nan), "params must be finite"),
    ):
        with pytest.raises(ValueError, match=says):
            model.set_params(flat)
    with pytest.raises(ValueError, match="flat must have shape"):
        model.views(before[1:])
    np.testing.assert_array_equal(model.params(), before)


def test_what_cannot_be_pruned_or_rounded_is_refused() -> None:
    for w_density in (0.0, 1.1, -1.0, float("nan")):
        with pytest.raises(ValueError, match=r"w_density must be in \(0, 1\]"):
            keep_largest(np.ones((2, 2)), w_density)
    for w in (np.empty((0, 3)), np.array([[np.nan]])):
        with pytest.raises(ValueError, match="w must hold numbers"):
            keep_largest(w, 0.5)
    with pytest.raises(TypeError, match=r"w must be an array of floats \(list\)"):
        keep_largest([1.0, 2.0], 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dtype must be float32 to quantize"):
        FastGrnn(3, 2, u_rank=1, dtype=np.float64).quantize()
