"""The bench of the background worker runs on a tiny corpus, trains beside requests and shows its rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ruvllm import priority
from ruvllm.bench import worker
from ruvllm.bench.serving import served

from . import village


def test_training_went_on_while_answers_were_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "WARM_UP", 5)
    monkeypatch.setattr(priority, "become_idle", lambda: None)  # other tests may leave no processor idle
    corpus, questions = village.write(tmp_path)
    report = worker.run([corpus], questions, village.settings(), nodes=20, blocks=2, seconds=0.3)
    found = {row.name: row for row in report.rows}
    ratio = found["p95 beside training over p95 beside nothing"]
    assert ratio.interval is not None and ratio.interval[0] <= ratio.value <= ratio.interval[1]
    assert found["trainings that came to their end"].value >= 1
    assert found["answers a second, one thread"].value > 0.0


def test_a_request_that_waits_for_the_one_before_takes_longer() -> None:
    clock = iter(range(100))
    took = served(lambda i: next(clock), np.array([0.0, 0.0, 0.001]))
    assert (took > 0.0).all() and took[1] > took[0]
