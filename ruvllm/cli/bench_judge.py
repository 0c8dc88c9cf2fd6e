"""`ruvllm bench judge`: what the judge is worth, and where its weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ruvllm.cli.bench_memory import Cache, Json, Limit, Seed, measured
from ruvllm.cli.bench_report import print_report
from ruvllm.cli.console import err

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(judge)


def judge(
    data: Annotated[Path, typer.Option(help="Folder with judge/, qa/ and memory/.")],
    abstention: Annotated[bool, typer.Option("--abstention", help="Evidence-deleted twins alone.")] = False,
    model: Annotated[str, typer.Option("--model", "-m", help="Whose log-probabilities are a baseline.")] = "",
    llm: Annotated[str, typer.Option("--llm", help="Model that judges pairs, in both orders.")] = "",
    fit: Annotated[Path | None, typer.Option("--fit", help="Fit the weights, write them here, and end.")] = None,
    limit: Limit = None,
    seed: Seed = 0,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Right answers from wrong ones, the better of two, questions without an answer, and calibration."""
    from ruvllm.bench.judge.run import run
    from ruvllm.bench.setup import open_tools

    with measured(limit=limit, seed=seed, cache=cache) as settings:
        if fit is not None:
            from ruvllm.bench.judge.fit import fit_weights, write

            with open_tools(settings) as tools:
                write(fit, fit_weights(data, tools.embedder, settings.config))
            err.print(f"written: {fit}")
            return
        report = run(data, settings, abstention=abstention, model=model, llm=llm)
    print_report(report, json=json)
