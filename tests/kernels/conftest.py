"""Every kernel test runs on every instruction set this machine has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ruvllm import kernels


@pytest.fixture(params=kernels.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = kernels.isa()
    kernels._use_isa(request.param)
    yield request.param
    kernels._use_isa(before)
