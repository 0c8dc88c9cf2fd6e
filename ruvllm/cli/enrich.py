"""`ruvllm enrich`: a local model reads passages with few links and links them by names that stand in them."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from ruvllm.cli.brain import DEFAULT_BRAIN, BrainOption, existing
from ruvllm.cli.console import err, out
from ruvllm.system import RuvLLM

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(enrich)


def enrich(
    brain: BrainOption = DEFAULT_BRAIN,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take back all links that were made so, and read nothing.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Let the local model read passages with few links and link them by names in them. Ctrl-C keeps what is read."""
    with RuvLLM(existing(brain)) as llm:
        if undo:
            gone = llm.remove_enrichment()
            print(msgspec.json.encode({"removed": gone}).decode()) if json else out.print(f"{gone} links removed")
            return
        with err.status("reading"):
            report = llm.enrich()
    if json:
        print(msgspec.json.encode(report).decode())
        return
    out.print(
        f"{report.model} read {report.read} passages in {report.seconds:.0f} s and found {report.names} names in "
        f"{report.named} of them: {report.links} links; {report.left} are left",
        markup=False,
    )
    if report.failed:
        out.print(f"{report.failed} could not be read, {report.given_up} of them for the last time")
