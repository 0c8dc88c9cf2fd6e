"""Commands on models: pull, list, remove."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ruvllm import models
from ruvllm.cli.console import err, out, pull_bar
from ruvllm.config import ModelsConfig, load_config
from ruvllm.errors import ModelMissing

__all__ = ["fetch_missing", "models_app", "register"]

TABLE_WIDTH = 100

models_app = typer.Typer(help="The models in the cache, and the students of a brain.", no_args_is_help=True)


def fetch_missing(section: ModelsConfig, *names: str) -> None:
    """Pull those of `names` that are in the catalogue and not in the cache, with a progress bar."""
    if not section.auto_pull or section.offline:
        return
    for name in names:
        if name not in models.catalogue():
            continue
        try:
            models.find(name, section)
        except ModelMissing:
            with pull_bar() as show:
                models.pull(name, section, on_progress=show)


def pull(
    model: Annotated[
        str | None, typer.Argument(help="A catalogue name, or path:FOLDER_OR_GGUF.", show_default=False)
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the catalogue instead.")] = False,
    quantization: Annotated[
        str, typer.Option(help="int8, float32, int4 (the runtime only), or hf (to train from).")
    ] = "int8",
) -> None:
    """Fetch a model and convert it once."""
    if list_ or model is None:
        _print_catalogue()
        return
    with pull_bar() as show:
        path = models.pull(model, load_config().models, quantization=quantization, on_progress=show)
    out.print(f"{model} is ready in {path}", markup=False)


@models_app.command("list")
def list_models() -> None:
    """Show the models in the cache."""
    found = models.installed(load_config().models)
    if not found:
        err.print("no models yet; `ruvllm pull --list` shows what there is")
        return
    table = _table("task", "family", "parameters", "quantization", "MiB", "license")
    for model in found:
        size = f"{model.bytes / 2**20:.0f}"
        if (card := model.card) is None:
            table.add_row(model.name, "[red]damaged[/]", "", "", "", size, "")
            continue
        parameters = f"{card.parameters / 1e6:.0f} M"
        table.add_row(model.name, card.task, card.family, parameters, card.quantization, size, card.license)
    out.print(table)


@models_app.command("remove")
def remove(model: Annotated[str, typer.Argument(help="A name that `ruvllm models list` shows.")]) -> None:
    """Delete a model from the cache."""
    models.remove(model, load_config().models)
    out.print(f"{escape(model)} removed")


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command()(pull)
    app.add_typer(models_app, name="models")


def _print_catalogue() -> None:
    here = {model.name for model in models.installed(load_config().models)}
    table = _table("task", "parameters", "license", "")
    for name, entry in models.catalogue().items():
        state = "in the cache" if name in here else ""
        table.add_row(name, entry.task, f"{entry.parameters / 1e6:.0f} M", entry.license, state)
    out.print(table)


def _table(*columns: str) -> Table:
    """Return a table of models that is not squeezed into a narrow terminal: names must stay whole to be typed."""
    return Table("name", *columns, box=None, width=TABLE_WIDTH)
