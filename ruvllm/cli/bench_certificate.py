"""`ruvllm bench certificate`: whether promises about quality are kept, on recorded outcomes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ruvllm.cli.bench_memory import progress
from ruvllm.cli.bench_report import print_report

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(certificate)


def certificate(
    files: Annotated[list[Path], typer.Argument(help="JSON Lines of {prompt, score: {model: 0 to 1}, cost_usd?}.")],
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Tiers, the cheapest first; the middle and the best model when left out."),
    ] = None,
    floor: Annotated[float, typer.Option(help="Of quality, in (0, 1].")] = 0.8,
    confidence: Annotated[float, typer.Option(help="With which the promise shall hold.")] = 0.9,
    loss: Annotated[
        Literal["harm", "absolute", "regret"],
        typer.Option(help="What counts against a route."),
    ] = "harm",
    rows: Annotated[
        int, typer.Option(min=1, help="Calibration rows, at most a quarter of those not trained on.")
    ] = 1000,
    draws: Annotated[int, typer.Option(min=2, help="Disjoint draws of calibration and test rows.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """How often a certified risk is exceeded on new rows, and what it saves, beside a tuned threshold."""
    from ruvllm.bench.certificate import run

    with progress() as show:
        report = run(
            files,
            models=model or (),
            floor=floor,
            confidence=confidence,
            loss=loss,
            rows=rows,
            draws=draws,
            seed=seed,
            on_progress=show,
        )
    print_report(report, json=json)
