"""`ruvllm router whatif` and `report`: what another floor would have meant, and how the router does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.markup import escape

from ruvllm.cli.brain import DEFAULT_BRAIN, BrainOption, existing
from ruvllm.cli.console import out
from ruvllm.cli.router import JsonOption, router_app
from ruvllm.cli.router_explain import number, policy_for, print_table
from ruvllm.memory import LoggedDecision, Memory
from ruvllm.viz.svg import checked_file, write

if TYPE_CHECKING:
    from ruvllm.learning.forgetting import Forgetting
    from ruvllm.learning.router_report import RouterReport
    from ruvllm.learning.whatif import Routed, WhatIf
    from ruvllm.router.off_policy import Estimate
    from ruvllm.router.policy import Policy

__all__ = ["register"]

DaysOption = Annotated[float, typer.Option("--days", help="How far back the log is read.")]


def _routed(memory: Memory, days: float) -> tuple[list[LoggedDecision], Routed, Policy]:
    """Return the decisions of the newest days, those of them that a trained router took, and today's policy."""
    from ruvllm.learning.whatif import decisions_of, routed_log

    decisions = decisions_of(memory, days)
    rows = routed_log(memory, decisions)
    return decisions, rows, policy_for(memory.config, [tier.name for tier in rows.tiers])


def whatif(
    quality_floor: Annotated[float, typer.Option("--quality-floor", min=0.0, max=1.0, help="Another quality floor.")],
    days: DaysOption = 30.0,
    brain: BrainOption = DEFAULT_BRAIN,
    json: JsonOption = False,
) -> None:
    """Estimate quality, cost and latency that another quality floor would have given, from the requests of the log."""
    from ruvllm.learning.whatif import as_it_was, what_if

    with Memory(existing(brain), read_only=True) as memory:
        decisions, rows, policy = _routed(memory, days)
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


def report(
    file: Annotated[
        Path | None, typer.Option("--out", help="Draw into one FILE.svg, or into a folder, one file a plot.")
    ] = None,
    days: DaysOption = 30.0,
    brain: BrainOption = DEFAULT_BRAIN,
    json: JsonOption = False,
) -> None:
    """Show how the router does: what each floor gives, what its word is worth, who answered when."""
    from ruvllm.learning.forgetting import forgetting_of
    from ruvllm.learning.router_report import pictures, router_report

    with Memory(existing(brain), read_only=True) as memory:
        decisions, rows, policy = _routed(memory, days)
        forgot = forgetting_of(memory, default_tier=rows.tiers[policy.safe_default].name)
    found = router_report(decisions, rows, policy)
    written = [] if file is None else _drawn(pictures(found, forgot), file)
    if json:
        print(msgspec.json.encode(msgspec.to_builtins(found) | {"forgetting": forgot}).decode())
        return
    _print_report(found, len(rows))
    if forgot is not None:
        _print_forgetting(forgot)
    for path in written:
        out.print(f"drawn: {path}", markup=False)


def _drawn(svgs: Mapping[str, str], file: Path) -> list[Path]:
    """Write the pictures and return where."""
    from ruvllm.viz import stacked

    if file.suffix.lower() == ".svg":
        return [write(stacked(list(svgs.values())), checked_file(file))]
    file.mkdir(parents=True, exist_ok=True)
    return [write(svg, checked_file(file / f"{name}.svg")) for name, svg in svgs.items()]


def _print_report(found: RouterReport, trained: int) -> None:
    how = ", ".join(f"{escape(name)} {count}" for name, count in found.decided_by.items())
    out.print(f"{found.requests} requests, {trained} of them decided by a trained router: {how}")
    out.print(
        f"{found.explored} explored, {found.probed} probed, {found.calibrates} for calibration; "
        f"no choice was less likely than {found.least_propensity:.3f}"
    )
    spans = [
        (f"day {one.days:.2f}", str(one.requests), *(f"{share:.0%}" for share in one.shares)) for one in found.shares
    ]
    print_table(("from", "requests", *map(escape, found.tiers)), spans)
    known = found.reliability
    if known is None:
        out.print("too few answers were rated to judge the expected quality")
    else:
        out.print(f"expected quality: ECE {known.ece:.3f}, Brier {known.brier:.3f} on {known.rated} rated answers")
    if found.frontier:
        lines = [
            (escape(one.name), _interval(one.quality), _interval(one.cost), f"{one.quality.effective:.0f}")
            for one in found.frontier
        ]
        print_table(("policy", "quality", "cost", "worth requests"), lines)
    if found.refused:
        out.print(f"the log is worth too little to judge: {', '.join(found.refused)}", markup=False)


def _print_forgetting(forgot: Forgetting) -> None:
    spans = tuple(f"{count} requests" for count in forgot.requests)
    lines = [
        (str(version), *(f"{share:.0%}" for share in row))
        for version, row in zip(forgot.versions, forgot.right, strict=True)
    ]
    out.print("outcomes put on the right side of the floor, by version and span of the log, oldest first:")
    print_table(("version", *spans), lines)
    if forgot.forgotten is not None:
        out.print(f"forgotten by the newest version: {100 * forgot.forgotten:.1f} points")


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
    router_app.command()(report)
