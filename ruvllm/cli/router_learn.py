"""`ruvllm router train | rollback | certify`: what the log teaches, taken back, and proved."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from ruvllm.cli.brain import DEFAULT_BRAIN, BrainOption, existing
from ruvllm.cli.console import err, out
from ruvllm.system import RuvLLM

__all__ = ["register"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    for command in (train, rollback, certify):
        app.command()(command)


def train(brain: BrainOption = DEFAULT_BRAIN, json: JsonOption = False) -> None:
    """Train the router on the log; what is no better than the one in force is discarded. Ctrl-C changes nothing."""
    with RuvLLM(existing(brain)) as llm, err.status("training"):
        report = llm.train_router()
    if json:
        print(msgspec.json.encode(report).decode())
        return
    out.print(f"{report.turns} rated requests, {report.labels} qualities")
    if report.loss is not None:
        out.print(f"loss on requests it never saw: {report.before_loss:.4f} before, {report.loss:.4f} now")
    said = "the new router is in force" if report.accepted else "nothing changed"
    out.print(f"{said}: {report.reason}" if report.reason else said, markup=False)


def rollback(brain: BrainOption = DEFAULT_BRAIN) -> None:
    """Put the router before in force again."""
    with RuvLLM(existing(brain)) as llm:
        version = llm.rollback_router()
    out.print(f"version {version} is in force" if version else "no router is in force: the safe default answers")


def certify(brain: BrainOption = DEFAULT_BRAIN, json: JsonOption = False) -> None:
    """Prove on requests that every model answered how far smaller models may go, or say why that cannot be."""
    from ruvllm.router.certificate import Certificate

    with RuvLLM(existing(brain)) as llm:
        verdict = llm.certify_router()
        section = llm.config.router
    if json:
        fields = verdict.to_dict() if isinstance(verdict, Certificate) else msgspec.to_builtins(verdict)
        print(msgspec.json.encode(fields | {"certified": isinstance(verdict, Certificate)}).decode())
    elif isinstance(verdict, Certificate):
        where = " where the largest model meets it" if verdict.loss == "harm" else ""
        promise = f"at most {verdict.risk:.1%} of the answers miss {verdict.floor:g}{where}"
        out.print(f"certified on {verdict.rows} requests, judged by {verdict.label_source}:")
        out.print(f"with probability {verdict.confidence:g}, {promise}")
        out.print("shares of the models, the cheapest first: " + ", ".join(f"{s:.0%}" for s in verdict.shares))
        if verdict.latency_factor is not None:
            factor = f"{verdict.latency_factor:.2f} times the latency expected of it"
            out.print(f"with probability {1 - verdict.risk:g}, an answer takes at most {factor}")
        if not section.certified:
            out.print("router.certified is off: set it, and the certificate decides")
    else:
        for reason in verdict.reasons:
            out.print(reason, markup=False)
        out.print(f"nothing is certified: the largest model answers (reachable risk {verdict.reachable_risk:.3f})")
    if not isinstance(verdict, Certificate):
        raise typer.Exit(1)
