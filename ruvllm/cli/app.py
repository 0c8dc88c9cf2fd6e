"""The command tree and its edge: what a user did wrong is one line and exit code 2, what the world did is code 1."""

from __future__ import annotations

import codecs
import io
import logging
import signal
import sys
from typing import Annotated, NoReturn

import typer

import ruvllm
from ruvllm.cli import (
    bench,
    brain,
    compress,
    demo,
    enrich,
    learn,
    models,
    reembed,
    router,
    router_report,
    sessions,
    stats,
    students,
    traces,
    tune,
)
from ruvllm.cli.console import err, print_error
from ruvllm.errors import ModelMissing, RuvLLMError

__all__ = ["app", "run"]

INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it
MISTAKES = (ValueError, TypeError, FileNotFoundError, ModelMissing)  # of the user: exit code 2
FAULTS = (RuvLLMError, OSError, ModuleNotFoundError)  # of the world, a missing extra too: exit code 1

app = typer.Typer(
    name="ruvllm",
    help="Local language models that learn from use: feed documents, ask, give feedback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
brain.register(app)
learn.register(app)
stats.register(app)
models.register(app)
students.register(app)
demo.register(app)
reembed.register(app)
compress.register(app)
enrich.register(app)
router.register(app)
router_report.register()
sessions.register(app)
traces.register(app)
tune.register(app)
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


def run() -> None:
    """Run the command line and exit."""
    if isinstance(sys.stdout, io.TextIOWrapper) and _may_refuse(sys.stdout):
        sys.stdout.reconfigure(errors="replace")  # what the terminal has no character for costs no answer
    logging.getLogger("pypdf").addHandler(logging.NullHandler())  # what is wrong with a PDF stands in the report
    try:
        app()
    except KeyboardInterrupt:
        _stopped()
    except SystemExit as end:
        if end.code == INTERRUPTED:  # Typer's word for Ctrl-C
            _stopped()
        raise
    except BrokenPipeError:  # the reader of our output went away, as in `ruvllm stats | head -1`
        sys.stdout = None
        sys.exit(1)
    except Exception as error:
        if _is_interrupt(error):
            _stopped()
        if not isinstance(error, (*MISTAKES, *FAULTS)):
            raise
        _fail(error, 2 if isinstance(error, MISTAKES) else 1)


def _may_refuse(stream: io.TextIOWrapper) -> bool:
    """Return whether a stream raises on some characters; out of UTF-8, `surrogateescape` of the C locale does, too."""
    is_utf8 = codecs.lookup(stream.encoding).name == "utf-8"
    return stream.errors == "strict" or (stream.errors == "surrogateescape" and not is_utf8)


def _stopped() -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one has nothing left to stop
    err.print("\n[yellow]stopped[/]; what was reported as done is on disk")
    sys.exit(INTERRUPTED)


def _is_interrupt(error: BaseException | None) -> bool:
    """Return whether Ctrl-C is behind an error: an extension module that is being loaded makes its own of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _fail(error: Exception, code: int) -> NoReturn:
    print_error(error)
    sys.exit(code)
