"""`ruvllm bench retrieval | learning | conversation | attribution`: what memory finds, and what it learns from use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import Progress

from ruvllm.cli.console import err

__all__ = ["Cache", "Corpus", "Json", "Limit", "Model", "Orders", "Questions", "Seed", "Titles", "progress"]

Corpus = Annotated[Path, typer.Option(help="JSON Lines of {pid, title, text}; may be gzipped.")]
Questions = Annotated[Path, typer.Option(help="JSON Lines of {id, question, answers, gold_pids}.")]
Titles = Annotated[Literal["shown", "hidden"], typer.Option(help="Whether passages keep their titles.")]
Limit = Annotated[int | None, typer.Option(min=2, help="Questions drawn; all when left out.")]
Orders = Annotated[int, typer.Option(min=1, help="Seeded orders in which questions are asked.")]
Seed = Annotated[int, typer.Option(help="Seed of all draws.")]
Model = Annotated[str, typer.Option("--model", "-m", help='Reader whose answers are rated; "none" for no reader.')]
Cache = Annotated[Path | None, typer.Option(help="Folder that keeps embeddings and answers for the next run.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
