"""`ruvllm models promote|canary|retire|rollback|history` and `ruvllm rollout`: the students of a brain.

They work beside a process that serves the brain, which sees each change at its next request.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from ruvllm.checkpoints import Student, Students, students_of
from ruvllm.cli.brain import DEFAULT_BRAIN, BrainOption, existing
from ruvllm.cli.console import out
from ruvllm.cli.models import models_app
from ruvllm.config import load_config
from ruvllm.memory import Memory
from ruvllm.tuning.rollout.pictures import draw_rollout
from ruvllm.tuning.rollout.trials import TrialStatus, start_trial, trial_report, trial_status

__all__ = ["register"]

StudentArgument = Annotated[str, typer.Argument(help="Its name or id, as `history` shows them.")]
WhyOption = Annotated[str, typer.Option(help="For the history.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON list.")]
BY_HAND = "by hand"


def canary(student: StudentArgument, brain: BrainOption = DEFAULT_BRAIN, why: WhyOption = BY_HAND) -> None:
    """Put a validated student on trial, in the shadow first; one in the shadow goes on to answer sessions."""
    students = _students(brain)
    if students.get(student).step == "shadow":
        moved = students.move(student, "canary", why=why)
    else:
        moved = start_trial(students, student, load_config(brain / "ruvllm.toml"), why=why)
    out.print(f"{moved.name} is on trial for {moved.tier}: {moved.phase}", markup=False)


def promote(student: StudentArgument, brain: BrainOption = DEFAULT_BRAIN, why: WhyOption = BY_HAND) -> None:
    """Let a student of the canary phase answer in its tier's place."""
    moved = _students(brain).promote(student, why=why)
    out.print(f"{moved.name} answers for {moved.tier}", markup=False)


def retire(student: StudentArgument, brain: BrainOption = DEFAULT_BRAIN, why: WhyOption = BY_HAND) -> None:
    """Retire a student that does not answer yet, also one on trial."""
    moved = _students(brain).move(student, "retired", why=why)
    out.print(f"{moved.name} is retired", markup=False)


def rollback(
    tier: Annotated[str | None, typer.Argument(help="One of models.tiers; generation.model when left out.")] = None,
    brain: BrainOption = DEFAULT_BRAIN,
    why: WhyOption = BY_HAND,
) -> None:
    """Retire the student that answers for a tier; whoever was before it answers again."""
    name = load_config(existing(brain) / "ruvllm.toml").generation.model if tier is None else tier
    before = _students(brain).rollback(name, why=why)
    out.print(f"{name if before is None else before.name} answers for {name}", markup=False)


def history(brain: BrainOption = DEFAULT_BRAIN, json: JsonOption = False) -> None:
    """Show what became of each student, when and why, the oldest first."""
    moves = _students(brain).history()
    if json:
        print(msgspec.json.encode(moves).decode())
        return
    if not moves:
        out.print("no students yet")
        return
    for move in moves:
        when = datetime.fromtimestamp(move.at).isoformat(" ", "seconds")
        out.print(f"{when}  {move.after:<9}  {move.name} ({move.id})  {move.why}", markup=False)


def rollout(
    brain: Annotated[Path, typer.Argument(metavar="BRAIN", help="The brain's directory.")] = DEFAULT_BRAIN,
    student: Annotated[
        str | None, typer.Option(help="Whose trial, also one that has ended; those on trial when left out.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Draw it: .svg or .png.")] = None,
    json: JsonOption = False,
) -> None:
    """Show who answers for each tier, and how the trial of a student goes."""
    students, config = _students(brain), load_config(brain / "ruvllm.toml")
    tiers = config.models.tiers or (config.generation.model,)
    serving = {tier: students.serving(tier) for tier in tiers}
    with Memory(brain, config=config, read_only=True) as memory:
        table = memory.trial_table
        if json:
            found = [trial_status(one, table, config.rollout) for one in serving.values()]
            print(msgspec.json.encode([_as_json(status) for status in found if status is not None]).decode())
            return
        shown = [one.trial.id for one in serving.values() if one.trial is not None] if student is None else [student]
        reports = [trial_report(students, id, table, config.rollout) for id in shown]
    for tier, one in serving.items():
        promoted, trial = _named(one.promoted, tier), _named(one.trial, "nobody")
        out.print(f"{tier}: {promoted} answers, on trial: {trial}", markup=False)
    for report in reports:
        out.print(f"\n{report}", markup=False)
        if file is not None:
            out.print(f"\ndrawn in {draw_rollout(report, file)}", markup=False)


def _as_json(status: TrialStatus) -> dict[str, object]:
    decision, student = status.decision, status.student
    return {
        "student": student.name,
        "id": student.id,
        "tier": student.tier,
        "phase": student.phase,
        "control": status.control,
        "requests": status.requests,
        "action": decision.action,
        "reasons": decision.reasons(),
        "evidence": decision.evidence,
    }


def _named(student: Student | None, nobody: str) -> str:
    return nobody if student is None else student.name


def _students(brain: Path) -> Students:
    return students_of(existing(brain))


def register(app: typer.Typer) -> None:
    """Add these commands to `ruvllm models`, and `rollout` to `app`."""
    for command in (canary, promote, retire, rollback, history):
        models_app.command()(command)
    app.command()(rollout)
