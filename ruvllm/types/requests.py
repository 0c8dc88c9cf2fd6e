"""One question, and what it asks of the model that answers."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Literal

from ruvllm.types.checks import is_number, require_share
from ruvllm.types.generation import GenerationOptions
from ruvllm.types.search import Filter

__all__ = ["Constraints", "Privacy", "Request"]

Privacy = Literal["any", "local"]


@dataclass(frozen=True, slots=True)
class Constraints:
    """What one request asks of the model that answers it; None leaves it to the configuration.

    `max_latency_ms` is for the whole answer. `max_cost` is in the router's unit: a thousand tokens, prompt and answer
    together, by a model of a billion parameters. With privacy "local" question and answer reach no endpoint, whatever
    else is asked, now or later: a later prompt for an endpoint leaves them out. `min_quality` in [0, 1] stands in the
    place of `router.quality_floor`.
    """

    max_latency_ms: float | None = None
    max_cost: float | None = None
    privacy: Privacy = "any"
    min_quality: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_latency_ms", "max_cost"):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and value > 0.0):
                raise ValueError(f"{name} must be > 0 ({value!r})")
        if self.privacy not in ("any", "local"):
            raise ValueError(f"privacy must be 'any' or 'local' ({self.privacy!r})")
        if self.min_quality is not None:
            require_share(self.min_quality, "min_quality")


def _new_id() -> str:
    """Return an id that sorts by its time, so that what is stored under new ids lies together, and ends in chance."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"


@dataclass(frozen=True, slots=True)
class Request:
    """One question: within a session or alone, over all sources or a `filter` of them, `k` sources at most.

    `timeout_s` counts from `asked`, by the monotonic clock; `key` is who asks, for the limits.
    """

    query: str
    session: str | None = None
    k: int | None = None
    filter: Filter | None = None
    options: GenerationOptions | None = None
    constraints: Constraints | None = None
    timeout_s: float | None = None
    key: str = "local"
    asked: float = field(default_factory=time.monotonic, compare=False)
    id: str = field(default_factory=_new_id, compare=False)  # its response's, too
