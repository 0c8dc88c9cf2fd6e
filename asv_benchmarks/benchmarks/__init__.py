"""What is measured over time; the same hot paths as `ruvllm bench`."""

import os

# Peers run on one thread, as our kernels do unless told otherwise; read when NumPy first loads its BLAS.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def use_isa(isa: str) -> None:
    """Run kernels on one instruction set from here on; on another processor skip, in asv's way."""
    from ruvllm import kernels

    if isa not in kernels.available_isas():
        raise NotImplementedError
    kernels._use_isa(isa)
