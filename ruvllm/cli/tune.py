"""`ruvllm tune`: train a student on what a brain saw, validate it, and register it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from ruvllm.cli.brain import existing
from ruvllm.cli.console import err, out
from ruvllm.cli.schedule import print_table
from ruvllm.config import TrainingConfig, load_config
from ruvllm.memory import Memory

if TYPE_CHECKING:
    from ruvllm.models import PullProgress
    from ruvllm.tuning.training import TrainProgress
    from ruvllm.tuning.training.brain import Hooks, Tuned

__all__ = ["register"]

Schedule = Literal["weekly", "daily", "off"]


def tune(
    brain: Annotated[Path, typer.Argument(help="The brain's directory.")],
    base: Annotated[
        str | None, typer.Option(help="What to train: a catalogue name, a Hugging Face folder, a .gguf file.")
    ] = None,
    tier: Annotated[str, typer.Option(help="The model to stand in for; generation.model when not given.")] = "",
    minutes: Annotated[float | None, typer.Option(min=0, help="For the steps of this run; 0 = no limit.")] = None,
    dpo: Annotated[bool | None, typer.Option("--dpo/--no-dpo", help="A second phase, on preferences.")] = None,
    learning_rate: Annotated[
        list[float] | None, typer.Option(help="Of SFT; several times: trains with each, and keeps the best.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the examples.")] = None,
    threads: Annotated[int | None, typer.Option(min=0, help="Processors to use; 0 = half of them.")] = None,
    curriculum: Annotated[
        Path | None,
        typer.Option(help="Train on this folder, but for what the holdout asks, not on the brain's traces."),
    ] = None,
    holdout: Annotated[Path | None, typer.Option(help="Questions to validate on beside the brain's own.")] = None,
    general: Annotated[
        Path | None,
        typer.Option(help="General text on which the student is held to its base, against forgetting."),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(help="Other general text, which shows what was forgotten; the brain's own without both."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what was stopped or killed.")] = False,
    on: Annotated[str, typer.Option(help="local, or the address of a Ray cluster: ray://HOST:PORT.")] = "local",
    schedule: Annotated[
        Schedule | None, typer.Option(help="Train nothing now; say how often a serving process is to start it.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train a student on what the brain saw, validate it against the model that answers now, and register it.

    The brain is only read, so a serving process may go on beside it. Ctrl-C leaves what --resume goes on from.
    """
    folder = existing(brain)
    config = load_config(folder / "ruvllm.toml")
    if schedule is not None:
        _set_schedule(folder, schedule)
        return
    given = {
        "general": None if general is None else str(general.absolute()),
        "base": base,
        "minutes": minutes,
        "dpo": dpo,
        "epochs": epochs,
        "threads": threads,
    }
    rates = learning_rate or [config.training.learning_rate]
    options = msgspec.structs.replace(
        config.training, learning_rate=rates[0], **{name: value for name, value in given.items() if value is not None}
    )
    config = msgspec.structs.replace(config, training=msgspec.convert(msgspec.to_builtins(options), TrainingConfig))
    from ruvllm.tuning.training.brain import tune as tune_brain
    from ruvllm.tuning.training.process import at_low_priority

    with _stops() as must_stop, _bars() as hooks, _stopped_is_130(), ThreadPoolExecutor(1) as usual:
        usual.submit(int).result()  # its thread is there before the others have less of a priority
        at_low_priority()
        tuned = tune_brain(
            folder,
            config,
            tier=tier,
            curriculum=curriculum,
            holdout=holdout,
            text=text,
            resume=resume,
            rates=rates,
            on=on,
            hooks=replace(hooks, must_stop=must_stop, apart=lambda work: usual.submit(work).result()),
        )
    print(msgspec.json.encode(tuned, enc_hook=str).decode()) if json else _print(tuned)


def _set_schedule(brain: Path, schedule: Schedule) -> None:
    from ruvllm.tuning.training.process import set_schedule

    with Memory(brain) as memory:
        set_schedule(memory.job_table, schedule)
    said = "no training starts by itself" if schedule == "off" else f"a serving process starts a training {schedule}"
    out.print(f"{said}, from the next opening of {brain} on", markup=False)


@contextmanager
def _stops() -> Iterator[Callable[[], bool]]:
    """Yield what tells whether Ctrl-C was pressed: the training then saves its step and ends; a second one ends it."""
    pressed = threading.Event()

    def note(signum: int, frame: object) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        err.print("[yellow]stopping[/] after this step; once more to stop at once")

    before = [(number, signal.signal(number, note)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield pressed.is_set
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextmanager
def _stopped_is_130() -> Iterator[None]:
    """Exit as shells have it after Ctrl-C, and say how to go on."""
    from ruvllm.tuning.training import TrainingStopped

    try:
        yield
    except TrainingStopped:
        err.print("go on with `ruvllm tune BRAIN --resume`")
        raise typer.Exit(130) from None


@contextmanager
def _bars() -> Iterator[Hooks]:
    """Yield hooks that draw downloads, steps with their losses, and the questions of the validation."""
    from ruvllm.tuning.training.brain import Hooks

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} {task.fields[said]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int, said: str = "") -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=None, said="")
            progress.update(tasks[name], completed=done, total=total or None, said=said)

        def show_step(step: TrainProgress) -> None:
            losses = [("loss", step.loss), ("held out", step.held_out_loss)]
            said = ", ".join(f"{name} {loss:.3f}" for name, loss in losses if loss is not None)
            show(step.phase, step.step, step.steps, said)

        def show_pull(step: PullProgress) -> None:
            show(f"{step.stage} {step.model}", step.done_bytes, step.total_bytes or 0)

        yield Hooks(on_progress=show_step, on_pull=show_pull, on_validate=show)


def _print(tuned: Tuned) -> None:
    table = Table("phase", "examples", "too long", "steps", "loss", "held out", "ended by", "minutes", box=None)
    for phase in tuned.phases:
        table.add_row(
            phase.name,
            f"{phase.examples} + {phase.held_out} held out",
            str(phase.too_long),
            str(phase.steps),
            f"{phase.loss:.3f}",
            "" if phase.held_out_loss is None else f"{phase.before_loss:.3f} -> {phase.held_out_loss:.3f}",
            phase.ended_by,
            f"{phase.seconds / 60:.1f}",
        )
    print_table(table)
    student = tuned.student
    if tuned.result is not None:
        gates = Table("metric", "student", "baseline", "worse by", "limit", "", box=None)
        for gate in tuned.result.gates:
            worse = f"{gate.loss.value:+.3f} ({gate.loss.low:+.3f} to {gate.loss.high:+.3f})"
            said = gate.reason or "ok"
            gates.add_row(gate.metric, f"{gate.student:.4g}", f"{gate.baseline:.4g}", worse, f"{gate.limit:g}", said)
        print_table(gates)
        if refused := tuned.result.rejection_reason():
            out.print(f"refused: {escape(refused)}")
        if all(gate.metric != "perplexity" for gate in tuned.result.gates):
            err.print("what the student forgot was not measured: give --text a file of general text")
    elif student.step == "trained":
        out.print("not validated: no held-out question has a known answer; give some with --holdout")
    out.print(f"{student.name} ({student.id}) is {student.step}, for {escape(student.tier)}")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(tune)
