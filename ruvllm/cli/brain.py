"""Commands on a brain directory: ingest, ask, chat, feedback, why, check, forget, graph, export and the others."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, cast

import msgspec
import typer
from rich.markup import escape

from ruvllm import models, viz
from ruvllm.cli.console import err, ingest_bar, out, print_error, print_graph, print_ingest, stream_answer
from ruvllm.cli.models import fetch_missing
from ruvllm.config import load_config
from ruvllm.errors import RuvLLMError
from ruvllm.memory import Memory
from ruvllm.memory.importers import ImportFormat, read_documents
from ruvllm.memory.rows import checked_text
from ruvllm.system import RuvLLM

__all__ = ["DEFAULT_BRAIN", "BrainOption", "existing", "register"]


def _path(text: str) -> Path:
    """An empty path would mean the current folder, which nobody means by it (but a shell variable may be unset)."""
    if not text:
        raise typer.BadParameter("a path must not be empty")
    return Path(text)


BrainOption = Annotated[
    Path, typer.Option("--brain", "-b", parser=_path, metavar="DIRECTORY", help="The brain's directory.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="A catalogue name, a model directory, or http://host:port/v1#model.")
]
SessionOption = Annotated[str | None, typer.Option("--session", "-s", help="Name of the conversation.")]
DEFAULT_BRAIN = Path("brain")


def ingest(
    sources: Annotated[
        list[Path],
        typer.Argument(parser=_path, metavar="SOURCE", help="Files and folders: .md .txt .rst .html .pdf"),
    ],
    brain: BrainOption = DEFAULT_BRAIN,
) -> None:
    """Read documents into the brain. Stop it at any time and run it again: it goes on where it was."""
    if not any(os.path.lexists(source) for source in sources):
        raise FileNotFoundError(f"sources: {', '.join(map(str, sources))}: no such file or folder")
    config = load_config(brain / "ruvllm.toml")
    fetch_missing(config.models, config.embedding.model)
    with Memory(brain, config=config) as memory, ingest_bar() as show:
        report = memory.ingest(list(sources), on_progress=show)
    print_ingest(report)
    if report.failures and not (report.added or report.updated or report.unchanged):
        raise typer.Exit(1)


def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    brain: BrainOption = DEFAULT_BRAIN,
    session: SessionOption = None,
    model: ModelOption = None,
    k: Annotated[int | None, typer.Option("--k", "-k", help="Sources to show the model.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Answer a question from the brain, with sources."""
    with _open(brain, model) as llm:
        stream = llm.stream(question, session=session, k=k)
        if json:
            print(msgspec.json.encode(stream.response).decode())
        else:
            stream_answer(stream)


def chat(brain: BrainOption = DEFAULT_BRAIN, session: SessionOption = "chat", model: ModelOption = None) -> None:
    """Talk with the brain. "+" and "-" rate the last answer, Ctrl-C stops one, an empty line or Ctrl-D ends it all."""
    with _open(brain, model) as llm:
        last: str | None = None
        while True:
            try:
                question = _question()
            except EOFError:
                break
            if not question:
                break
            try:
                last = _exchange(llm, question, session, last)
            except (ValueError, RuvLLMError) as error:  # this question went wrong, the next one may not
                print_error(error)


def _question() -> str:
    """Return the next line of stdin; EOFError where there is none, or no stdin at all."""
    if sys.stdin is None:
        raise EOFError
    is_terminal = sys.stdin.isatty()
    try:
        return input("> " if is_terminal else "").strip()
    except EOFError:
        if is_terminal:
            print()  # Ctrl-D leaves the cursor behind the prompt
        raise


def _exchange(llm: RuvLLM, question: str, session: str | None, last: str | None) -> str | None:
    """Answer a question, or rate the answer `last`; return the id of the answer that the next rating is for."""
    if question not in ("+", "-"):
        stream = llm.stream(question, session=session)
        try:
            return stream_answer(stream).id
        except KeyboardInterrupt:
            stream.close()
            err.print("\n[yellow]stopped[/]")
    elif last is None:
        err.print("[yellow]nothing to rate yet[/]")
    else:
        llm.feedback(last, rating=5 if question == "+" else 1)
        out.print("[dim]noted[/]")
    return last


def feedback(
    id: Annotated[str, typer.Argument(help="The answer's id, as `ask` printed it.")],
    brain: BrainOption = DEFAULT_BRAIN,
    rating: Annotated[int | None, typer.Option(help="1 to 5.")] = None,
    quality: Annotated[float | None, typer.Option(help="0 to 1.")] = None,
    success: Annotated[bool | None, typer.Option("--success/--failure", help="Whether the task succeeded.")] = None,
    correction: Annotated[str | None, typer.Option(help="The right answer.")] = None,
    helped: Annotated[
        list[int] | None, typer.Option(metavar="N", help="A source that helped, by its number; may be repeated.")
    ] = None,
    unhelpful: Annotated[
        list[int] | None, typer.Option(metavar="N", help="A source that did not; may be repeated.")
    ] = None,
    rater: Annotated[str, typer.Option(help="Who says so.")] = "local",
) -> None:
    """Say how good an answer was, and which of its sources helped."""
    if all(said is None for said in (rating, quality, success, correction, helped, unhelpful)):
        options = "--rating, --quality, --success, --failure, --correction, --helped, --unhelpful"
        raise ValueError(f"feedback needs at least one of {options}")
    with RuvLLM(existing(brain)) as llm:
        llm.feedback(
            id,
            rating=rating,
            quality=quality,
            task_success=success,
            correction=correction,
            helped=helped or (),
            unhelpful=unhelpful or (),
            rater=rater,
        )
    out.print("noted")


def why(
    id: Annotated[str | None, typer.Argument(help="The answer's id; the newest answer when left out.")] = None,
    brain: BrainOption = DEFAULT_BRAIN,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say why an answer is what it is: sources, ranking, route, edges, and what was learnt from it since."""
    with Memory(existing(brain), read_only=True) as memory:
        found = memory.why(id)
    if json:
        print(msgspec.json.encode(found).decode())
    else:
        out.print(repr(found), markup=False)


def check(
    brain: BrainOption = DEFAULT_BRAIN,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
) -> None:
    """Check database, index and models against each other."""
    with RuvLLM(existing(brain)) as llm:
        report = llm.check(repair=repair)
    for finding in report.findings:
        colour = "green" if finding.repaired else "yellow" if finding.severity == "warning" else "red"
        mended = " (repaired)" if finding.repaired else ""
        out.print(f"[{colour}]{finding.severity}[/] {escape(finding.what)}{mended}")
    out.print("everything agrees" if report.ok else "problems are left" + ("" if repair else "; try --repair"))
    if not report.ok:
        raise typer.Exit(1)


def forget(
    source: Annotated[str, typer.Argument(help="A source as `ask` shows it, or a folder of sources.")],
    brain: BrainOption = DEFAULT_BRAIN,
    cascade: Annotated[bool, typer.Option(help="Also delete what was derived from it.")] = True,
) -> None:
    """Delete a source and everything that came from its text."""
    with Memory(existing(brain)) as memory:
        out.print(f"{memory.forget(source, cascade=cascade)} nodes deleted")


def graph(
    brain: BrainOption = DEFAULT_BRAIN,
    around: Annotated[
        str | None, typer.Option(help="A node's id, or words that find one; the most linked nodes when left out.")
    ] = None,
    hops: Annotated[int, typer.Option(help="Edges from there to the farthest node.")] = 2,
    max_nodes: Annotated[int | None, typer.Option(help="Nodes to show: 60 around one, else 40.")] = None,
    file: Annotated[Path, typer.Option("--out", "-o", parser=_path, metavar="FILE", help="An SVG file.")] = Path(
        "graph.svg"
    ),
    biases: Annotated[
        bool, typer.Option("--biases", help="Draw how ready the ranking is to follow each type of edge instead.")
    ] = False,
) -> None:
    """Draw a part of the graph, and say in words what is in it."""
    with Memory(existing(brain), read_only=True) as memory:
        if biases:
            learnt = {type.value: bias for type, bias in memory.get_edge_bias_weights().items()}
            for name, bias in learnt.items():
                out.print(f"{name:12} {bias:+.4f}", markup=False)
            path = viz.bars(learnt, file, title="How ready the ranking is to follow edges; 0 as untrained")
            out.print(f"drawn in {path}", markup=False)
            return
        centre = None if around is None else _node_called(memory, around)
        shown = max_nodes if max_nodes is not None else 40 if centre is None else 60
        found = memory.neighbourhood(centre, hops=hops, max_nodes=shown)
    path = viz.picture(found, file)
    print_graph(found)
    out.print(f"drawn in {path}", markup=False)


def _node_called(memory: Memory, name: str) -> int:
    """Return the node of this id, or the one that best answers these words."""
    checked_text(name, "around")
    if name.isascii() and name.isdecimal():
        try:
            return memory.get(int(name)).id
        except (KeyError, ValueError) as error:
            raise ValueError(f"around: there is no node {name}") from error
    fetch_missing(memory.config.models, memory.config.embedding.model)
    hits = memory.search(name, 1)
    if not hits:
        raise ValueError(f"around: nothing is found by {name!r}")
    return hits[0].node.id


def export(
    file: Annotated[
        Path, typer.Argument(parser=_path, metavar="FILE", help="JSON Lines; compressed when the name ends in .gz.")
    ],
    brain: BrainOption = DEFAULT_BRAIN,
) -> None:
    """Write the whole brain to a file."""
    with Memory(existing(brain), read_only=True) as memory:
        out.print(f"{memory.export(file)} lines written to {file}", markup=False)


def import_(
    file: Annotated[
        Path, typer.Argument(parser=_path, metavar="FILE", help="A file that `export` wrote, or texts in JSON.")
    ],
    brain: BrainOption = DEFAULT_BRAIN,
    format: Annotated[
        str | None, typer.Option("--format", help="brain, texts, mem0 or langchain; seen from the file when left out.")
    ] = None,
) -> None:
    """Read an exported brain, a list of texts, a mem0 dump or LangChain documents into this brain."""
    if not file.exists() or file.is_dir():
        raise FileNotFoundError(f"file: {file} is {'a directory' if file.is_dir() else 'not there'}")
    known = cast(ImportFormat | None, format)
    if not (brain / "brain.db").exists():
        read_documents(file, known)  # what it refuses makes no brain for nothing
    with Memory(brain) as memory, ingest_bar() as show:
        count = memory.import_file(file, format=known, on_progress=show)
    out.print(f"{count} {'entry' if count == 1 else 'entries'} read from {file}", markup=False)


config_app = typer.Typer(help="The configuration.", no_args_is_help=True)


@config_app.command("show")
def config_show(brain: BrainOption = DEFAULT_BRAIN) -> None:
    """Show every setting in force, as it would stand in ruvllm.toml."""
    if brain.exists() and not brain.is_dir():
        raise FileNotFoundError(f"brain: {brain} is not a directory")
    config = load_config(brain / "ruvllm.toml")
    for section in config.__struct_fields__:
        out.print(f"[{section}]", markup=False)
        for name, value in getattr(config, section).__rich_repr__():
            out.print(f"{name} = {msgspec.json.encode(value).decode()}", markup=False)
        out.print()


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    for command in (ingest, ask, chat, feedback, why, check, forget, graph, export):
        app.command()(command)
    app.command("import")(import_)
    app.add_typer(config_app, name="config")


def _open(brain: Path, model: str | None) -> RuvLLM:
    """Open a brain, fetching the models it needs first; a model asked for by name must be there."""
    folder = existing(brain)
    config = load_config(folder / "ruvllm.toml", overrides=None if model is None else {"generation": {"model": model}})
    fetch_missing(config.models, config.embedding.model, config.generation.model)
    if model is not None and not model.startswith(("http://", "https://")):
        models.find(model, config.models, task="generate")
    return RuvLLM(folder, config=config)


def existing(brain: Path) -> Path:
    """Return a brain's directory, or say how to make one."""
    hint = f"make one with `ruvllm ingest DOCUMENTS --brain {brain}`"
    if not brain.is_dir():
        raise FileNotFoundError(f"brain: {brain} is not a directory; {hint}")
    if not (brain / "brain.db").exists():
        raise FileNotFoundError(f"brain: there is no brain in {brain}; {hint}")
    return brain
