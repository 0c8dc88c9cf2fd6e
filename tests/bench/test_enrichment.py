"""ruvllm bench enrichment: the same questions with and without what a model named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ruvllm.bench.enrichment import ENRICHED, PLAIN, run

from . import village


@pytest.mark.real
def test_recall_with_and_without_names_that_a_real_model_found(tmp_path: Path, smollm2_dir: Path) -> None:
    pytest.importorskip("llguidance", reason="the extra `constrained` is not installed")
    settings = replace(village.settings(limit=4, cache=tmp_path / "cache"), model=str(smollm2_dir))
    files = village.write(tmp_path)
    first = run(*files, settings, passages=10, max_links=9, read=4)
    rows = {row.name: row.value for row in first.rows}
    assert {f"{PLAIN}, recall@5", f"{ENRICHED}, recall@5", f"{ENRICHED}, gain in recall@5 over {PLAIN}"} <= rows.keys()
    assert (rows["passages"], rows["passages read"]) == (10, 4) and rows["names found"] >= 4
    assert run(*files, settings, passages=10, max_links=9, read=4).rows == first.rows  # from the cache
