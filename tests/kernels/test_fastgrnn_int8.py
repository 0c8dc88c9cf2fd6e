"""FastGRNN with a byte a weight, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.fastgrnn_cases import FORMS, mask_of, model_of, normal
from kernels.fastgrnn_oracle import Oracle
from ruvllm.kernels import FastGrnn


def rounded(matrix: np.ndarray) -> np.ndarray:
    scale = np.float32(np.abs(matrix).max()) / np.float32(127)
    return (np.rint(matrix / scale).astype(np.float64) * scale).astype(np.float64)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("inputs", "hidden"), [(1, 1), (37, 21), (128, 64)])
def test_int8_computes_with_rounded_matrices(isa: str, form: str, inputs: int, hidden: int) -> None:
    model = model_of(form, inputs, hidden)
    flat = model.params().astype(np.float64)
    for name, view in model.views(flat).items():
        if name[0] in "wu" or name == "head_weight":
            view[...] = rounded(view.astype(np.float32))
    oracle = Oracle(model, flat)
    if form == "sparse":
        w = np.zeros((hidden, inputs))
        w[mask_of(hidden, inputs)] = oracle.p["w"]
        oracle.with_w(w)
    x, h = normal(inputs), normal(hidden, seed=2)
    new_h, outputs = model.quantize().step(x, h)
    truth, error = oracle.step(x.astype(np.float64), h.astype(np.float64))
    assert np.all(np.abs(new_h - truth) <= error)
    truth, error = oracle.outputs(truth, error)
    assert np.all(np.abs(outputs - truth) <= error)


def default_router() -> FastGrnn:
    model = FastGrnn(w_support=mask_of(64, 128, 0.1))
    model.set_params(model.initial_params(np.random.default_rng(0)))
    return model


def test_the_int8_router_fits_six_kilobytes() -> None:
    assert default_router().quantize().weight_bytes <= 6 * 1024


def test_int8_stays_within_half_a_step_of_every_weight(isa: str) -> None:
    model = default_router()
    x, h = normal(128), normal(64, seed=2)
    p = Oracle(model, model.params()).p
    half = {name: np.abs(p[name]).max() / 254 for name in ("w", "u1", "u2")}
    w_loss = half["w"] * (mask_of(64, 128, 0.1) @ np.abs(x))
    q, q_loss = p["u2"].T @ h, half["u2"] * np.abs(h).sum()
    u_loss = np.abs(p["u1"]).sum(1) * q_loss + half["u1"] * (np.abs(q) + q_loss).sum()
    slope = 2 + (np.abs(h) + 1) / 4
    assert np.all(np.abs(model.quantize().step(x, h)[0] - model.step(x, h)[0]) <= slope * (w_loss + u_loss) + 1e-5)


def test_the_smallest_weights_are_rounded_without_dividing_by_zero() -> None:
    model = FastGrnn(3, 2, u_rank=0)
    model.set_params(np.full(model.num_params, 1e-45, np.float32))
    x, h = np.ones(3, np.float32), np.zeros(2, np.float32)
    for found, wanted in zip(model.quantize().step(x, h), model.step(x, h), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
