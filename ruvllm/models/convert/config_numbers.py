"""Numbers of a config.json, checked as they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ruvllm.errors import ModelDamaged

__all__ = ["count", "positive"]


def count(config: Mapping[str, Any], key: str, model: str, default: int | None = None) -> int:
    """Return the integer above 0 under `key`, or `default` where the key is absent or null.

    Raises:
        ModelDamaged: there is neither.
    """
    value = config.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ModelDamaged(f"{model}: {key} in config.json is {value!r}", model=model)
    return value


def positive(config: Mapping[str, Any], key: str, model: str, default: float) -> float:
    """Return the finite number above 0 under `key`, or `default` where the key is absent or null.

    Raises:
        ModelDamaged: it is something else.
    """
    value = config.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ModelDamaged(f"{model}: {key} in config.json is {value!r}", model=model)
    return float(value)
