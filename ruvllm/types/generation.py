"""What a model is sent, how it samples, and why it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ruvllm.types.checks import is_number, require_share

__all__ = ["FinishReason", "GenerationOptions", "Message"]

_MOST = 2**31 - 1  # tokens, of any model

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

    Raises:
        TypeError, ValueError: a value is none of these; the message begins with its name.
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
        for name, least in (("max_new_tokens", 1), ("top_k", 0)):
            value = getattr(self, name)
            if not (_is_whole(value) and least <= value <= _MOST):
                raise ValueError(f"{name} must be a whole number in [{least}, {_MOST}] ({value!r})")
        if self.seed is not None and not _is_whole(self.seed):
            raise ValueError(f"seed must be a whole number ({self.seed!r})")
        if not (is_number(self.temperature) and 0.0 <= self.temperature <= 2.0):
            raise ValueError(f"temperature must be in [0, 2] ({self.temperature!r})")
        if not (is_number(self.top_p) and 0.0 < self.top_p <= 1.0):
            raise ValueError(f"top_p must be in (0, 1] ({self.top_p!r})")
        require_share(self.min_p, "min_p")
        if not (is_number(self.repetition_penalty) and self.repetition_penalty > 0.0):
            raise ValueError(f"repetition_penalty must be > 0 and finite ({self.repetition_penalty!r})")
        if self.json_schema is not None and not isinstance(self.json_schema, Mapping):
            raise TypeError(f"json_schema must be a mapping, not {type(self.json_schema).__name__}")
        if isinstance(self.stop, str):
            raise TypeError(f"stop must be a tuple of strings, not a str: stop=({self.stop!r},)")
        if not isinstance(self.stop, Sequence) or not all(isinstance(one, str) for one in self.stop):
            raise TypeError(f"stop must be a tuple of strings ({self.stop!r})")
        if not all(self.stop):
            raise ValueError("stop must not hold an empty string")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
