"""A trial as a page of text."""

from __future__ import annotations

from ruvllm.config import RolloutConfig
from ruvllm.tuning.rollout import ABDecision, rollout_report
from tuning.rollout_rows import pairs, rows

CONFIG = RolloutConfig()


def test_a_report_says_what_was_decided_and_from_what() -> None:
    report = rollout_report("LFM2-ruv-edition-v3", pairs(600, treatment=0.5), CONFIG)
    text = str(report)
    assert "Rollout of LFM2-ruv-edition-v3" in text and "quality_regression" in text
    assert "KeepControl after 600 requests" in text and "is found in 80 % of trials" in text


def test_a_report_follows_a_phase_to_its_end() -> None:
    (shadow,) = rollout_report("v3", pairs(400), CONFIG).phases
    counts = [decision.requests for decision in shadow.history]
    assert counts == sorted(counts) and counts[-1] == 400 and len(counts) == 40
    assert shadow.decision == shadow.history[-1]


def test_both_phases_are_reported() -> None:
    arms = (rows(900, 0.7, seed=1), rows(100, 0.1, seed=2))
    report = rollout_report("v3", pairs(300), CONFIG, canary=arms)
    assert [phase.name for phase in report.phases] == ["shadow", "canary"]
    assert report.phases[1].decision == ABDecision.KeepControl


def test_a_trial_that_has_not_begun_promises_nothing() -> None:
    assert "too few requests to promise" in str(rollout_report("v3", [], CONFIG))
