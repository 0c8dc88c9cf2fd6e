"""A stream of topics: figures of every way to learn it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import rows, village
from ruvllm.bench.routers import stream


def test_every_way_to_learn_a_stream_has_its_figures(tmp_path: Path) -> None:
    path = rows.write(tmp_path / "rows.jsonl", rows.planted(120))
    report = stream.run([path], village.settings())
    values = {row.name: row.value for row in report.rows}
    for way in ("nothing", "EWC, lambda 0.4", "replay", "replay and EWC, lambda 0.04"):
        assert 0.0 <= values[f"accuracy at the end, held by {way}"] <= 1.0
        assert values[f"forgetting, held by {way}"] >= 0.0
    assert values["accuracy when all topics are learnt at once"] > 0.6


def test_one_topic_is_no_stream(tmp_path: Path) -> None:
    path = rows.write(tmp_path / "rows.jsonl", [row | {"subject": "one"} for row in rows.planted(40)])
    with pytest.raises(ValueError, match="at least two topics"):
        stream.run([path], village.settings())
