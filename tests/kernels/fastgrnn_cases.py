"""FastGRNN models of every form, and their oracles."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.fastgrnn_oracle import Oracle
from ruvllm.kernels import FastGrnn, Head, keep_largest

HEADS = (Head("tier", 3, "softmax"), Head("score", 2, "linear"), Head("confidence", 2, "sigmoid"))

FORMS = ["dense", "low_rank", "sparse", "full_u"]


def mask_of(hidden: int, inputs: int, density: float = 0.3, seed: int = 0) -> np.ndarray:
    return keep_largest(np.random.default_rng(seed).standard_normal((hidden, inputs)), density)


def model_of(form: str, inputs: int = 128, hidden: int = 64, seed: int = 0, **options: Any) -> FastGrnn:
    forms: dict[str, dict[str, Any]] = {
        "dense": {"u_rank": min(8, hidden)},
        "low_rank": {"w_rank": min(5, inputs, hidden), "u_rank": min(3, hidden)},
        "sparse": {"w_support": mask_of(hidden, inputs), "u_rank": min(8, hidden)},
        "full_u": {"u_rank": 0},
    }
    model = FastGrnn(inputs, hidden, **({"heads": HEADS} | forms[form] | options))
    rng = np.random.default_rng(seed)
    flat = model.initial_params(rng)
    flat += (0.2 * rng.standard_normal(flat.shape)).astype(flat.dtype)  # biases, zeta and nu away from their defaults
    model.set_params(flat)
    return model


def oracle_of(model: FastGrnn, form: str) -> Oracle:
    if form != "sparse":
        return Oracle(model, model.params())
    mask = mask_of(model.hidden_size, model.input_size)
    oracle, w = Oracle(model, model.params()), np.zeros(mask.shape)
    w[mask] = oracle.p["w"]
    return oracle.with_w(w)


def normal(*shape: int, seed: int = 1, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)
