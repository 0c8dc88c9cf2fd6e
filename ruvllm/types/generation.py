"""What a model is sent, how it samples, and why it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["FinishReason", "GenerationOptions", "Message"]

FinishReason = Literal["stop", "length", "cancelled", "extract", "deadline"]


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message as the model's template sees it."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How to sample: penalty, temperature, top_k, top_p, min_p, in this order.

    Temperature 0 is greedy, `top_k` 0 keeps every token, `min_p` those with at least this share of the likeliest one's
    probability (CTranslate2 has no such cut and refuses one). With a `json_schema` the answer is a value of it, unless
    `max_new_tokens` cuts it off; an engine that cannot promise that refuses.
    """

    max_new_tokens: int = 160
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    json_schema: Mapping[str, Any] | None = None
    min_p: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_p <= 1.0:
            raise ValueError(f"min_p must be in [0, 1] ({self.min_p})")
        if self.json_schema is not None and not isinstance(self.json_schema, Mapping):
            raise TypeError(f"json_schema must be a mapping, not {type(self.json_schema).__name__}")
        if isinstance(self.stop, str):
            raise TypeError(f"stop must be a tuple of strings, not a str: stop=({self.stop!r},)")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be >= 1 ({self.max_new_tokens})")
        if not 0.0 <= self.temperature <= 2.0:
            raise ValueError(f"temperature must be in [0, 2] ({self.temperature})")
        if self.top_k < 0:
            raise ValueError(f"top_k must be >= 0, 0 keeps every token ({self.top_k})")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p must be in (0, 1] ({self.top_p})")
        if not self.repetition_penalty > 0.0:
            raise ValueError(f"repetition_penalty must be > 0 ({self.repetition_penalty})")
        if any(not s for s in self.stop):
            raise ValueError("stop must not hold an empty string")
