"""The router."""

from __future__ import annotations

from typing import Literal

from ruvllm.config.section import Section, require

__all__ = ["RouterConfig"]


class RouterConfig(Section, frozen=True):
    """Which of models.tiers answers; without effect while there is one."""

    enabled: bool = True  # False: generation.model answers everything
    quality_floor: float = 0.5  # the least quality, of what ratings and tasks say, that an answer should have
    cost_weight: float = (
        0.05  # quality that a cost of 1 must buy: between tiers that differ by 1 B parameters, 5 points
    )
    latency_weight: float = 0.1  # quality that an answer twice as late as the SLA loses
    latency_sla_ms: float = 0.0  # the latest that an answer may come; 0 = none
    cost_budget: float = 0.0  # mean cost of all requests, see docs/router.md for the unit; 0 = none
    # Certified mode promises: with certificate_confidence, at most a share `risk` of the answers misses the floor where
    # the largest tier would have met it. Without calibration data that proves it, the largest tier answers.
    certified: bool = False
    loss: Literal["harm", "absolute"] = "harm"  # "absolute": misses count also where the largest tier misses, too
    risk: float = 0.05
    certificate_confidence: float = 0.9
    safe_default: str = ""  # one of models.tiers, for what the router is not sure of; "" = generation.model
    confidence_threshold: float = 0.5  # less sure than that, the safe default answers
    explore: float = 0.02  # share of the requests whose tier is drawn to learn from it
    # Share of the requests whose temperature and top_p are drawn to learn from it, while `explore` is not 0; others
    # keep those of [generation] until 500 rated draws prove a gain. 0 = never, as in certified mode.
    explore_sampling: float = 0.01
    # Share of the requests that every tier answers, by a coin that falls before the first answer. The others' answers
    # are made while no request runs; those that a process leaves behind when it ends are missing. What is calibrated on
    # anything else promises nothing: at 0, certified mode stays at the largest tier.
    calibrate: float = 0.01
    hysteresis: float = 0.05  # by which another tier's score must be better before a session changes over
    # Let the smallest local tier read the start of a question that is not clear otherwise: tens of milliseconds. On the
    # three models measured (docs/router.md) it told nothing that the question did not.
    probe: bool = False
    # Of one rater's qualities of one UTC day, training reads at most so many, drawn by the answers' ids, which no rater
    # chooses: who rates everything the same moves the router no further.
    max_labels_per_day: int = 200

    def __post_init__(self) -> None:
        for name in ("quality_floor", "confidence_threshold", "explore", "explore_sampling", "calibrate", "hysteresis"):
            require(0.0 <= getattr(self, name) <= 1.0, f"router.{name} must be in [0, 1] ({getattr(self, name)})")
        for name in ("risk", "certificate_confidence"):
            require(0.0 < getattr(self, name) < 1.0, f"router.{name} must be in (0, 1) ({getattr(self, name)})")
        for name in ("cost_weight", "latency_weight", "latency_sla_ms", "cost_budget"):
            value = getattr(self, name)
            require(0.0 <= value < float("inf"), f"router.{name} must be >= 0 ({value})")
        require(not (self.certified and self.cost_budget), "router.cost_budget cannot be kept in certified mode")
        require(self.explore + self.calibrate <= 1.0, "router.explore and router.calibrate must not exceed 1 together")
        require(self.max_labels_per_day >= 1, f"router.max_labels_per_day must be >= 1 ({self.max_labels_per_day})")
