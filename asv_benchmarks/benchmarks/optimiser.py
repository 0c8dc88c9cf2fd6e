"""One training step, per instruction set and beside torch; RUVLLM_BENCH_SMALL=1 takes the router only."""

from __future__ import annotations

import os

from ruvllm.bench.kernels.optimiser import adamw_peers, make_call
from ruvllm.kernels import FastGrnn

from . import use_isa

SIZES = [FastGrnn().num_params] if os.environ.get("RUVLLM_BENCH_SMALL") else [FastGrnn().num_params, 1_000_000]


class OptimiserStep:
    """Consolidation, clipping and AdamW over n parameters."""

    param_names = ("n", "by")
    params = (SIZES, ["scalar", "avx2", "avx512", "torch AdamW, fused", "torch AdamW, foreach"])

    def setup(self, n: int, by: str) -> None:
        if by.startswith("torch"):
            peers = adamw_peers(n)
            if by not in peers:
                raise NotImplementedError  # not installed
            self.call = peers[by]
            return
        use_isa(by)
        self.call = make_call(n)

    def time_step(self, n: int, by: str) -> None:
        self.call()
