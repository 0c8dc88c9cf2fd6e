"""Edge decay per instruction set, beside NumPy and numexpr; RUVLLM_BENCH_SMALL=1 takes a tenth of the edges."""

from __future__ import annotations

import os

from ruvllm import kernels
from ruvllm.bench.kernels.edge_decay import columns, full, numexpr_plain, numpy_full, numpy_plain, plain

NUM_EDGES = 1_000_000 if os.environ.get("RUVLLM_BENCH_SMALL") else 10_000_000
FORMS = {"plain": plain, "full": full}
PEERS = {
    ("plain", "NumPy in place"): numpy_plain,
    ("plain", "numexpr, 2 threads"): numexpr_plain,
    ("full", "NumPy in place"): numpy_full,
}


class EdgeDecay:
    """In place; the full form with types, counts and the mask of what may be pruned."""

    param_names = ("form", "by")
    params = (list(FORMS), ["scalar", "avx2", "avx512", "NumPy in place", "numexpr, 2 threads"])

    def setup(self, form: str, by: str) -> None:
        make = PEERS.get((form, by))
        if by in kernels.available_isas():
            kernels._use_isa(by)
            make = FORMS[form]
        if make is None or (call := make(columns(NUM_EDGES))) is None:
            raise NotImplementedError  # not on this processor, not installed, or no such peer
        self.call = call

    def time_decay(self, form: str, by: str) -> None:
        self.call()
