"""The bench of budgets on made-up outcomes with costs and latencies."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import rows, village
from ruvllm.bench.routers.budgets import run


def made(folder: Path, **told: dict[str, float]) -> Path:
    return rows.write(folder / "rows.jsonl", rows.planted(200, **told))


def test_budgets_are_kept_and_spent_where_the_large_model_is_needed(tmp_path: Path) -> None:
    costs = {"small-1b": 1.0, "large-7b": 7.0}
    report = run([made(tmp_path, cost=costs)], village.settings(), orders=3)
    by_name = {row.name: row for row in report.rows}
    over = [row for row in report.rows if "overspent" in row.name]
    assert len(over) == 4 and all(row.met and row.peers["worst order"] <= 3.0 for row in over)
    quality = [row for row in report.rows if row.name.endswith(": quality")]
    assert quality[-1].value > quality[0].value > by_name["mean cost of small-1b"].peers["quality"]


def test_a_limit_that_one_model_misses_is_kept_by_the_other(tmp_path: Path) -> None:
    report = run([made(tmp_path, latency_ms={"small-1b": 10.0, "large-7b": 90.0})], village.settings(), orders=2)
    late = [row for row in report.rows if "later" in row.name]
    assert len(late) == 4 and all(row.met for row in late)


def test_files_without_cost_and_latency_are_refused(tmp_path: Path) -> None:
    data = [row | {"score": {"a": float(i % 2), "b": 1.0}} for i, row in enumerate(rows.planted(40))]
    with pytest.raises(ValueError, match="cost or latency_ms"):
        run([rows.write(tmp_path / "rows.jsonl", data)], village.settings())
