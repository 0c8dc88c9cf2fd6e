"""The command tree and its edge: what a user did wrong is one line and exit code 2, what the world did is code 1."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import ruvllm
from ruvllm.cli import bench, brain, demo, models
from ruvllm.cli.console import err
from ruvllm.errors import RuvLLMError

__all__ = ["app", "main"]

app = typer.Typer(
    name="ruvllm",
    help="Local language models that learn from use: feed documents, ask, give feedback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
brain.register(app)
models.register(app)
demo.register(app)
bench.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"ruvllm {ruvllm.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    try:
        app()
    except KeyboardInterrupt:
        err.print("\n[yellow]stopped[/]; what was reported as done is on disk")
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away, as in `ruvllm stats | head -1`
        sys.stdout = None
        sys.exit(0)
    except (ValueError, TypeError, FileNotFoundError, TimeoutError) as error:
        _fail(error, 2)
    except (RuvLLMError, OSError) as error:
        _fail(error, 1)


def _fail(error: BaseException, code: int) -> None:
    err.print("[bold red]error:[/]", str(error) or type(error).__name__, markup=True, highlight=False, soft_wrap=True)
    sys.exit(code)
