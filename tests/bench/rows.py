"""Files of made-up outcomes: what a question is about decides which model is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ruvllm.bench.routers.table import Table, choose_models, make_table, read_questions, with_scores

from . import village

SUBJECTS = {"algebra": "sum prime root factor".split(), "history": "king war treaty empire".split()}
MODELS = ("small-1b", "large-7b")


def planted(n: int = 240, *, seed: int = 0, **fields: Any) -> list[dict[str, Any]]:
    """Return rows where the small model fails on algebra and the large one nowhere; a tenth of scores are chance."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        subject = rng.choice(list(SUBJECTS))
        words = " ".join(rng.choice(SUBJECTS[subject], 3))
        small = float(subject == "history") if rng.random() < 0.9 else float(rng.integers(2))
        large = 1.0 if rng.random() < 0.9 else float(rng.integers(2))
        score = dict(zip(MODELS, (small, large), strict=True))
        rows.append({"id": f"q{i}", "prompt": f"Tell me {i}: {words}?", "subject": subject, "score": score} | fields)
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Return `path` with the rows in it."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def table(folder: Path, rows: list[dict[str, Any]]) -> Table:
    """Return the rows as a table, read from a file."""
    questions = read_questions([write(folder / "rows.jsonl", rows)])
    names = choose_models(questions, None)
    embedder = village.settings().embedder
    assert embedder is not None
    return make_table(with_scores(questions, names), names, embedder)
