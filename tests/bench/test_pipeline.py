"""The bench of a request's overhead runs on a tiny corpus and shows its rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ruvllm.bench import pipeline, zero_cost

from . import village


def test_every_stage_and_rate_has_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "SECONDS", 0.2)
    corpus, questions = village.write(tmp_path)
    report = pipeline.run([corpus], questions, village.settings(), nodes=20)
    found = {row.name: row.value for row in report.rows}
    assert 0.0 < found["retrieve, p50"] < found["overhead, p50"] <= found["overhead, p95"]
    assert found["requests, 1 thread"] > 0.0 and found["requests, 2 threads"] > 0.0
    assert "embed, p50" not in found
    assert 0.0 < found["given again from the cache, p50"] < found["overhead, p50"]


def test_the_free_embedder_remembers_what_it_would_say_anyway() -> None:
    fresh, warm = zero_cost.FreeEmbedder(), zero_cost.FreeEmbedder(keeps=True)
    warm.encode(["Lund has a harbour."])
    texts = ["Lund has a harbour.", "Something else.", "..."]
    np.testing.assert_array_equal(warm.encode(texts), fresh.encode(texts))
    np.testing.assert_allclose(np.linalg.norm(fresh.encode(texts), axis=1), 1.0, atol=1e-6)
