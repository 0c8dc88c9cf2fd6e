"""`ruvllm bench certificate`: whether promises about quality are kept, on recorded outcomes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ruvllm.cli.bench_memory import Show, measured, progress
from ruvllm.cli.bench_report import print_report

if TYPE_CHECKING:
    from ruvllm.bench.certificate import Scorer
    from ruvllm.bench.report import Report

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
    scores: Annotated[
        Literal["words", "router"],
        typer.Option(help="What is certified: a ridge on words, or what the router expects."),
    ] = "words",
    rows: Annotated[
        int, typer.Option(min=1, help="Calibration rows, at most a quarter of those not trained on.")
    ] = 1000,
    draws: Annotated[int, typer.Option(min=2, help="Disjoint draws of calibration and test rows.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps embeddings for the next run.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """How often a certified risk is exceeded on new rows, and what it saves, beside a tuned threshold."""
    from ruvllm.bench.certificate import by_words, run
    from ruvllm.bench.router_scores import by_router
    from ruvllm.bench.setup import open_tools

    def report_of(scorer: Scorer, show: Show) -> Report:
        return run(
            files,
            models=model or (),
            floor=floor,
            confidence=confidence,
            loss=loss,
            rows=rows,
            draws=draws,
            seed=seed,
            scorer=scorer,
            on_progress=show,
        )

    if scores == "words":
        with progress() as show:
            report = report_of(by_words, show)
    else:
        with measured(seed=seed, cache=cache) as settings, open_tools(settings) as tools:
            report = report_of(by_router(tools.embedder, seed=seed), settings.on_progress)
    print_report(report, json=json)
