"""Edge weights fade with disuse; and what graph attention sees of an edge."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ruvllm.kernels.loaded import core

__all__ = ["edge_decay", "edge_decay_and_mark", "edge_features"]

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.uint16]
Bytes = npt.NDArray[np.uint8]


def half_lives(half_life_s: float | Floats, num_types: int) -> Floats:
    """Return (num_types,) float32 half-lives from one for all types or from such an array, which passes unchanged."""
    if not isinstance(half_life_s, np.ndarray):
        try:
            value = math.ldexp(half_life_s, 0)  # a float, as float() makes one, but of a number only
        except (TypeError, ValueError, OverflowError):
            raise TypeError(f"half_life_s must be a number or an array ({type(half_life_s).__name__})") from None
        return np.full(num_types, np.inf if value > np.finfo(np.float32).max else value, np.float32)
    if half_life_s.shape != (num_types,):
        raise ValueError(f"half_life_s must have shape ({num_types},) ({half_life_s.shape})")
    return half_life_s


def edge_decay(
    weights: Floats,
    last_used: Floats,
    *,
    now: float,
    half_life_s: float | Floats,
    types: Bytes | None = None,
    since: float = -np.inf,
) -> None:
    """Decay weights in place: w *= 2^(-age / half_life_s[type]), age = max(now - max(last_used, since), 0).

    A last use in the future, as after a clock was set back, never raises a weight. Runs at memory speed.

    Args:
        weights: (n,) float32, finite, writable; shares no memory with the others.
        last_used: (n,) float32, finite, seconds on the clock of `now`.
        now: seconds on the same clock, at most 1e30.
        half_life_s: > 0; one number without `types`, (num_types,) float32 with them. Infinity never fades.
        types: (n,) uint8, below num_types.
        since: no age counts from before this: when the weights were last decayed for good.

    Raises:
        ValueError: a half-life that is not above 0, a type without one, a wrong dtype, length or order.
    """
    half_life_of_type = half_life_s if isinstance(half_life_s, np.ndarray) else half_lives(half_life_s, 1)
    core.edge_decay(weights, last_used, types, now, since, half_life_of_type)


def edge_decay_and_mark(
    weights: Floats,
    last_used: Floats,
    types: Bytes,
    counts: Counts,
    *,
    now: float,
    half_life_s: Floats,
    floor: float,
    min_interactions: int,
    since: float = -np.inf,
    out: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.bool_]:
    """Decay weights in place as `edge_decay` does, and return which edges may be pruned, (n,) bool.

    Those are the edges whose new weight is below `floor` and whose counts add up to at least `min_interactions`.

    Args:
        counts: (n, 2) uint16, successes and failures.
        half_life_s: (num_types,) float32.
        out: (n,) bool, where the answer goes; a new array when None.
    """
    is_prunable = np.empty(np.shape(weights), np.bool_) if out is None else out
    core.edge_decay_and_mark(
        weights, last_used, types, counts, now, since, half_life_s, floor, min_interactions, is_prunable
    )
    return is_prunable


def edge_features(
    types: Bytes,
    weights: Floats,
    last_used: Floats,
    successes: Counts,
    failures: Counts,
    directions: Bytes,
    *,
    now: float,
    half_life_s: Floats,
) -> Floats:
    """Return what graph attention sees of edges, (nnz, num_types + 5) float32.

    The columns: type one-hot (num_types); weight; recency 2^(-max(now - last_used, 0) / half_life_s[type]); success
    rate (successes + 1) / (uses + 2), Laplace's rule, so 1/2 before any outcome; log(1 + uses); direction. Uses are
    successes + failures.

    Args:
        types, directions: (nnz,) uint8; types below num_types.
        weights, last_used: (nnz,) float32, finite; seconds on the clock of `now`.
        successes, failures: (nnz,) uint16.
        now: seconds.
        half_life_s: (num_types,) float32, > 0.
    """
    return core.edge_features(types, weights, last_used, successes, failures, directions, now, half_life_s)
