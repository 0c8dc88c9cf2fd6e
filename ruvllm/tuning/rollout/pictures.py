"""A student's trial as curves: how each metric's difference came to be known, request by request."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from pathlib import Path

from ruvllm.tuning.rollout.report import Phase, RolloutReport
from ruvllm.viz.curves import CurvePoint, curve_svg
from ruvllm.viz.png import curve_png
from ruvllm.viz.svg import checked_file, stacked, write

__all__ = ["draw_rollout", "rollout_svg"]

PLOTS = {
    "quality": ("quality, student less control", 0.0),
    "failure_rate": ("failures, student less control", 0.0),
    "latency": ("latency, student over control", 1.0),
}


def rollout_svg(report: RolloutReport) -> str:
    """Return one picture with a plot of each metric in each phase; bounds, shaded, hold at all times.

    Raises:
        ValueError: no phase has a request yet.
    """
    plots = [
        curve_svg(
            points,
            title=f"{report.student}, {phase.name}: {phase.decision.action}",
            x_label="requests of the student",
            y_label=label,
            y_holds=(even,),
        )
        for phase in report.phases
        for metric, (label, even) in PLOTS.items()
        if (points := list(_points(phase, metric)))
    ]
    if not plots:
        raise ValueError("report must hold a phase with requests")
    return stacked(plots)


def draw_rollout(report: RolloutReport, file: str | Path) -> Path:
    """Draw `report` into `file`, .svg, or the quality of its last phase, .png, and return its path.

    Raises:
        ValueError: no phase has a request yet, or the name ends in neither.
        ImportError: a PNG is asked for and matplotlib is missing.
        OSError: `file` cannot be written.
    """
    if Path(file).suffix.lower() != ".png":
        return write(rollout_svg(report), checked_file(file))
    phase = report.phases[-1]
    title = f"{report.student}, {phase.name}: {phase.decision.action}"
    label, _ = PLOTS["quality"]
    return curve_png(list(_points(phase, "quality")), file, title=title, x_label="requests", y_label=label)


def _points(phase: Phase, metric: str) -> Iterable[CurvePoint]:
    """Yield the moments at which the difference is known; bounds that are not finite yet are left out."""
    for decision in phase.history:
        for one in decision.evidence:
            if one.metric.startswith(metric) and isfinite(one.difference):
                interval = (one.low, one.high) if isfinite(one.low) and isfinite(one.high) else None
                yield CurvePoint(one.metric, decision.requests, one.difference, interval)
