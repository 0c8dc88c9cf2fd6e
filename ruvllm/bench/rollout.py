"""`ruvllm bench rollout`: how often a trial of a student ends wrongly, what it finds, and how long it takes.

Trials are drawn (`rollout_trials`) and looked at after every request, as in service.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from ruvllm.bench.report import Report, Row, bootstrap_interval, make_report
from ruvllm.bench.rollout_trials import Student, Trial, draw, first_decision, quality_proofs
from ruvllm.config import RolloutConfig
from ruvllm.tuning.rollout import Action, evaluate_canary, evaluate_shadow
from ruvllm.tuning.rollout.power import detectable_in_canary, detectable_in_shadow

__all__ = ["FALSE_ALARMS", "Trials", "run"]

Progress = Callable[[str, int, int], None]

WRONG_TARGET = 0.05
CAUGHT_TARGET, CAUGHT_WITHIN = 0.8, 1500
LOSSES, SPREADS = (0.01, 0.02, 0.03, 0.05, 0.10), (0.15, 0.25, 0.40)
SIZES = (500, 1000, 1500, 2000, 5000, 10_000)
CANARY_SIZES = (250, 500, 1000, 2000)
CANARY_SPREAD = 0.35  # of the quality of a request
LONGEST = 20_000
SIZE_RUNS = 10  # a trial's length is averaged over so many times fewer runs

KEEP, PROMOTE = Action.KEEP_CONTROL, Action.PROMOTE
SHADOW = RolloutConfig()
STRICT = RolloutConfig(quality_margin=0.0, canary_margin=0.0, canary_requests=400)


@dataclass(frozen=True, slots=True)
class Trials:
    """Trials of one student, the share of which that ends in one of `actions` is looked for."""

    name: str
    student: Student
    actions: tuple[Action, ...]
    requests: int
    config: RolloutConfig = SHADOW
    share: float | None = None  # of the sessions that the student answers; None: both models answer all


GRADED, BINARY = Student(), Student(kind="right or wrong")
IN_SESSIONS = Student(session_requests=5, session_sd=0.1)
FALSE_ALARMS = (
    Trials("A/A, pairs, margin 0, graded: decided", GRADED, (KEEP, PROMOTE), 2500, STRICT),
    Trials("A/A, pairs, margin 0, binary: decided", BINARY, (KEEP, PROMOTE), 2500, STRICT),
    Trials("A/A, pairs, both fail in 2 %: kept", replace(BINARY, failure_rates=(0.02, 0.02)), (KEEP,), 2000),
    Trials("A/A, 90/10, margin 0, binary: decided", BINARY, (KEEP, PROMOTE), 5000, STRICT, 0.1),
    Trials("A/A, 90/10, sessions of 5, both fail in 2 %: kept", IN_SESSIONS, (KEEP,), 5000, share=0.1),
    Trials("worse by the margin of 2 points, pairs: promoted", replace(BINARY, loss=0.02), (PROMOTE,), 2500),
    Trials("later by the ratio of 1.2, pairs: promoted", replace(GRADED, latency_ratio=1.2), (PROMOTE,), 2500),
    Trials("1 point more failures, pairs: promoted", replace(GRADED, failure_rates=(0.0, 0.01)), (PROMOTE,), 2500),
)
FOUND = (
    Trials("3 points lost, pairs, margin 0, graded", replace(GRADED, loss=0.03), (KEEP,), CAUGHT_WITHIN, STRICT),
    Trials("3 points lost, pairs, margin 0, binary", replace(BINARY, loss=0.03), (KEEP,), CAUGHT_WITHIN, STRICT),
    Trials("failures from 0 to 2 %, pairs", replace(GRADED, failure_rates=(0.0, 0.02)), (KEEP,), CAUGHT_WITHIN),
    Trials("later by 1.5 times, pairs", replace(GRADED, latency_ratio=1.5), (KEEP,), CAUGHT_WITHIN),
    Trials("10 points lost, 90/10", replace(BINARY, loss=0.1, quality_sd=0.35), (KEEP,), 10_000, share=0.1),
)


def run(runs: int = 2000, *, seed: int = 0, on_progress: Progress = lambda name, done, total: None) -> Report:
    """Return how often trials end wrongly, what they find, what may be found at all, and how long they take.

    Args:
        runs: trials of each kind whose errors are counted; others get a tenth.
    """
    rng = np.random.default_rng(seed)
    few = max(runs // SIZE_RUNS, 2)
    rows = [_share(trials, runs, rng, on_progress, is_error=True)[0] for trials in FALSE_ALARMS]
    rows.append(_long_trials(runs, rng, on_progress))
    for trials in FOUND:
        rows += _share(trials, few, rng, on_progress, is_error=False)
    rows += _detectable()
    rows += _lengths(few, rng, on_progress)
    rows += _times(rng)
    return make_report("rollout", rows)


def _share(
    trials: Trials, runs: int, rng: np.random.Generator, on_progress: Progress, *, is_error: bool
) -> tuple[Row, Row]:
    """Return the share of trials that end so, and the requests of the student that those took."""
    ends = []
    for done in range(runs):
        on_progress(trials.name, done, runs)
        drawn = draw(trials.student, trials.requests, rng, share=trials.share)
        ends.append(first_decision(drawn, trials.config))
    hits = np.array([action in trials.actions for action, _ in ends], np.float64)
    share = float(hits.mean())
    if is_error:
        target, met = WRONG_TARGET, share <= WRONG_TARGET
    else:
        target, met = CAUGHT_TARGET, share >= CAUGHT_TARGET
    found = np.array([n for (_, n), hit in zip(ends, hits, strict=True) if hit], np.float64)
    return (
        Row(trials.name, share, "share of trials", _wilson(hits), target=target, met=met),
        Row(
            f"{trials.name}: found after",
            float(found.mean()) if len(found) else np.nan,
            "requests",
            bootstrap_interval(found) if len(found) > 1 else None,
        ),
    )


def _long_trials(runs: int, rng: np.random.Generator, on_progress: Progress) -> Row:
    """Return how often quality alone decides between equals in the longest trials that there are."""
    name = f"A/A, {LONGEST} pairs, margin 0, binary: quality decided"
    ends = np.zeros(runs)
    for done in range(runs):
        on_progress(name, done, runs)
        is_worse, is_not_worse = quality_proofs(draw(BINARY, LONGEST, rng), STRICT)
        ends[done] = is_worse.any() or is_not_worse[STRICT.shadow_requests - 1 :].any()
    share = float(ends.mean())
    return Row(name, share, "share of trials", _wilson(ends), target=WRONG_TARGET, met=share <= WRONG_TARGET)


def _wilson(hits: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of a share, sound also at 0 and 1 (Wilson 1927)."""
    n, share, z = len(hits), float(hits.mean()), 1.96
    centre, width = share + z * z / (2 * n), z * sqrt(share * (1.0 - share) / n + z * z / (4 * n * n))
    low, high = (centre - width) / (1.0 + z * z / n), (centre + width) / (1.0 + z * z / n)
    return max(low, 0.0), min(high, 1.0)


def _detectable() -> list[Row]:
    """Return the losses that 80 % of trials show after so many requests."""
    rows = [
        Row(f"loss found in {n} pairs, sd {sd:g}", 100.0 * detectable_in_shadow(n, sd, SHADOW), "points")
        for sd in SPREADS
        for n in SIZES
    ]
    return rows + [
        Row(
            f"loss found in {n} canary requests, sd {CANARY_SPREAD:g}",
            100.0 * detectable_in_canary(n, CANARY_SPREAD, SHADOW),
            "points",
        )
        for n in CANARY_SIZES
    ]


def _lengths(runs: int, rng: np.random.Generator, on_progress: Progress) -> list[Row]:
    """Return how many pairs it takes until a loss is proven, or that there is none beyond the margin.

    Losses too small for `LONGEST` pairs are left out.
    """
    rows = []
    for sd in SPREADS:
        for loss in (0.0, *LOSSES):
            if loss and detectable_in_shadow(LONGEST, sd, SHADOW) > loss:
                continue
            name = f"pairs until a loss of {100 * loss:g} points is proven, sd {sd:g}"
            if not loss:
                name = f"pairs until a student as good is proven within {SHADOW.quality_margin:g}, sd {sd:g}"
            lengths = []
            for done in range(runs):
                on_progress(name, done, runs)
                trial = draw(Student(loss=loss, quality_sd=sd, kind="right or wrong"), LONGEST, rng)
                lengths.append(_first(quality_proofs(trial, SHADOW)[0 if loss else 1]))
            rows.append(Row(name, float(np.mean(lengths)), "pairs", bootstrap_interval(np.array(lengths, np.float64))))
    return rows


def _first(flags: np.ndarray) -> int:
    return int(flags.argmax()) + 1 if flags.any() else len(flags)


def _times(rng: np.random.Generator) -> list[Row]:
    """Return what asking costs after the last row of a trial."""
    pairs = draw(Student(), SHADOW.shadow_requests, rng).pairs()
    canary = draw(IN_SESSIONS, 10_000, rng, share=0.1)
    return [
        Row(f"asking after {len(pairs)} pairs", _milliseconds(lambda: evaluate_shadow(pairs, SHADOW)), "ms"),
        Row("asking after 10000 canary requests", _canary_milliseconds(canary), "ms"),
    ]


def _canary_milliseconds(trial: Trial) -> float:
    control, treatment = trial.rows(0), trial.rows(1)
    return _milliseconds(lambda: evaluate_canary(control, treatment, SHADOW))


def _milliseconds(call: Callable[[], object]) -> float:
    found = []
    for _ in range(7):
        start = time.perf_counter()
        call()
        found.append(1e3 * (time.perf_counter() - start))
    return float(np.median(found))
