"""`ruvllm bench decode | embed | perplexity`: how fast models run here, and what quantizing them costs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ruvllm.cli.bench_report import print_report
from ruvllm.cli.console import err

__all__ = ["register"]

Threads = Annotated[int, typer.Option(min=0, help="Threads of every engine; 0 takes every core.")]
Rounds = Annotated[int, typer.Option(min=1, help="Times everything is measured, in turn.")]
LlamaPython = Annotated[str, typer.Option(help="A Python with llama-cpp-python; this one when left out.")]
Kept = Annotated[Path | None, typer.Option("--cache", help="Folder for the bench's models (1.8 GB).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    for command in (decode,):
        app.command()(command)


def decode(
    only: Annotated[list[str] | None, typer.Option("--only", help="A part of the bench; may be repeated.")] = None,
    threads: Threads = 0,
    rounds: Rounds = 5,
    llama_python: LlamaPython = sys.executable,
    cache: Kept = None,
    json: Json = False,
) -> None:
    """Tokens a second of generation and of reading prompts, beside llama.cpp, CTranslate2 and transformers."""
    from ruvllm.bench.decode import Settings, run
    from ruvllm.config import cache_dir, load_config
    from ruvllm.inference.ctranslate2_model import available_threads

    config = load_config().models
    with err.status("measuring") as status:
        settings = Settings(
            cache=cache or cache_dir(config) / "bench",
            num_threads=available_threads(threads),
            rounds=rounds,
            llama_python=llama_python,
            models=config,
            on_part=lambda part: status.update(f"measuring {part}"),
        )
        report = run(settings, only or ())
    print_report(report, json=json)
