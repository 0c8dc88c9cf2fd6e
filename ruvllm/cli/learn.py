"""`ruvllm learn`: do now what the background does on its schedule, show what was learnt, or take it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from ruvllm.cli.brain import DEFAULT_BRAIN, BrainOption, existing
from ruvllm.cli.console import err, out
from ruvllm.cli.schedule import print_jobs, print_table, when
from ruvllm.errors import JobsFailed
from ruvllm.learning.report import LearnHistory, learn_history
from ruvllm.memory import Memory
from ruvllm.system import RuvLLM

__all__ = ["register"]


def learn(
    brain: BrainOption = DEFAULT_BRAIN,
    report: Annotated[bool, typer.Option("--report", help="Show what was learnt, and train nothing.")] = False,
    rollback: Annotated[
        str | None, typer.Option(metavar="NAME", help="Take the last version of attention, judge or router back.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train on what outcomes taught, let unused edges fade, tidy up: what the background does by itself in time."""
    if report and rollback is not None:
        raise typer.BadParameter("--report and --rollback exclude each other")
    folder = existing(brain)
    if report:
        with Memory(folder, read_only=True) as memory:
            history = learn_history(memory)
        print(msgspec.json.encode(history).decode()) if json else _print_history(history)
        return
    with RuvLLM(folder) as llm:
        if rollback is not None:
            version = llm.rollback(rollback)
            out.print(f"version {version} of {rollback} is in force" if version else f"{rollback} is untrained")
            return
        try:
            with err.status("learning"):
                done = llm.learn()
        except JobsFailed as error:
            failures = {name: str(cause) for name, cause in error.failures.items()}
            _print(json, error.done, failures=failures)
            raise
    _print(json, {field.name: getattr(done, field.name) for field in fields(done)})


def _print(json: bool, done: Mapping[str, Any], **more: Any) -> None:
    print(msgspec.json.encode({**done, **more}).decode()) if json else _print_done(done)


def _print_done(done: Mapping[str, Any]) -> None:
    """Say what each job did, name -> report, None where there was nothing to do."""
    for name in ("attention", "router", "judge"):
        if report := done.get(name):
            before = report.untrained_loss if name == "attention" else report.before_loss
            losses = "" if report.loss is None else f", loss on unseen ones {before:.4f} before, {report.loss:.4f} now"
            said = "accepted" if report.accepted else "nothing changed"
            said += f": {report.reason}" if report.reason else ""
            out.print(f"{name}: {said}{losses}", markup=False)
    if faded := done.get("decay"):
        out.print(f"edges: {faded.decayed} faded, {faded.pruned} pruned")
    if found := done.get("compression"):
        out.print(
            f"concepts: {found.made} made, {found.changed} changed, {found.kept} kept, {found.dissolved} dissolved"
        )
    if index := done.get("index"):
        held = f"{index.indexed} vectors" if index.indexed else "none, so few vectors are searched without"
        out.print(f"index: {held}" + (", built anew" if index.rebuilt else ""))


def _print_history(history: LearnHistory) -> None:
    table = Table("learnt", "version", "when", "examples", "before", "after", "state", box=None)
    for one in history.learnt:
        version = "" if one.version is None else str(one.version)
        examples = "" if one.examples is None else str(one.examples)
        losses = ["" if loss is None else f"{loss:.4f}" for loss in (one.before_loss, one.loss)]
        state = f"{one.state}: {escape(one.reason)}" if one.reason else one.state
        table.add_row(one.name, version, when(one.at), examples, *losses, state)
    if history.learnt:
        print_table(table)
        out.print("[dim]before, after: loss on examples that the training never saw[/]\n")
    else:
        out.print("nothing was learnt yet")
    print_jobs(history.jobs)


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(learn)
