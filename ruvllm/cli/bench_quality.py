"""`ruvllm bench quality | latency | gates`: what answers are worth, how long they take, and what is demanded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ruvllm.cli.bench_memory import progress
from ruvllm.cli.bench_report import print_report

__all__ = ["register"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Model = Annotated[str | None, typer.Option("--model", "-m", help="The reader; the configured one when left out.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Questions drawn; all when left out.")]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    for command in (quality, latency, gates):
        app.command()(command)


def quality(
    data: Annotated[Path, typer.Argument(help="JSON Lines of {question, answer? or answers?, conv?}; may be gzipped.")],
    brain: Annotated[Path | None, typer.Option(help="A brain to ask; nothing is left in it.")] = None,
    corpus: Annotated[Path | None, typer.Option(help="JSON Lines of {pid, title?, text}, for a new brain.")] = None,
    turns: Annotated[
        Path | None, typer.Option(help="JSON Lines of dialogues {conv, session, dia_id, speaker, text}, a brain each.")
    ] = None,
    model: Model = None,
    limit: Limit = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    json: Json = False,
) -> None:
    """Each question through `ask`: quality by the judge, token F1, coverage, latency."""
    from ruvllm.bench.quality import Source, run

    with progress() as show:
        report = run(data, Source(brain, corpus, turns), model=model, limit=limit, seed=seed, on_progress=show)
    print_report(report, json=json)


def latency(model: Model = None, json: Json = False) -> None:
    """An answer of 64 tokens over a prompt of 600 from end to end."""
    from ruvllm.bench.latency import run
    from ruvllm.config import load_config

    config = load_config(overrides=None if model is None else {"generation": {"model": model}})
    with progress() as show:
        report = run(config, on_progress=show)
    print_report(report, json=json)


def gates(
    results: Annotated[
        Path | None, typer.Option(help="Folder of what other benches printed with --json, and of the tests' files.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with memory/locomo_*.jsonl.gz and qa/xquad_*.jsonl.gz, to ask now.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Questions asked of each.")] = 100,
    tests: Annotated[bool, typer.Option("--tests", help="Run the tests now, with coverage; needs --results.")] = False,
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds after which the tests are stopped.")] = 3600.0,
    model: Model = None,
    json: Json = False,
) -> None:
    """The quality gates: measured value, target, met or missed. What was not measured is no pass."""
    from ruvllm.bench import gates as bench
    from ruvllm.bench import latency as latency_bench
    from ruvllm.bench import quality as quality_bench
    from ruvllm.config import load_config

    if tests and results is None:
        raise typer.BadParameter("--tests needs --results, the folder where what they found is kept")
    found = {} if results is None else bench.read_results(results)
    if tests and results is not None:
        bench.run_tests(Path(__file__).resolve().parents[2], results.resolve(), timeout_s=timeout)
    with progress() as show:
        if "latency" not in found:
            config = load_config(overrides=None if model is None else {"generation": {"model": model}})
            found = bench.with_report(found, latency_bench.run(config, on_progress=show))
        if data is not None:
            asked = {
                "qa/xquad_en_questions.jsonl.gz": quality_bench.Source(corpus=data / "qa/xquad_en_passages.jsonl.gz"),
                "memory/locomo_qa.jsonl.gz": quality_bench.Source(turns=data / "memory/locomo_turns.jsonl.gz"),
            }
            reports = [
                quality_bench.run(data / name, source, model=model, limit=limit, on_progress=show)
                for name, source in asked.items()
            ]
            found = bench.with_report(found, *reports)
    report = bench.gates(found, results)
    print_report(report, json=json)
    if not all(row.met for row in report.rows):
        raise typer.Exit(1)
