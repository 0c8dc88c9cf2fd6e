"""A report counts what is logged, compares expected with real quality, and draws what it knows."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from memory.fakes import WordEmbedder

from learning.routed_brains import POLICY, brain, requests
from ruvllm.learning.forgetting import Forgetting
from ruvllm.learning.router_report import RouterReport, pictures, router_report
from ruvllm.learning.whatif import Routed, decisions_of, routed_log
from ruvllm.memory import LoggedDecision, Memory

SVG = "{http://www.w3.org/2000/svg}"
Log = tuple[list[LoggedDecision], Routed]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """A brain's log of 600 requests, one a minute, four in five of them rated."""
    folder = brain(tmp_path_factory.mktemp("brains") / "b", 600, rated=0.8)
    with Memory(folder, embedder=WordEmbedder(), read_only=True) as memory:
        decisions = decisions_of(memory, 30.0, now=0.0)
        return decisions, routed_log(memory, decisions)


@pytest.fixture(scope="module")
def report(log: Log) -> RouterReport:
    return router_report(*log, POLICY)


def test_counts_are_those_of_the_log(report: RouterReport) -> None:
    made = [one.decision for one in requests(600, rated=0.8) if one.decision is not None]
    assert report.requests == 600 == sum(report.decided_by.values())
    assert report.explored == sum(one.explored for one in made) > 100
    assert report.least_propensity == pytest.approx(0.2)


def test_shares_of_every_span_add_up(report: RouterReport) -> None:
    assert sum(one.requests for one in report.shares) == 600 and len(report.shares) == 14
    assert all(sum(one.shares) == pytest.approx(1.0) for one in report.shares)
    assert report.shares[7].days == pytest.approx(0.5 * 599 / 1440)


def test_the_frontier_lies_between_the_single_tiers(report: RouterReport) -> None:
    by_name = {one.name: one for one in report.frontier}
    small, large, floor = (by_name[name] for name in ("always small", "always large", "floor 0.6"))
    assert small.cost.value < floor.cost.value < large.cost.value
    assert floor.quality.value > small.quality.high and not report.refused


def test_what_no_draw_could_have_shown_is_not_judged(log: Log) -> None:
    decisions, rows = log
    sure = (np.arange(len(rows)) % 4 == 0) & (rows.tier == 0)  # of these the large tier had no chance
    chances = np.where(sure[:, np.newaxis], [1.0, 0.0], rows.chances)
    found = router_report(decisions, replace(rows, chances=chances), POLICY)
    assert "always large" in found.refused and "always large" not in {one.name for one in found.frontier}
    assert "always small" not in found.refused


def test_expected_quality_is_held_against_ratings(log: Log) -> None:
    rows = log[1]
    known = np.isfinite(rows.real["quality"])
    sure = replace(
        rows, quality=np.full_like(rows.quality, 0.9), real={**rows.real, "quality": np.where(known, 1.0, np.nan)}
    )
    found = router_report(log[0], sure, POLICY).reliability
    assert found is not None and found.rated == known.sum()
    assert found.ece == pytest.approx(0.1) and found.brier == pytest.approx(0.01)
    assert {tuple(np.round(one, 6)) for one in found.bins} == {(0.9, 1.0, 0.0)}


def test_every_plot_is_drawn(report: RouterReport) -> None:
    drawn = {name: ET.fromstring(svg) for name, svg in pictures(report).items()}
    assert list(drawn) == ["frontier", "reliability", "shares"]
    names = {name: {e.text for e in root.iter(f"{SVG}text")} for name, root in drawn.items()}
    assert {"by quality floor", "always small", "today's floor, 0.6"} < names["frontier"]
    assert {"as expected", "rated answers"} < names["reliability"] and {"small", "large"} < names["shares"]


def test_the_forgetting_matrix_is_drawn_where_it_is_known(report: RouterReport) -> None:
    drawn = pictures(report, Forgetting((3, 4), (60, 60), ((0.9, 0.5), (0.8, 0.7)), 0.05))
    root = ET.fromstring(drawn["forgetting"])
    assert {"3", "4", "90%", "50%", "80%", "70%", "60 requests"} < {e.text for e in root.iter(f"{SVG}text")}


def test_a_router_that_learnt_nothing_yet_has_shares_alone(tmp_path: Path) -> None:
    with Memory(tmp_path / "b", embedder=WordEmbedder()) as memory:
        for one in requests(5):
            memory.record(replace(one, decision=replace(one.decision, checkpoint=0)))  # type: ignore[type-var]
        decisions = decisions_of(memory, 30.0, now=0.0)
        found = router_report(decisions, routed_log(memory, decisions), POLICY)
    assert found.reliability is None and not found.frontier and "floor 0.6" in found.refused
    assert list(pictures(found)) == ["shares"] and found.shares[0].requests == 5
