"""What a training reads of a curriculum: rows for TRL, some of them held out, each as often as its weight says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ruvllm.tuning.formats import read_folder

__all__ = [
    "Rows",
    "Split",
    "drawn",
    "preference_rows",
    "read_curriculum",
    "sft_rows",
    "split",
    "tokenized",
]

Rows = list[dict[str, Any]]

ENOUGH_TO_DIFFER = 8  # examples that all have one answer are no accident
MAX_HELD_OUT = 64  # more tell little more, and each costs a forward pass at every look


@dataclass(frozen=True, slots=True)
class Split:
    """Examples to train on, and those that only measure."""

    train: Rows
    held_out: Rows
    too_long: int


def read_curriculum(folder: Path, *, dpo: bool) -> tuple[Rows, Rows, str]:
    """Return the rows for SFT, those for DPO (none unless `dpo`), and the curriculum's id.

    Raises:
        FileNotFoundError: there is no curriculum there.
        ValueError: a file was changed since it was written, nothing in it trains a model, or all say the same.
    """
    sets, card = read_folder(folder)
    sft, preferences = sft_rows(sets["sft"]), preference_rows(sets["preferences"]) if dpo else []
    if not sft and not preferences:
        what = ", ".join(f"{len(rows)} {name}" for name, rows in sets.items() if rows) or "nothing"
        raise ValueError(f"curriculum: {folder} holds {what}: no examples to train a student on")
    answers = {row["completion"][0]["content"] for row in sft}
    if len(sft) >= ENOUGH_TO_DIFFER and len(answers) == 1:
        raise ValueError(f"curriculum: all {len(sft)} examples have one answer: a student would learn to say that")
    return sft, preferences, card.id


def sft_rows(rows: Sequence[Mapping[str, Any]]) -> Rows:
    """Return {"prompt", "completion", "weight"} of {"messages", "weight"}: the loss is on the last answer only."""
    return [
        {"prompt": row["messages"][:-1], "completion": row["messages"][-1:], "weight": float(row.get("weight", 1.0))}
        for row in rows
    ]


def preference_rows(rows: Sequence[Mapping[str, Any]]) -> Rows:
    """Return {"prompt", "chosen", "rejected", "weight"}; a pair counts as much as any other."""
    return [{**{name: row[name] for name in ("prompt", "chosen", "rejected")}, "weight": 1.0} for row in rows]


def split(rows: Rows, share: float, *, max_tokens: int, count_tokens: Callable[[Mapping[str, Any]], int]) -> Split:
    """Return `rows` in two parts by the hash of the prompt, so that one question is never in both.

    Raises:
        ValueError: all rows are longer than `max_tokens`.
    """
    fit = [row for row in rows if count_tokens(row) <= max_tokens]
    if not fit:
        raise ValueError(f"max_tokens: all {len(rows)} examples are longer than {max_tokens} tokens")
    train: Rows = []
    held_out: Rows = []
    for row in fit:
        (held_out if _fraction(row["prompt"]) < share else train).append(row)
    if not train:
        train, held_out = held_out, []
    return Split(train, held_out[:MAX_HELD_OUT], len(rows) - len(fit))


def drawn(rows: Rows, epochs: float, seed: int) -> Rows:
    """Return rows in training order, round(epochs * n) of them, each row as often as its weight says.

    Systematic sampling: a row of weight w (of mean 1) is drawn floor(w) or ceil(w) times an epoch, w on average.
    """
    rng = np.random.default_rng(seed)
    edges = np.cumsum([row["weight"] for row in rows])
    left, order = max(1, round(epochs * len(rows))), []
    while left > 0:
        points = (np.arange(len(rows)) + rng.random()) * (edges[-1] / len(rows))
        picked = np.minimum(np.searchsorted(edges, points, side="right"), len(rows) - 1)
        order += list(rng.permutation(picked)[:left])
        left -= len(rows)
    return [rows[i] for i in order]


def tokenized(tokenizer: Any, row: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return the tokens of a conversation as the chat template has them, and labels: -100 but for the answer's."""
    asked = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
    ids = tokenizer.apply_chat_template([*row["prompt"], *row["completion"]], return_dict=True)["input_ids"]
    same = next((i for i, (a, b) in enumerate(zip(asked, ids, strict=False)) if a != b), min(len(asked), len(ids)))
    return {"input_ids": ids, "labels": [-100] * same + ids[same:]}


def _fraction(prompt: Sequence[Mapping[str, str]]) -> float:
    digest = hashlib.sha256(json.dumps(prompt, sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
