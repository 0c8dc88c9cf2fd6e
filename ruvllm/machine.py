"""What a figure or a student was made on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from ruvllm import kernels

__all__ = ["machine"]


def machine() -> dict[str, str | int]:
    """Return what a reader must know to compare figures: processor, cores, instruction set, Python."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "isa": kernels.isa(),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
