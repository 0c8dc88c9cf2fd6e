"""The kernel bench: families are found, ceilings are measured once, what is asked for is run."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from ruvllm.bench import kernels
from ruvllm.bench.kernels.machine import Ceilings, ceilings
from ruvllm.bench.report import Row


def test_the_ceilings_are_measured_once() -> None:
    found = ceilings()
    assert found is ceilings()
    assert found.bandwidth_bytes_per_s > 0
    assert found.cache_bandwidth_bytes_per_s > 0
    assert found.flops_per_s > 0


def test_a_floor_is_the_slowest_part() -> None:
    machine = Ceilings(
        bandwidth_bytes_per_s=10.0,
        update_bandwidth_bytes_per_s=20.0,
        cache_bandwidth_bytes_per_s=100.0,
        flops_per_s=1000.0,
    )
    assert machine.floor_s(read_bytes=20.0, cached_bytes=300.0, flops=1000.0) == 3.0
    assert machine.floor_s(read_bytes=50.0, flops=1000.0) == 5.0
    assert machine.floor_s(moved_bytes=50.0) == 2.5
    assert machine.floor_s(flops=500.0) == 0.5


def test_every_family_has_rows() -> None:
    assert "machine" not in kernels.families()
    for name in kernels.families():
        assert callable(__import__(f"ruvllm.bench.kernels.{name}", fromlist=["rows"]).rows)


def test_only_the_named_families_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second"):
        module = ModuleType(name)
        module.rows = lambda name=name: iter([Row(name, 1.0, "us")])  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, f"ruvllm.bench.kernels.{name}", module)
    monkeypatch.setattr(kernels, "families", lambda: ("first", "second"))
    seen: list[str] = []
    report = kernels.run(on_family=seen.append)
    assert report.bench == "kernels"
    assert seen == [row.name for row in report.rows] == ["first", "second"]
    assert [row.name for row in kernels.run(["second"]).rows] == ["second"]


def test_an_unknown_family_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"only must name kernel families: .* \(nonsense\)"):
        kernels.run(["nonsense"])
