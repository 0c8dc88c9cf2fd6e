"""`ruvllm sessions`: list conversations, delete one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
import typer
from rich.markup import escape

from ruvllm.cli.brain import DEFAULT_BRAIN, BrainOption, existing
from ruvllm.cli.console import out
from ruvllm.memory import Memory

__all__ = ["register"]

sessions_app = typer.Typer(help="Conversations: list them, delete one.", no_args_is_help=True)


@sessions_app.command("list")
def list_(
    brain: BrainOption = DEFAULT_BRAIN,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    """Show all sessions, the one used last first."""
    with Memory(existing(brain), read_only=True) as memory:
        found = memory.sessions()
    if json:
        print(msgspec.json.encode(found).decode())
        return
    for one in found:
        used = datetime.fromtimestamp(one.last_used).isoformat(" ", "seconds")
        turns = "1 turn" if one.turns == 1 else f"{one.turns} turns"
        out.print(f"{used}  {turns:>10}  {escape(one.name)}")
    if not found:
        out.print("no sessions")


@sessions_app.command()
def delete(
    name: Annotated[str, typer.Argument(help="The session's name.")], brain: BrainOption = DEFAULT_BRAIN
) -> None:
    """Delete a session for good. What was promoted or corrected in it stays."""
    with Memory(existing(brain)) as memory:
        out.print(f"{memory.delete_session(name)} nodes deleted")


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.add_typer(sessions_app, name="sessions")
