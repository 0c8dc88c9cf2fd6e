"""Figures carry intervals that cover, and reports serialise to one object."""

import msgspec
import numpy as np

from ruvllm.bench.report import Row, bootstrap_interval, make_report


def test_bootstrap_interval_covers_the_mean_at_its_rate() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(3.0, 2.0, (200, 80))
    intervals = [bootstrap_interval(values, seed=i) for i, values in enumerate(draws)]
    covered = sum(low <= 3.0 <= high for low, high in intervals)
    assert 180 <= covered <= 199  # 95 % of 200, within four standard deviations


def test_bootstrap_interval_is_the_same_for_the_same_seed() -> None:
    values = np.arange(20.0)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)


def test_report_is_one_json_object_with_machine_and_rows() -> None:
    report = make_report("reader", [Row("a", 0.5, "token F1", (0.4, 0.6), target=0.15, met=True)])
    decoded = msgspec.json.decode(msgspec.json.encode(report))
    assert decoded["bench"] == "reader"
    assert decoded["machine"]["cores"] >= 1
    assert decoded["rows"][0] == {
        "name": "a",
        "value": 0.5,
        "unit": "token F1",
        "interval": [0.4, 0.6],
        "peers": {},
        "ratio": None,
        "floor": None,
        "target": 0.15,
        "met": True,
    }
