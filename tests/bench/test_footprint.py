"""What a brain holds in memory is told part by part, and the parts add up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ruvllm.bench import footprint
from ruvllm.config import IndexConfig, load_config
from ruvllm.memory import Memory


def quiet(what: str, done: int, total: int) -> None:
    pass


def test_the_parts_add_up_to_what_is_resident() -> None:
    report = footprint.run(500, 1000, load_config(environment={}), on_progress=quiet)
    rows = {row.name: row.value for row in report.rows}
    parts = ["Python and libraries", "links", "keywords (BM25)", "names", "traits", "vectors (float16)"]
    total = sum(rows[part] for part in [*parts, "index (hnswlib)", "search"])
    assert total == pytest.approx(rows["resident"]) and rows["resident at most, while it opened"] >= rows["resident"]
    assert rows["vectors (float16)"] == pytest.approx(500 * 780 / 2**20)


def test_a_filled_brain_is_sound_and_searched(tmp_path: Path) -> None:
    config = load_config(environment={}, overrides={"index": {"exact_below": 100}})
    assert config.index == IndexConfig(exact_below=100)
    with Memory(tmp_path, embedder=footprint._Noise(), config=config) as memory:
        footprint.fill(memory, 200, 400, np.random.default_rng(0), on_progress=quiet)
        found = memory.stats()
        text = memory.get(7).text
        memory._nearest.prepare()
        assert (found.nodes, memory._nearest.state) == (200, "ready") and 380 < found.edges <= 400
        assert memory.find(text, 1)[0].id == 7 and memory.check().ok


def test_a_brain_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nodes must be >= 1"):
        footprint.run(0, 0, load_config(environment={}), on_progress=quiet)
