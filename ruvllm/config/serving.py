"""Requests: what is let in, what is answered from a cache, what is told to the outside."""

from __future__ import annotations

import importlib.util

from ruvllm.config.section import Section, require

__all__ = ["CacheConfig", "LimitsConfig", "SessionsConfig", "TelemetryConfig"]


class LimitsConfig(Section, frozen=True):
    """What one key may use in a minute, 0 = without limit; a minute's worth may be used at once."""

    requests_per_minute: float = 0.0  # more are refused: RateLimited
    tokens_per_minute: float = 0.0  # prompts and answers; charged afterwards, so that a debt may have to be waited for
    writebacks_per_minute: float = 0.0  # more are answered and not remembered

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            require(0.0 <= value < float("inf"), f"limits.{name} must be >= 0, 0 = no limit ({value})")


class CacheConfig(Section, frozen=True):
    """Answers given again. Off by default: an answer also depends on what ratings taught since, which none asks for."""

    enabled: bool = False
    max_entries: int = 1000
    max_bytes: int = 64 * 1024 * 1024
    # Cosine from which another wording of a question may have its answer, where numbers, negations and names in both
    # are the same; 0 = never. Two questions of a cosine of 0.97 may still ask for different things.
    similarity: float = 0.0

    def __post_init__(self) -> None:
        require(self.max_entries >= 1, f"cache.max_entries must be >= 1 ({self.max_entries})")
        require(self.max_bytes >= 1, f"cache.max_bytes must be >= 1 ({self.max_bytes})")
        require(
            self.similarity == 0.0 or 0.5 <= self.similarity <= 1.0,
            f"cache.similarity must be 0 = never, or in [0.5, 1] ({self.similarity})",
        )


class SessionsConfig(Section, frozen=True):
    """Conversations."""

    max_idle_days: float = 0.0  # `expire_sessions` deletes those not used for longer; 0 = never

    def __post_init__(self) -> None:
        require(
            0.0 <= self.max_idle_days < float("inf"),
            f"sessions.max_idle_days must be >= 0, 0 = never ({self.max_idle_days})",
        )


class TelemetryConfig(Section, frozen=True):
    """What is told to the outside; metrics and log records always are there for whoever asks."""

    traces: bool = False  # each request as OpenTelemetry spans, to the provider that the program has set

    def __post_init__(self) -> None:
        is_there = not self.traces or importlib.util.find_spec("opentelemetry") is not None
        require(is_there, "telemetry.traces needs OpenTelemetry: pip install 'ruvllm[otel]'")
