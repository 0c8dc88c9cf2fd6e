"""What is measured over time; the same hot paths as `ruvllm bench`."""

import os

# Peers run on one thread, as our kernels do unless told otherwise; read when NumPy first loads its BLAS.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
