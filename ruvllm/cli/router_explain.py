"""How an explained decision of the router looks."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from ruvllm.cli.console import out
from ruvllm.config import Config
from ruvllm.router.explain import Counterfactual, Explanation
from ruvllm.router.policy import Policy
from ruvllm.router_inputs import policy_of
from ruvllm.routing import shown

__all__ = ["number", "policy_for", "print_explanation", "print_table"]

SHOWN = 12  # contributions


def policy_for(config: Config, tiers: Sequence[str]) -> Policy:
    """Return the policy that is configured for the tiers of a log.

    Raises:
        ValueError: the configured safe default is none of them.
    """
    default = shown(config.router.safe_default or config.generation.model)
    if default not in tiers:
        raise ValueError(f"router.safe_default must be one of the log's tiers, {', '.join(tiers)} ({default!r})")
    return policy_of(config, tiers)


def print_explanation(why: Explanation) -> None:
    """Say what the chosen tier's score is made of, and what would have changed the choice."""
    out.print(
        f"\n{why.tier} scores {why.score:+.3f}, which means a quality of {why.quality:.3f} "
        f"(familiar: {why.familiarity:.0%}). It is the sum of",
        markup=False,
    )
    print_table(("group", "adds"), [(name, f"{amount:+.3f}") for name, amount in why.groups.items() if amount])
    rest = sum(one.amount for one in why.contributions[SHOWN:])
    lines = [(one.name, one.group, number(one.value), f"{one.amount:+.3f}") for one in why.contributions[:SHOWN]]
    print_table(("number", "group", "is", "adds"), [*lines, ("all others", "", "", f"{rest:+.3f}")])
    if why.policy_tier != why.tier:
        out.print(f"without exploration, today's policy chooses {why.policy_tier}", markup=False)
    out.print(_change(why.counterfactual), markup=False)


def _change(change: Counterfactual | None) -> str:
    if change is None:
        return "no single number, within its range, would change the tier"
    whose = f" of {change.of_tier}" if change.of_tier else ""
    before, after = number(change.before), number(change.after)
    return f"{change.tier} would answer if {change.name}{whose} ({change.group}) were {after} instead of {before}"


def number(value: float | None) -> str:
    """Return a number as tables show it, "" for None."""
    return "" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of markup under their titles."""
    table = Table(*titles, box=None)
    for row in rows:
        table.add_row(*row)
    # a terminal breaks long cells; a file takes lines as long as they are
    (out if out.is_terminal else Console(highlight=False, width=10_000)).print(table)
