"""Files of made-up outcomes: what a question is about decides which model is right."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ruvllm.bench.routers.table import Table, choose_models, make_table, read_questions, with_scores
from ruvllm.router.outcomes import Outcomes

from . import village

SUBJECTS = {"algebra": "sum prime root factor".split(), "history": "king war treaty empire".split()}
MODELS = ("small-1b", "large-7b")


def planted(n: int = 240, *, noise: float = 0.1, seed: int = 0, **fields: Any) -> list[dict[str, Any]]:
    """Return rows where the small model fails on algebra and the large one nowhere; some scores are chance."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        subject = rng.choice(list(SUBJECTS))
        words = " ".join(rng.choice(SUBJECTS[subject], 3))
        small, large = np.where(rng.random(2) < noise, rng.integers(2, size=2), (subject == "history", 1)).tolist()
        score = dict(zip(MODELS, (small, large), strict=True))
        rows.append({"id": f"q{i}", "prompt": f"Tell me {i}: {words}?", "subject": subject, "score": score} | fields)
    return rows


def probe(margin: float) -> dict[str, float]:
    """Return a probe as a file holds it."""
    fixed = {"top_probability": 0.9, "entropy": 1.0, "mean_logprob": -3.0, "num_tokens": 12, "latency_ms": 5.0}
    return fixed | {"margin": margin}


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


class MeansRouter:
    """Implements `predict` of `ruvllm.router.fitted.FittedRouter`: means over rows that are near."""

    def __init__(self, outcomes: Outcomes, probes: Sequence[Any] | None) -> None:
        self._vectors, self._quality, self._probes = outcomes.vectors, outcomes.quality, probes

    def predict(self, texts: Any, vectors: np.ndarray, probes: Sequence[Any] | None = None) -> SimpleNamespace:
        assert (probes is None) == (self._probes is None)
        near = vectors @ self._vectors.T
        if probes is not None and self._probes is not None:
            near = near - 10.0 * np.abs(np.subtract.outer([p.margin for p in probes], [p.margin for p in self._probes]))
        weights = np.exp(10.0 * near)
        return SimpleNamespace(
            quality=(weights @ self._quality / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        )


@pytest.fixture
def means_router(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bench take MeansRouter for the package's router."""

    def fit(outcomes: Outcomes, *, seed: int = 0, probes: Sequence[Any] | None = None) -> MeansRouter:
        return MeansRouter(outcomes, probes)

    monkeypatch.setitem(sys.modules, "ruvllm.router.fitted", SimpleNamespace(fit=fit))
    monkeypatch.setattr("ruvllm.bench.routers.comparison.RESAMPLES", 40)
