"""Which instruction set the kernels use."""

from __future__ import annotations

from ruvllm.kernels.loaded import core

__all__ = ["available_isas", "isa"]


def isa() -> str:
    """Return the instruction set in use: "scalar", "avx2", "avx512" (with VNNI) or "amx"."""
    return core.isa()


def available_isas() -> tuple[str, ...]:
    """Return every instruction set this build and this processor have, lowest first."""
    return tuple(core.available_isas())


def _use_isa(name: str) -> None:
    """Re-point every kernel to the variants of `name`; for tests and benchmarks, while nothing else runs."""
    core._use_isa(name)
