"""`ruvllm reembed`: move a brain to another embedder, and say so in its settings."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from ruvllm import models
from ruvllm.cli.brain import DEFAULT_BRAIN, BrainOption, existing
from ruvllm.cli.console import err, out
from ruvllm.cli.models import fetch_missing
from ruvllm.config import load_config
from ruvllm.embedding import open_embedder
from ruvllm.memory import Memory, ReembedProgress
from ruvllm.whole_file import replacing

__all__ = ["register", "set_embedding_model"]

_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$")
_MODEL = re.compile(r"(\s*model\s*=\s*)(\"(?:[^\"\\]|\\.)*\"|'[^']*')")


def reembed(
    model: Annotated[str, typer.Argument(help="A catalogue name, or the directory of a converted encoder.")],
    brain: BrainOption = DEFAULT_BRAIN,
) -> None:
    """Give the whole brain vectors by another embedder. Stop it at any time and run it again: it goes on."""
    settings = existing(brain) / "ruvllm.toml"
    config = load_config(settings)
    if Path(model).expanduser().is_dir() and os.sep in model:
        model = str(Path(model).expanduser().absolute())
    fetch_missing(config.models, model)
    models.find(model, config.models, task="embed")
    embedder = open_embedder(msgspec.structs.replace(config.embedding, model=model), config.models)
    with Memory(brain, config=config) as memory, _bar() as show:
        count = memory.reembed(embedder, on_progress=show)
    out.print(f"{count} {'node' if count == 1 else 'nodes'} embedded by {escape(model)}")
    if set_embedding_model(settings, model):
        out.print(f"embedding.model is set in {settings}", markup=False)
    if load_config(settings).embedding.model != model:
        err.print("[yellow]the brain opens only with this setting:[/] embedding.model =", escape(json.dumps(model)))


def set_embedding_model(file: Path, model: str) -> bool:
    """Write embedding.model into a ruvllm.toml, which is made when missing; nothing else in it changes.

    False, and the file as it was, when it says the model in a way that cannot be replaced for sure.
    """
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    wanted: dict[str, Any] = tomllib.loads(text)
    wanted.setdefault("embedding", {})["model"] = model
    changed = _with_model(text, json.dumps(model, ensure_ascii=False))
    try:
        if tomllib.loads(changed) != wanted:
            return False
    except tomllib.TOMLDecodeError:
        return False
    with replacing(file) as stream:
        stream.write(changed.encode())
    return True


def _with_model(text: str, value: str) -> str:
    """Return the text with the model in its section; a section without one, or a text without it, gets a line more."""
    lines = text.splitlines()
    header = -1
    section = ""
    for i, line in enumerate(lines):
        if found := _HEADER.match(line):
            section = found[1]
            header = i if section == "embedding" else header
        elif section == "embedding" and _MODEL.match(line):
            lines[i] = _MODEL.sub(lambda m: m[1] + value, line, count=1)
            break
    else:
        if header < 0:
            lines += [*([""] if lines else []), "[embedding]"]
            header = len(lines) - 1
        lines.insert(header + 1, f"model = {value}")
    return "\n".join(lines) + "\n"


@contextmanager
def _bar() -> Iterator[Callable[[ReembedProgress], None]]:
    """Yield a callback that draws a move's progress on stderr."""
    columns = (
        SpinnerColumn(),
        TextColumn("embedding"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} nodes"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("embedding", total=None)

        def show(step: ReembedProgress) -> None:
            progress.update(task, completed=step.nodes_done, total=step.nodes_total)

        yield show


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(reembed)
