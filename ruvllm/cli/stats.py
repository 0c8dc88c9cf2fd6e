"""`ruvllm stats`: what a brain holds and how long its requests took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from ruvllm.cli.brain import DEFAULT_BRAIN, BrainOption, existing
from ruvllm.cli.console import out
from ruvllm.cli.schedule import print_jobs
from ruvllm.memory import Memory
from ruvllm.memory.stats import MemoryStats, gauges_of
from ruvllm.metrics import Gauge, stage_quantiles, text_of

__all__ = ["register"]

QUANTILES = (0.5, 0.95)
NEWEST = 1000  # requests whose times are shown


def stats(
    brain: BrainOption = DEFAULT_BRAIN,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print Prometheus' text format: what is in the store, no counters.")
    ] = False,
) -> None:
    """Show what the brain holds, and how long its newest requests took."""
    if json and prometheus:
        raise typer.BadParameter("--json and --prometheus exclude each other")
    with Memory(existing(brain), read_only=True) as memory:
        found = memory.stats()
        stages = stage_quantiles(memory.timings(NEWEST), QUANTILES)
    if prometheus:
        print(text_of([*gauges_of(found), *_stage_gauges(stages)]), end="")
    elif json:
        print(msgspec.json.encode(_sizes(found) | {"stages_ms": _named(stages)}).decode())
    else:
        _print(found, stages)


def _print(found: MemoryStats, stages: Mapping[str, tuple[float, ...]]) -> None:
    for name, value in _sizes(found).items():
        if name != "jobs":
            out.print(f"{name.replace('_', ' '):24} {_shown(value)}")
    print_jobs(found.jobs)
    if stages:
        table = Table("stage, newest requests", "p50 ms", "p95 ms", box=None, padding=(0, 2, 0, 0))
        for stage, values in stages.items():
            table.add_row(stage.replace("_", " "), *(f"{value:.2f}" for value in values))
        out.print()
        out.print(table)


def _sizes(found: MemoryStats) -> dict[str, Any]:
    """Return what the brain holds; that it is open for reading only is said of this command, not of the brain."""
    return {name: value for name, value in msgspec.to_builtins(found).items() if name != "read_only"}


def _named(stages: Mapping[str, tuple[float, ...]]) -> dict[str, dict[str, float]]:
    names = [f"p{100 * q:.0f}" for q in QUANTILES]
    return {stage: dict(zip(names, values, strict=True)) for stage, values in stages.items()}


def _stage_gauges(stages: Mapping[str, tuple[float, ...]]) -> list[Gauge]:
    help_ = f"Time of each stage over the newest {NEWEST} stored requests."
    return [
        Gauge("ruvllm_recent_stage_seconds", help_, ms / 1e3, {"stage": stage, "quantile": f"{quantile:g}"})
        for stage, values in stages.items()
        for quantile, ms in zip(QUANTILES, values, strict=True)
    ]


def _shown(value: object) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(stats)
