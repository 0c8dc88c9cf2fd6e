"""What a run is made of: the curriculum that it trains on, and the holdout that it is validated on."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from ruvllm.config import Config
from ruvllm.memory import Memory
from ruvllm.memory.store import Store
from ruvllm.memory.tuning_run import CURRICULUM, HOLDOUT, MadeOf, made_of
from ruvllm.text import normalized_tokens
from ruvllm.tuning.curriculum import CurriculumBuilder
from ruvllm.tuning.decontamination import Decontaminator
from ruvllm.tuning.formats import carded, read_folder, write_folder
from ruvllm.tuning.selection import Rules, may_be_chosen, why_left_out
from ruvllm.tuning.trace import Trace
from ruvllm.tuning.traces import as_collected, collect_all
from ruvllm.tuning.validation import HoldoutDataset, HoldoutItem, is_held_out

__all__ = ["known_items", "prepare"]


def prepare(brain: Path, folder: Path, config: Config, curriculum: Path | None, holdout: Path | None) -> MadeOf:
    """Write the holdout and the curriculum, and return which traces were read for them.

    Raises:
        ValueError: there is nothing to train on, or all of `curriculum` is in the holdout.
    """
    with closing(Store(brain / "brain.db", read_only=True)) as store:
        made = made_of(store, config.tuning.namespaces, config.tuning.window_days)
    traces = [one for one in collect_all(brain, config) if one.id in made.traces or one.created < made.since]
    own = [trace for trace in traces if is_held_out(trace.query, config.training.holdout)]
    items = list(HoldoutDataset.read(holdout).items) if holdout is not None else []
    asked = as_collected((text for item in items for text in item.texts()), config.tuning)
    kept_out = asked + [trace.query for trace in own]
    items += known_items(traces, own, config)
    if items:
        HoldoutDataset(tuple(items)).write(folder / HOLDOUT)
    if curriculum is not None:
        _take(curriculum, folder / CURRICULUM, {trace.id for trace in own}, Decontaminator(kept_out))
    else:
        builder = CurriculumBuilder.configured(config.tuning).seed(config.training.seed)
        with Memory(brain, config=config, read_only=True) as memory:
            builder.build(traces, holdout=kept_out, embed=memory.encode).write(folder / CURRICULUM)
    return made


def known_items(traces: Iterable[Trace], own: Iterable[Trace], config: Config) -> list[HoldoutItem]:
    """Return of `own`, some of `traces`, the questions whose right answer is known: what may be learnt, and was
    corrected by a user or found good. What was asked more than once tests once, by its newest answer: models that
    answer it alike again prove no more by it."""
    oldest_first = sorted(traces, key=lambda trace: (trace.created, trace.id))
    rules = Rules(config.tuning.min_quality, config.tuning.window_days, drops_wrong_context=False)
    reasons = why_left_out(oldest_first, rules, Decontaminator(()))
    held_out = {one.id for one in own}
    known = [one for one in oldest_first if one.id in held_out and may_be_chosen(one, reasons)]
    by_question = {
        tuple(normalized_tokens(one.query)): one for one in known if one.correction or one.outcome == "success"
    }
    return [HoldoutItem(one.id, one.messages, (one.answer,)) for one in by_question.values()]


def _take(source: Path, target: Path, held_out: set[str], holdout: Decontaminator) -> None:
    """Copy a curriculum without the rows that ask what the holdout asks: by their traces, and by words in common."""
    sets, card = read_folder(source)
    kept = {name: [row for row in rows if not _is_held_out(row, held_out, holdout)] for name, rows in sets.items()}
    left_out = sum(map(len, sets.values())) - sum(map(len, kept.values()))
    if not left_out:
        shutil.copytree(source, target)
        return
    if not any(kept.values()):
        raise ValueError(f"curriculum: all {left_out} rows of {source} are in the holdout")
    counts = Counter(card.left_out) + Counter({"in the holdout": left_out})
    write_folder(target, kept, carded(replace(card, left_out=dict(counts)), kept))


def _is_held_out(row: Mapping[str, Any], held_out: set[str], holdout: Decontaminator) -> bool:
    messages: Sequence[Mapping[str, str]] = row.get("messages") or [*row.get("prompt", ()), *row.get("chosen", ())]
    if row.get("trace") in held_out or not messages:
        return row.get("trace") in held_out or holdout.shares_words(row.get("query", ""), "")
    *prompt, answer = (message["content"] for message in messages)
    return holdout.shares_words(prompt[-1] if prompt else "", answer, "\n".join(prompt))
