"""`ruvllm router NAME`: what the router decided, and why."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
import typer
from rich.markup import escape

from ruvllm.cli import router_learn
from ruvllm.cli.brain import DEFAULT_BRAIN, BrainOption, existing
from ruvllm.cli.console import out
from ruvllm.cli.router_explain import number, policy_for, print_explanation, print_table
from ruvllm.memory import LoggedDecision, Memory
from ruvllm.router.explain import Explanation
from ruvllm.router_inputs import tiers_of
from ruvllm.types import Decision, TierOutcome

__all__ = ["register", "router_app"]

router_app = typer.Typer(help="Which model answers, and why.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@router_app.callback()
def _root() -> None:
    pass


@router_app.command()
def log(
    brain: BrainOption = DEFAULT_BRAIN,
    limit: Annotated[int, typer.Option("--limit", "-n", help="Requests to show, the newest.")] = 20,
    json: JsonOption = False,
) -> None:
    """Show the newest requests: who answered, what was expected, and what came of it."""
    with Memory(existing(brain), read_only=True) as memory:
        found = memory.route_log(limit)
    if json:
        print(msgspec.json.encode(found).decode())
        return
    if not found:
        out.print("nothing is logged yet")
        return
    print_table(
        ("id", "when", "tier", "decided by", "expected", "quality", "ms", "cost", "question"),
        [_line(logged) for logged in found],
    )


@router_app.command()
def explain(
    id: Annotated[str, typer.Argument(help="The answer's id, as `ask` printed it.")],
    brain: BrainOption = DEFAULT_BRAIN,
    json: JsonOption = False,
) -> None:
    """Show one decision: what was expected of each tier, what that is made of, and what they did."""
    with Memory(existing(brain), read_only=True) as memory:
        logged = memory.routed(id)
        why = _explained(memory, logged)
    if json:
        found = {"explanation": None, "not_explained": why} if isinstance(why, str) else {"explanation": why}
        print(msgspec.json.encode(msgspec.to_builtins(logged) | found).decode())
        return
    decision = logged.decision
    if decision is None:
        out.print(f"{logged.outcomes[0].tier} answered: there was no choice", markup=False)
        return
    out.print(f"{decision.tier} answered ({_how(decision)}): {decision.reason or 'no reason given'}", markup=False)
    done = {outcome.tier: outcome for outcome in logged.outcomes}
    print_table(
        ("tier", "score", "chance", "expected", "ms", "cost", "quality", "said by", "real ms", "real cost"),
        [
            (
                escape(one.tier),
                number(one.score),
                number(one.propensity),
                number(one.quality),
                number(one.latency_ms),
                number(one.cost),
                *_done(done.get(one.tier)),
            )
            for one in decision.estimates
        ],
    )
    if isinstance(why, str):
        out.print(f"not explained: {why}", markup=False)
    else:
        print_explanation(why)


def _explained(memory: Memory, logged: LoggedDecision) -> Explanation | str:
    """Return why a request was routed as it was, or why that is not known."""
    from ruvllm.learning.explained import explained

    if logged.decision is None:
        return "there was no choice"
    try:
        policy = policy_for(memory.config, [one.tier for one in logged.decision.estimates])
        return explained(memory, logged, policy, tiers_of(memory.config.models.tiers, memory.config.models))
    except ValueError as error:
        return str(error)


def _line(logged: LoggedDecision) -> tuple[str, ...]:
    decision, shown = logged.decision, logged.outcomes[0] if logged.outcomes else None
    quality, _, latency_ms, cost = _done(shown)
    return (
        logged.id,
        f"{datetime.fromtimestamp(logged.created):%Y-%m-%d %H:%M}",
        escape(decision.tier if decision else shown.tier if shown else ""),
        _how(decision) if decision else "no choice",
        number(decision.chosen.quality if decision else None),
        quality,
        latency_ms,
        cost,
        "[dim]forgotten[/]" if logged.query is None else escape(_shortened(logged.query)),
    )


def _how(decision: Decision) -> str:
    also = {"explored": decision.explored, "probed": decision.probed, "calibrates": decision.calibrates}
    return ", ".join([escape(decision.decided_by), *(name for name, is_so in also.items() if is_so)])


def _done(outcome: TierOutcome | None) -> tuple[str, str, str, str]:
    """Return what a tier did, empty where nothing is known."""
    if outcome is None:
        return "", "", "", ""
    return number(outcome.quality), outcome.source or "", number(outcome.latency_ms), number(outcome.cost)


def _shortened(text: str, chars: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= chars else line[: chars - 1] + "…"


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    router_learn.register(router_app)
    app.add_typer(router_app, name="router")
