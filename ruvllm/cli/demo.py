"""`ruvllm demo`: the whole thing once, on documents that ship with the package, learning included."""

from __future__ import annotations

import time
from importlib.resources import as_file, files
from itertools import count
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ruvllm import viz
from ruvllm.cli.console import ingest_bar, out, print_ingest, stream_answer
from ruvllm.cli.demo_script import KNOWN, NEWS
from ruvllm.cli.models import fetch_missing
from ruvllm.config import load_config
from ruvllm.system import RuvLLM
from ruvllm.types import Response

__all__ = ["QUESTIONS", "register"]

QUESTIONS = tuple(KNOWN)[:5]
FOLDER = "ruvllm-demo"
NEWS_SERIES, KNOWN_SERIES = "news, in other words", "what the documents say"
GRAPH_NODES = 40
LINE = 150  # characters
SEARCHED = 10  # hits among which the right passage is looked for


def demo(
    brain: Annotated[
        Path | None, typer.Option("--brain", "-b", help="Where the demo's brain and pictures go; ruvllm-demo here.")
    ] = None,
) -> None:
    """Read a small set of documents, answer questions, be corrected, learn, and show what has changed and why."""
    folder = _new_folder() if brain is None else brain
    if (folder / "brain.db").exists():
        raise ValueError(
            f"brain: {folder} holds a brain already, and the demo begins with an empty one: "
            "choose another folder with --brain, or delete this one if it is of an earlier demo"
        )
    config = load_config(folder / "ruvllm.toml")
    fetch_missing(config.models, config.embedding.model, config.generation.model)
    start = time.perf_counter()
    with RuvLLM(folder, config=config) as llm:
        _head("Reading the handbook of Tern Point, a small polar station")
        with as_file(files("ruvllm") / "demo" / "docs") as documents, ingest_bar() as show:
            print_ingest(llm.ingest(documents, on_progress=show))
        for question in QUESTIONS:
            _head(question)
            _mark(llm, stream_answer(llm.stream(question)), KNOWN[question])
        _ask_the_rest(llm)
        before, curve = _correct(llm)
        after = _ask_again(llm, before)
        curve += _learn(llm)
        _print_curve(curve)
        for when, response in (("At first", before[-1]), ("Now", after[-1])):
            _head(f"{when}: ruvllm why {response.id}")
            out.print(repr(llm.why(response.id)), markup=False)
        _draw(llm, folder, curve)
    out.print(f"\n{time.perf_counter() - start:.1f} s. All of it is in [bold]{escape(str(folder))}[/]; to go on:")
    out.print(f"  ruvllm ask QUESTION --brain {folder}\n  ruvllm ingest FOLDER --brain {folder}", markup=False)


def _new_folder() -> Path:
    """Return a folder here that does not exist yet."""
    names = (FOLDER if i == 1 else f"{FOLDER}-{i}" for i in count(1))
    return next(path for path in map(Path, names) if not path.exists())


def _head(text: str) -> None:
    out.print(f"\n[bold]{escape(text)}[/]")


def _mark(llm: RuvLLM, response: Response, right: str) -> None:
    """Say which of the shown sources helped: those in which the right words stand."""
    holds = {source.number: right in source.text for source in response.sources}
    if any(holds.values()):
        helped = [number for number, does in holds.items() if does]
        llm.feedback(response.id, helped=helped, unhelpful=[n for n in holds if n not in helped])


def _ask_the_rest(llm: RuvLLM) -> None:
    _head("Some more, and of each answer it is said which of its sources helped")
    for question in list(KNOWN)[len(QUESTIONS) :]:
        response = llm.ask(question)
        _mark(llm, response, KNOWN[question])
        out.print(f"{escape(question)}\n  [dim]{escape(_line(response))}[/]")


def _correct(llm: RuvLLM) -> tuple[list[Response], list[viz.CurvePoint]]:
    """Ask about news in two ways, and correct the answer to the first; return the answers to the second."""
    _head(f"{len(NEWS)} facts that the handbook does not know, or has wrong")
    before = [llm.ask(news.again) for news in NEWS]
    curve = _measured(llm, 0)
    for done, news in enumerate(NEWS, start=1):
        response = llm.ask(news.question)
        llm.feedback(response.id, correction=news.correction)
        out.print(f"{escape(news.question)}\n  [dim]{escape(_line(response))}[/]")
        out.print(f"  corrected: {escape(news.correction)}")
        curve += _measured(llm, done)
    return before, curve


def _ask_again(llm: RuvLLM, before: list[Response]) -> list[Response]:
    _head("The same facts asked for in other words, before and after the corrections")
    answers = []
    right = [0, 0]
    for news, old in zip(NEWS, before, strict=True):
        new = llm.ask(news.again)
        _mark(llm, new, news.answer)
        answers.append(new)
        out.print(escape(news.again))
        for i, (when, response) in enumerate((("before", old), ("after ", new))):
            is_right = news.answer in response.text
            right[i] += is_right
            out.print(f"  {when} {_tick(is_right)} {escape(_line(response))}")
    out.print(f"{right[0]} of {len(NEWS)} right before, {right[1]} after, by the same weights of the reader.")
    return answers


def _learn(llm: RuvLLM) -> list[viz.CurvePoint]:
    """Train the ranking on what was marked, and say what that did to each question."""
    _head("Learning from the marks: ruvllm.RuvLLM.learn()")
    before = {news.again: _weight_on(llm, news.again, news.answer) for news in NEWS}
    training = llm.learn().attention
    if training.untrained_loss is None or training.loss is None:
        out.print(f"The ranking was not trained: {training.examples} marked answers are too few.")
    else:
        verdict = "is in force" if training.accepted else "was discarded, for it ranks the held-out ones no better"
        out.print(
            f"A ranking learnt from {training.examples} marked answers {verdict}: "
            f"loss on {training.held_out} held-out ones {training.untrained_loss:.3f} before, {training.loss:.3f} after"
        )
    out.print("weight of the passage that holds the answer, before and after")
    for news in NEWS:
        now = _weight_on(llm, news.again, news.answer)
        out.print(f"  {before[news.again]:.2f} {now:.2f}  {escape(news.again)}")
    return _measured(llm, len(NEWS) + 1)


def _measured(llm: RuvLLM, step: int) -> list[viz.CurvePoint]:
    """Return how much of the ranking's weight the right passages have: of the news, and of what was known all along."""
    asked = {NEWS_SERIES: {news.again: news.answer for news in NEWS}, KNOWN_SERIES: KNOWN}
    return [
        viz.CurvePoint(series, step, sum(_weight_on(llm, *each) for each in questions.items()) / len(questions))
        for series, questions in asked.items()
    ]


def _weight_on(llm: RuvLLM, question: str, answer: str) -> float:
    """Return the weight of the passages that hold an answer, in [0, 1]: all that a search looks at have 1 together."""
    return sum(hit.score for hit in llm.retrieve(question, SEARCHED) if answer in hit.node.text)


def _print_curve(curve: list[viz.CurvePoint]) -> None:
    out.print("mean of them, after 0, 1, ... corrections and after learning")
    for series in (NEWS_SERIES, KNOWN_SERIES):
        shares = " ".join(f"{point.y:.2f}" for point in curve if point.series == series)
        out.print(f"  {series:24} {shares}")


def _draw(llm: RuvLLM, folder: Path, curve: list[viz.CurvePoint]) -> None:
    """Draw the memory graph around the last correction, and the curve."""
    labels = {
        "title": "What the demo learns",
        "x_label": f"corrections given, 0 to {len(NEWS)}; at {len(NEWS) + 1}, after learn()",
        "y_label": "ranking's weight on the right passages",
    }
    corrected = llm.memory.search(NEWS[-1].question, 1)[0].node.id
    pictures = [
        llm.memory.picture(folder / "graph.svg", around=corrected, hops=3, max_nodes=GRAPH_NODES),
        viz.curve(curve, folder / "curve.svg", **labels),
    ]
    if viz.can_draw_png():
        pictures.append(viz.curve_png(curve, folder / "curve.png", **labels))
    out.print(f"\ndrawn in {', '.join(map(str, pictures))}", markup=False)
    if not viz.can_draw_png():
        out.print("[dim]a PNG of the curve needs matplotlib: pip install 'ruvllm\\[viz]'[/]")


def _tick(is_right: bool) -> str:
    return "[green]right[/]" if is_right else "[red]wrong[/]"


def _line(response: Response) -> str:
    line = " ".join(response.text.split())
    return line if len(line) <= LINE else line[: LINE - 1] + "…"


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(demo)
