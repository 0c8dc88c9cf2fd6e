"""Whether counts fit what was expected."""

from __future__ import annotations

import numpy as np


def critical_value(df: int) -> float:
    """What a chi-square of `df` degrees of freedom exceeds with probability 1e-4 (Wilson and Hilferty 1931)."""
    spread = 2.0 / (9.0 * df)
    return df * (1.0 - spread + 3.719 * spread**0.5) ** 3


def chi_square(counts: np.ndarray, expected: np.ndarray) -> float:
    return float(((counts - expected) ** 2 / expected).sum())
