"""What tiers did on questions: the table that the router learns from and is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

__all__ = ["Outcomes", "TierInfo"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TierInfo:
    """A model that may answer. Tiers are listed in order of cost, the cheapest first.

    Attributes:
        name: the model's name, as the pool knows it.
        parameters: size of the model; None when unknown.
        cost: of an ordinary answer, in any one unit for all tiers (dollars, seconds of a core); >= 0.
        is_local: whether questions stay on this machine.
    """

    name: str
    parameters: int | None = None
    cost: float = 0.0
    is_local: bool = True

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name must not be empty")
        if self.parameters is not None and self.parameters < 1:
            raise ValueError(f"parameters must be >= 1 ({self.parameters})")
        if not 0.0 <= self.cost < float("inf"):
            raise ValueError(f"cost must be finite and >= 0 ({self.cost})")


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """`n` questions with what each of `T` tiers did on them, oldest first. What is not known is NaN, never 0.

    Attributes:
        tiers: the T tiers, the cheapest first.
        texts: the n questions.
        vectors: (n, native_dim) float32, unit rows: the questions' embeddings.
        quality: (n, T) float32 in [0, 1].
        latency_ms: (n, T) float32, > 0.
        cost: (n, T) float32, >= 0, in the unit of `TierInfo.cost`.
        propensity: (n, T) float32 in (0, 1]: how likely it was that the tier was tried. 1 everywhere where every tier
            answered every question.
    """

    tiers: tuple[TierInfo, ...]
    texts: tuple[str, ...]
    vectors: Floats
    quality: Floats
    latency_ms: Floats
    cost: Floats
    propensity: Floats

    def __post_init__(self) -> None:
        shape = (len(self.texts), len(self.tiers))
        for name in ("quality", "latency_ms", "cost", "propensity"):
            value = getattr(self, name)
            if value.shape != shape or value.dtype != np.float32:
                raise ValueError(f"{name} must be {shape} float32 ({value.shape} {value.dtype})")
        if self.vectors.ndim != 2 or len(self.vectors) != shape[0] or self.vectors.dtype != np.float32:
            raise ValueError(f"vectors must be ({shape[0]}, native_dim) float32 ({self.vectors.shape})")
        if not np.isfinite(self.vectors).all():
            raise ValueError("vectors must be finite")
        known = self.quality[~np.isnan(self.quality)]
        if ((known < 0.0) | (known > 1.0)).any():
            raise ValueError("quality must be in [0, 1], or NaN where it is not known")
        if len({tier.name for tier in self.tiers}) != len(self.tiers):
            raise ValueError("tiers must have different names")

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Outcomes:
        """Return the chosen rows, in that order."""
        rows = np.asarray(rows, np.int64)
        return replace(
            self,
            texts=tuple(self.texts[i] for i in rows),
            vectors=self.vectors[rows],
            quality=self.quality[rows],
            latency_ms=self.latency_ms[rows],
            cost=self.cost[rows],
            propensity=self.propensity[rows],
        )
