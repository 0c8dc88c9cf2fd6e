"""`ruvllm router whatif` and `report`: what another floor would have meant, and how the router does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.markup import escape

from ruvllm.cli.brain import DEFAULT_BRAIN, BrainOption, existing
from ruvllm.cli.console import out
from ruvllm.cli.router import JsonOption, router_app
from ruvllm.cli.router_explain import number, policy_for, print_table
from ruvllm.memory import Memory

if TYPE_CHECKING:
    from ruvllm.learning.whatif import WhatIf
    from ruvllm.router.off_policy import Estimate

__all__ = ["register"]

DaysOption = Annotated[float, typer.Option("--days", help="How far back the log is read.")]


def whatif(
    quality_floor: Annotated[float, typer.Option("--quality-floor", min=0.0, max=1.0, help="Another quality floor.")],
    days: DaysOption = 30.0,
    brain: BrainOption = DEFAULT_BRAIN,
    json: JsonOption = False,
) -> None:
    """Estimate quality, cost and latency that another quality floor would have given, from the requests of the log."""
    from ruvllm.learning.whatif import as_it_was, decisions_of, routed_log, what_if

    with Memory(existing(brain), read_only=True) as memory:
        decisions = decisions_of(memory, days)
        rows = routed_log(memory, decisions)
        policy = policy_for(memory.config, [tier.name for tier in rows.tiers])
    floors = {"asked for": quality_floor, "today's": policy.quality_floor}
    floored = {name: replace(policy, quality_floor=floor, certified=False) for name, floor in floors.items()}
    found = {name: what_if(rows, one) for name, one in floored.items()}
    if json:
        print(msgspec.json.encode({"requests": len(rows), "tiers": rows.tiers, "floors": floors, **found}).decode())
        return
    out.print(f"{len(rows)} requests that a trained router decided, of {len(decisions)} in the last {days:g} days")
    quality, cost, latency = map(number, as_it_was(rows))
    names = [escape(tier.name) for tier in rows.tiers]
    print_table(
        ("floor", "", "quality", "cost", "p95 ms", "worth requests", *names),
        [
            *(_line(floors[name], name, one) for name, one in found.items()),
            ("", "as it was", quality, cost, latency, "", *([""] * len(names))),
        ],
    )
    if policy.certified:
        out.print("Certified mode is on, which no floor moves: both floors are judged as if it were off.")
    out.print("Doubly robust means with 95 % intervals, without exploration; quality as far as it was rated.")


def _line(floor: float, name: str, one: WhatIf) -> tuple[str, ...]:
    parts = (one.quality, one.cost, one.latency_p95_ms)
    effective = min(part.effective for part in parts)
    return (
        f"{floor:.2f}",
        name,
        *map(_interval, parts),
        f"{effective:.0f}",
        *(f"{share:.0%}" for share in one.shares),
    )


def _interval(one: Estimate) -> str:
    return f"{number(one.value)} ({number(one.low)} to {number(one.high)})"


def register() -> None:
    """Add these commands to `ruvllm router`."""
    router_app.command()(whatif)
