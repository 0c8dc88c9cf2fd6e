"""Products with quantized matrices per instruction set, beside float32 and torch's int8; one thread.

RUVLLM_BENCH_SMALL=1 takes the small shape only.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from ruvllm.kernels.loaded import core

from . import use_isa

SHAPES = ["576x1536"] if os.environ.get("RUVLLM_BENCH_SMALL") else ["576x1536", "1024x4608"]
ISAS = ["scalar", "avx2", "avx512", "amx"]
Multiply = Callable[[np.ndarray, np.ndarray], object]  # of x and out


def make_int8(n: int, k: int) -> Multiply:
    """Return out = x W^T for a W of 8 bits that was packed before; quantizing x is part of it."""
    rng = np.random.default_rng(0)
    w = rng.integers(-127, 128, (n, k), dtype=np.int8)
    weights = core._Int8Weights(w, np.full(n, 0.01, np.float32), np.zeros(n, np.float32))
    return lambda x, out: weights.multiply(x, out, False)


def make_int4(n: int, k: int) -> Multiply:
    """The same for 4 bits."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (n, k // 2), dtype=np.uint8)
    weights = core._Int4Weights(codes, np.full((n, k // 32), 0.01, np.float16).view(np.uint16))
    return lambda x, out: weights.multiply(x, out, False)


def make_numpy(n: int, k: int) -> Multiply:
    """The same in float32."""
    w_t = np.random.default_rng(0).standard_normal((n, k), dtype=np.float32).T
    return lambda x, out: np.matmul(x, w_t, out)


def make_torch(n: int, k: int) -> Multiply:
    """The same by torch's dynamically quantized layer: 8 bits, one scale for all of x."""
    try:
        import torch
        from torch.ao.quantization import quantize_dynamic
    except ImportError as error:
        raise NotImplementedError from error  # asv's way to skip
    torch.set_num_threads(1)
    layer = quantize_dynamic(torch.nn.Sequential(torch.nn.Linear(k, n)), {torch.nn.Linear}, dtype=torch.qint8)

    def multiply(x: np.ndarray, _out: np.ndarray) -> object:
        with torch.inference_mode():
            return layer(torch.from_numpy(x))

    return multiply


class QuantizedMatmul:
    """m rows of activations by a matrix of (k inputs) x (n outputs): decoding is m = 1, a prompt is a large m."""

    param_names = ("shape", "m", "by")
    params = (
        SHAPES,
        [1, 8, 64, 512],
        [*(f"{kind} {isa}" for kind in ("int8", "int4") for isa in ISAS), "NumPy float32", "torch int8"],
    )

    def setup(self, shape: str, m: int, by: str) -> None:
        k, n = map(int, shape.split("x"))
        kind, isa = by.split()
        if kind.startswith("int"):
            if isa == "scalar" and m > 8:
                raise NotImplementedError  # the definition, not a contestant
            use_isa(isa)
        make = {"int8": make_int8, "int4": make_int4, "NumPy": make_numpy, "torch": make_torch}[kind]
        self.multiply, self.out = make(n, k), np.empty((m, n), np.float32)
        self.x = np.random.default_rng(1).standard_normal((m, k), dtype=np.float32)

    def time_multiply(self, shape: str, m: int, by: str) -> None:
        self.multiply(self.x, self.out)
