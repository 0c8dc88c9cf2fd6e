"""A trial as curves."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from ruvllm.config import RolloutConfig
from ruvllm.tuning.rollout import RolloutReport, rollout_report
from ruvllm.tuning.rollout.pictures import draw_rollout, rollout_svg
from ruvllm.viz import can_draw_png
from tuning.rollout_rows import pairs, rows


@pytest.fixture(scope="module")
def report() -> RolloutReport:
    arms = (rows(270, 0.7, seed=1), rows(30, 0.7, seed=2))
    return rollout_report("LFM2 <v3>", pairs(300), RolloutConfig(), canary=arms)


def test_each_metric_of_each_phase_has_a_plot(report: RolloutReport) -> None:
    svg = rollout_svg(report)
    ElementTree.fromstring(svg)
    assert svg.count("<svg ") == 1 + 2 * 3
    assert "LFM2 &lt;v3&gt;, shadow: Continue" in svg and "latency_p95" in svg


def test_a_picture_is_written(report: RolloutReport, tmp_path: Path) -> None:
    assert draw_rollout(report, tmp_path / "trial.svg").read_text().startswith("<svg")
    if can_draw_png():
        assert draw_rollout(report, tmp_path / "trial.png").read_bytes().startswith(b"\x89PNG")


def test_other_files_and_empty_trials_are_refused(report: RolloutReport, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.svg"):
        draw_rollout(report, tmp_path / "trial.txt")
    with pytest.raises(ValueError, match="requests"):
        rollout_svg(rollout_report("v3", [], RolloutConfig()))
