"""`ruvllm traces`: what a brain keeps for training, and the curriculum made of it."""

from __future__ import annotations

import json as json_
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from ruvllm.cli.brain import DEFAULT_BRAIN, BrainOption, existing
from ruvllm.cli.console import err, out
from ruvllm.cli.schedule import print_table, when
from ruvllm.config import Config, load_config
from ruvllm.memory import Memory
from ruvllm.memory.failures import Failure
from ruvllm.tuning import Curriculum, CurriculumBuilder, DataCard, Trace
from ruvllm.tuning.traces import as_collected, collect_all

__all__ = ["register"]

SHOWN_CHARS = 60
TEXTS = ("question", "query", "text", "prompt")  # keys of a holdout's line that hold what must not be trained on

traces_app = typer.Typer(help="What is kept of answered requests, for training.", no_args_is_help=True)


@traces_app.command("list")
def list_(
    brain: BrainOption = DEFAULT_BRAIN,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Newest traces shown.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, with everything.")] = False,
) -> None:
    """Show the newest traces, and how many there are of each kind."""
    folder = existing(brain)
    config = load_config(folder / "ruvllm.toml")
    traces = collect_all(folder, config)
    failures = [one for name in config.tuning.namespaces for one in _failures(folder, config, name)]
    if json:
        for trace in traces[-limit:]:
            print(msgspec.json.encode(trace).decode())
        return
    if not traces:
        out.print("no traces")
    else:
        _print_traces(traces[: -limit - 1 : -1])
        _print_counts("standing", Counter(trace.standing for trace in traces))
        _print_counts("outcome", Counter(trace.outcome for trace in traces))
    if failures:
        _print_counts("no answer", Counter(failure.kind for failure in failures))


@traces_app.command()
def curriculum(
    folder: Annotated[Path, typer.Argument(help="Where it is written; a new folder.")],
    brain: BrainOption = DEFAULT_BRAIN,
    holdout: Annotated[
        Path | None,
        typer.Option(
            help="Texts that students are tested on: one a line, or JSON Lines with question, text or messages."
        ),
    ] = None,
    days: Annotated[float | None, typer.Option(help="How far back; tuning.window_days when not given.")] = None,
    min_quality: Annotated[float | None, typer.Option(help="tuning.min_quality when not given.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the order.")] = 0,
    keep_wrong_context: Annotated[
        bool, typer.Option("--keep-wrong-context", help="Train also on answers that the passages do not give.")
    ] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="Write Parquet files, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the data card.")] = False,
) -> None:
    """Write what a student is to be trained on: sft.jsonl, preferences.jsonl, corrections.jsonl and card.json."""
    config = load_config(existing(brain) / "ruvllm.toml")
    kept_out = as_collected(_texts(holdout), config.tuning) if holdout is not None else []
    traces = collect_all(brain, config)
    with Memory(brain, config=config, read_only=True) as memory:
        builder = CurriculumBuilder.configured(config.tuning).seed(seed)
        builder.filter_wrong_context(not keep_wrong_context)
        if days is not None:
            builder.window_days(days)
        if min_quality is not None:
            builder.filter_bad_quality(min_quality)
        made: Curriculum = builder.build(traces, holdout=kept_out, embed=memory.encode)
    made.write(folder)
    if parquet:
        made.to_parquet(folder)
    if json:
        print(msgspec.json.encode(made.card).decode())
    else:
        _print_card(made.card, folder)


def _failures(brain: Path, config: Config, namespace: str) -> list[Failure]:
    with Memory(brain, config=config, namespace=namespace, read_only=True) as memory:
        return memory.failures()


def _texts(file: Path) -> Iterator[str]:
    # A mark of UTF-8 would make a text of the first object; other line ends than \n may stand in a JSON string.
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), 1):
        if not line.startswith("{"):
            yield line
            continue
        try:
            row = json_.loads(line)
        except (json_.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"holdout: {file}, line {number}: it is not JSON ({error})") from error
        said = [row.get(key) for key in TEXTS]
        messages = row.get("messages")
        if isinstance(messages, list):
            said += [message.get("content") for message in messages[-1:] if isinstance(message, dict)]
        found = [text for text in said if isinstance(text, str)]
        if not found:
            raise ValueError(f"holdout: {file}, line {number}: none of {', '.join(TEXTS)} is a text in it")
        yield from found


def _print_traces(traces: Iterable[Trace]) -> None:
    columns = ("when", "standing", "quality", "domain", "difficulty", "risk", "question")
    table = Table(*columns, box=None, padding=(0, 2, 0, 0))
    for trace in traces:
        quality = "" if trace.quality is None else f"{trace.quality:.2f} {trace.quality_source}"
        table.add_row(
            when(trace.created),
            trace.standing,
            quality,
            escape(", ".join(trace.domain_tags)),
            f"{trace.difficulty:.2f}",
            str(trace.tags["risk"].value),
            escape(" ".join(trace.query.split())[:SHOWN_CHARS]),
        )
    print_table(table)
    out.print()


def _print_counts(name: str, counts: Mapping[str, int]) -> None:
    listed = ", ".join(f"{value} {count}" for value, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])))
    out.print(f"{name:12} {escape(listed)}")


def _print_card(card: DataCard, folder: Path) -> None:
    first, last = (datetime.fromtimestamp(at).date() if at else "" for at in (card.first, card.last))
    out.print(f"{escape(str(folder))}: curriculum {card.id}, of {card.traces} traces, {first} to {last}")
    _print_counts("examples", card.counts)
    if card.left_out:
        _print_counts("left out", card.left_out)
    for name, values in card.tags.items():
        _print_counts(name, values)
    if not card.counts.get("preferences"):
        err.print("[yellow]note:[/] no question has a good and a bad answer: there is nothing to prefer")


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.add_typer(traces_app, name="traces")
