"""`ruvllm demo`: the whole thing once, on documents that ship with the package."""

from __future__ import annotations

import shutil
import tempfile
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

from ruvllm.cli.console import ingest_bar, out, print_ingest, stream_answer
from ruvllm.cli.models import fetch_missing
from ruvllm.config import load_config
from ruvllm.system import RuvLLM

__all__ = ["QUESTIONS", "register"]

QUESTIONS = (
    "Who founded Tern Point Station?",
    "Where is the rescue sled kept?",
    "Why is flying drones forbidden?",
    "How old is the ice at the lower end of the core?",
    "What is the polar bear alarm?",  # too hard for the default reader: the best passage is quoted instead
)


def demo(
    brain: Annotated[
        Path | None, typer.Option("--brain", "-b", help="Keep the demo's brain here instead of throwing it away.")
    ] = None,
) -> None:
    """Read a small set of documents and answer five questions about them."""
    folder = brain or Path(tempfile.mkdtemp(prefix="ruvllm-demo-"))
    try:
        config = load_config(folder / "ruvllm.toml")
        fetch_missing(config.models, config.embedding.model, config.generation.model)
        start = time.perf_counter()
        with RuvLLM(folder, config=config) as llm:
            out.print("[bold]Reading the handbook of Tern Point, a small polar station[/]")
            with as_file(files("ruvllm") / "demo" / "docs") as documents, ingest_bar() as show:
                report = llm.ingest(documents, on_progress=show)
            print_ingest(report)
            for question in QUESTIONS:
                out.print(f"\n[bold]{question}[/]")
                stream_answer(llm.stream(question))
        out.print(f"\n{len(QUESTIONS)} answers from {report.chunks} passages in {time.perf_counter() - start:.1f} s")
    finally:
        if brain is None:
            shutil.rmtree(folder, ignore_errors=True)
    kept = f" --brain {brain}" if brain else ""
    out.print(
        "Now your own documents: [bold]ruvllm ingest FOLDER[/] and [bold]ruvllm ask QUESTION[/]"
        if brain is None
        else f"Ask it more: [bold]ruvllm ask QUESTION{kept}[/]"
    )


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(demo)
