"""What `import ruvllm` costs a fresh interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys

TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


class Import:
    """Seconds inside a new interpreter, its own start not counted; the median of five."""

    param_names = ("module",)
    params = (["ruvllm", "ruvllm.kernels", "ruvllm.text"],)

    def track_import(self, module: str) -> float:
        command = [sys.executable, "-P", "-c", TIMED.format(module)]
        return statistics.median(float(subprocess.check_output(command)) for _ in range(5))


Import.track_import.unit = "seconds"  # type: ignore[attr-defined]
