"""Arrays that start where no vector would."""

from __future__ import annotations

import numpy as np


def shifted(x: np.ndarray, offset: int) -> np.ndarray:
    """A copy of `x` that starts `offset` entries behind an allocation."""
    copy = np.empty(x.size + offset, x.dtype)[offset:].reshape(x.shape)
    copy[...] = x
    return copy
