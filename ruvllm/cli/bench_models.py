"""`ruvllm bench decode | embed | perplexity`: how fast models run here, and what quantizing them costs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ruvllm.cli.bench_memory import progress
from ruvllm.cli.bench_report import print_report
from ruvllm.cli.console import err

__all__ = ["register"]

Threads = Annotated[int, typer.Option(min=0, help="Threads of every engine; 0 takes every core.")]
Rounds = Annotated[int, typer.Option(min=1, help="Times everything is measured, in turn.")]
LlamaPython = Annotated[str, typer.Option(help="A Python >= 3.11 with llama-cpp-python; this one when left out.")]
Kept = Annotated[Path | None, typer.Option("--cache", help="Folder for the bench's models (1.8 GB).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    for command in (decode, embed, perplexity):
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
    from ruvllm.inference.local_model import available_threads

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


def embed(
    model: Annotated[str, typer.Option("--model", "-m", help="A MiniLM.")] = "minilm-l6",
    threads: Threads = 0,
    rounds: Rounds = 7,
    json: Json = False,
) -> None:
    """Milliseconds of a query and tokens a second of a batch, beside CTranslate2, onnxruntime and torch."""
    from ruvllm.bench.embed import run
    from ruvllm.config import load_config
    from ruvllm.inference.local_model import available_threads
    from ruvllm.inference.open import find_or_pull

    model_dir = find_or_pull(model, load_config().models, task="embed")
    with err.status("measuring"):
        report = run(model_dir, num_threads=available_threads(threads), rounds=rounds)
    print_report(report, json=json)


def perplexity(
    text: Annotated[Path, typer.Option(help="A plain text; may be gzipped.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A model of the catalogue.")] = "smollm2-135m",
    windows: Annotated[int, typer.Option(min=1, help="Pieces of the text, from its beginning.")] = 24,
    window: Annotated[int, typer.Option(min=2, help="Tokens of a piece.")] = 512,
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Perplexity in float32, int8 and int4, beside CTranslate2's."""
    from ruvllm.bench.perplexity import run
    from ruvllm.config import load_config
    from ruvllm.inference.local_model import available_threads

    with progress() as show:
        report = run(
            text,
            model,
            load_config().models,
            windows=windows,
            window=window,
            num_threads=available_threads(threads),
            on_progress=show,
        )
    print_report(report, json=json)
