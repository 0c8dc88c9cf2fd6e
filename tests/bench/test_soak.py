"""A short soak: files and threads do not come to more, memory hardly does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ruvllm.bench import soak as bench
from ruvllm.bench.zero_cost import FreeEmbedder, open_zero_cost
from ruvllm.config import load_config


def quiet(what: str, done: int, total: int) -> None:
    pass


def test_a_short_soak_opens_nothing_for_good_and_grows_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "DOCUMENTS", 100)
    with open_zero_cost(tmp_path, load_config(environment={})) as llm:
        soaked = bench.soak(llm, 1000, np.random.default_rng(0), fresh=False, on_progress=quiet)
        assert llm.metrics().value("ruvllm_requests_total") == 1000.0
    assert soaked.files[1] <= soaked.files[0] and soaked.threads[1] <= soaked.threads[0]
    assert soaked.failed == 0 and len(soaked.resident) == bench.SAMPLES
    warm = soaked.resident[int(bench.WARM_UP * bench.SAMPLES)]
    assert soaked.resident[-1] - warm < 30.0  # MiB; a copy of the vectors a request would be 1000 times 0.15


def test_the_report_has_the_slope_with_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "DOCUMENTS", 20)
    report = bench.run(100, load_config(environment={}), fresh=True, on_progress=quiet)
    rows = {row.name: row for row in report.rows}
    slope = rows["growth in 10,000 requests"]
    assert slope.interval is not None and slope.interval[0] <= slope.value <= slope.interval[1]
    assert rows["nodes remembered of a request"].value > 1.0  # a question each, and most answers


def test_too_few_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="requests must be >= 100"):
        bench.run(99, load_config(environment={}), on_progress=quiet)


def test_theil_sen_finds_a_slope_among_outliers_and_none_in_noise() -> None:
    rng = np.random.default_rng(0)
    x = np.arange(60.0)
    line = 2.0 * x + rng.normal(size=60)
    line[::9] += 500.0
    slope, low, high = bench.theil_sen(x, line)
    assert low < 2.0 < high and slope == pytest.approx(2.0, abs=0.1)
    _, low, high = bench.theil_sen(x, rng.normal(size=60))
    assert low < 0.0 < high


def test_the_free_embedder_tells_texts_apart_and_repeats_itself() -> None:
    embedder = FreeEmbedder()
    first, again, other = embedder.encode(["a ship", "a ship", "a tern"])
    assert (first == again).all() and float(first @ other) < 0.9
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-5)
