"""Every kernel test runs on every instruction set this machine has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ruvllm import kernels


def _use(isa: str) -> Iterator[str]:
    before = kernels.isa()
    kernels._use_isa(isa)
    yield isa
    kernels._use_isa(before)


@pytest.fixture(params=[isa for isa in kernels.available_isas() if isa != "amx"])
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Those that most kernels have a variant for; on amx they run avx512's."""
    yield from _use(request.param)


@pytest.fixture(params=kernels.available_isas())
def isa_or_amx(request: pytest.FixtureRequest) -> Iterator[str]:
    """All, for products of quantized matrices."""
    yield from _use(request.param)
