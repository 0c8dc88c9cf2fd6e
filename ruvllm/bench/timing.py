"""Times of small calls, ours beside the peers', taken in turn so that a noisy machine disturbs all alike."""

from __future__ import annotations

import importlib
import logging
import statistics
import time
from collections.abc import Callable, Mapping
from types import ModuleType

from ruvllm.bench.report import Row

__all__ = ["Call", "compared", "peer", "race", "seconds_per_call"]

logger = logging.getLogger(__name__)

UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}

Call = Callable[[], object]


def peer(module: str) -> ModuleType | None:
    """Return an optional library to compare with; None, said in the log, when it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        logger.warning("peer %s is left out: %s", module, error)
        return None


def race(
    name: str,
    ours: Call,
    peers: Mapping[str, Call],
    *,
    unit: str = "us",
    target: float | None = None,
    target_ratio: float | None = None,
    floor_s: float | None = None,
    rounds: int = 7,
    seconds: float = 0.1,
) -> Row:
    """Return our time per call with each peer's, the ratio to the fastest of them, and the floor.

    Args:
        unit: of the row: s, ms, us or ns.
        target: in `unit`.
        target_ratio: to the fastest peer; with both, the harder one is the row's target.
        floor_s: what the machine's bandwidth or arithmetic allows, in seconds.
        rounds: every call is measured once a round.
        seconds: time spent on one call in one round.
    """
    times = seconds_per_call({"": ours, **peers}, rounds=rounds, seconds=seconds)
    scale = UNITS[unit]
    value, others = times.pop("") * scale, {label: t * scale for label, t in times.items()}
    floor = None if floor_s is None else floor_s * scale
    return compared(name, value, others, unit=unit, target=target, target_ratio=target_ratio, floor=floor)


def compared(
    name: str,
    value: float,
    peers: Mapping[str, float],
    *,
    unit: str,
    target: float | None = None,
    target_ratio: float | None = None,
    floor: float | None = None,
    more_is_better: bool = False,
) -> Row:
    """Return a row of our value with the peers', the ratio to the best of them, and whether the target is met.

    Args:
        target_ratio: to the best peer; with `target`, the harder one is the row's target.
        more_is_better: as for a rate; as for a time when False.
    """
    best = max if more_is_better else min
    targets = [] if target is None else [target]
    if target_ratio is not None and peers:
        targets.append(target_ratio * best(peers.values()))
    hardest = best(targets, default=None)
    return Row(
        name=name,
        value=value,
        unit=unit,
        peers=peers,
        ratio=value / best(peers.values()) if peers else None,
        floor=floor,
        target=hardest,
        met=None if hardest is None else value >= hardest if more_is_better else value <= hardest,
    )


def seconds_per_call(calls: Mapping[str, Call], *, rounds: int = 7, seconds: float = 0.1) -> dict[str, float]:
    """Return the median over `rounds` of each call's median time; batches of about 1 ms hide the clock's own cost."""
    batch = {label: max(1, int(1e-3 / _once(call))) for label, call in calls.items()}
    medians: dict[str, list[float]] = {label: [] for label in calls}
    for _ in range(rounds):
        for label, call in calls.items():
            medians[label].append(_median_time(call, batch[label], seconds))
    return {label: statistics.median(times) for label, times in medians.items()}


def _once(call: Call) -> float:
    call()  # the first call pays for what is set up lazily
    started = time.perf_counter()
    call()
    return max(time.perf_counter() - started, 1e-7)


def _median_time(call: Call, batch: int, seconds: float) -> float:
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        started = time.perf_counter()
        for _ in range(batch):
            call()
        times.append((time.perf_counter() - started) / batch)
    return statistics.median(times)
