"""`ruvllm bench kernels`: every kernel beside its peers and its floor; one module a family, each with `rows()`.

asv_benchmarks share the setup code of these modules.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence

from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.timing import peer

__all__ = ["families", "run"]


def families() -> tuple[str, ...]:
    """Return the names of the kernel families that can be measured."""
    return tuple(module.name for module in pkgutil.iter_modules(__path__) if module.name != "machine")


def run(only: Sequence[str] = (), *, on_family: Callable[[str], None] | None = None) -> Report:
    """Measure the families named in `only`, or all of them, on one thread each; takes some seconds a row.

    Raises:
        ValueError: a name in `only` is no family.
    """
    known = families()
    for name in only:
        if name not in known:
            raise ValueError(f"only must name kernel families: {', '.join(known)} ({name})")
    if (threadpoolctl := peer("threadpoolctl")) is not None:
        threadpoolctl.threadpool_limits(1)  # NumPy's BLAS; other peers are limited where they are loaded
    rows: list[Row] = []
    for name in only or known:
        if on_family is not None:
            on_family(name)
        rows.extend(importlib.import_module(f"{__name__}.{name}").rows())
    return make_report("kernels", rows)
