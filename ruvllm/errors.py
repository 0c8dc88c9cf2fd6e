"""What the world can do to us, one class per decision a caller could take.

RuvLLMError
├── BrainError            the brain directory, `.path`
│   ├── BrainLocked       another process writes to it, `.pid`: retry later, or go on reading
│   ├── BrainReadOnly     the directory cannot be written: go on reading, or mend permissions
│   ├── BrainTooNew       written by a newer ruvllm, `.found` / `.supported`: upgrade
│   └── BrainDamaged      the database itself is broken: restore a backup
├── ModelError            a model on disk, `.model`
│   ├── ModelMissing      not in the cache: pull it
│   ├── ModelDamaged      wrong checksum, truncated or half converted: pull it again
│   ├── ModelUnsupported  a family or format no engine here can run
│   └── ModelTooLarge     does not fit models.budget_bytes, `.bytes`: take a smaller one, or raise the budget
├── RegistryDamaged       the log of students was changed by hand, or signed by another key, `.path`: restore either
├── PullError             a download failed, `.model`: retry, or go offline knowingly
├── EngineError           generation failed, `.engine`
│   └── EndpointError     a remote endpoint is down, slow or answers garbage, `.url` / `.status`
├── JobsFailed            some jobs of `learn`, `.failures` / `.done`: mend what they say, and learn again
├── RateLimited           a key asks for more than its share, `.limit`: retry after `.retry_after_s`
└── DeadlineExceeded      no time is left, `.stage` / `.timeout_s`: retry with more; also a TimeoutError

A caller's own mistake is a ValueError or TypeError naming the argument, never one of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "BrainDamaged",
    "BrainError",
    "BrainLocked",
    "BrainReadOnly",
    "BrainTooNew",
    "DeadlineExceeded",
    "EndpointError",
    "EngineError",
    "JobsFailed",
    "ModelDamaged",
    "ModelError",
    "ModelMissing",
    "ModelTooLarge",
    "ModelUnsupported",
    "PullError",
    "RateLimited",
    "RegistryDamaged",
    "RuvLLMError",
]


class RuvLLMError(Exception):
    """Anything that goes wrong outside the caller's control."""


class BrainError(RuvLLMError):
    """Something about a brain directory."""

    def __init__(self, message: str, *, path: Path) -> None:
        super().__init__(message)
        self.path = path


class BrainLocked(BrainError):
    """Another process holds the brain's writing lock."""

    def __init__(self, path: Path, pid: int | None) -> None:
        owner = f"process {pid}" if pid else "another process"
        super().__init__(f"{path} is being written by {owner}; this one is open for reading only", path=path)
        self.pid = pid


class BrainReadOnly(BrainError):
    """The brain was opened for reading, or its directory cannot be written."""


class BrainTooNew(BrainError):
    """The database was written by a newer version."""

    def __init__(self, path: Path, found: int, supported: int) -> None:
        super().__init__(
            f"{path} has schema version {found}, this ruvllm knows up to {supported}: upgrade ruvllm", path=path
        )
        self.found = found
        self.supported = supported


class BrainDamaged(BrainError):
    """The database file is not readable as a brain."""


class ModelError(RuvLLMError):
    """Something about a model on disk."""

    def __init__(self, message: str, *, model: str) -> None:
        super().__init__(message)
        self.model = model


class ModelMissing(ModelError):
    """The model is not in the cache."""


class ModelDamaged(ModelError):
    """The model's files do not match what was recorded for them."""


class ModelUnsupported(ModelError):
    """No engine here runs this kind of model."""


class ModelTooLarge(ModelError):
    """The model needs more memory than all models may hold."""

    def __init__(self, message: str, *, model: str, bytes: int) -> None:
        super().__init__(message, model=model)
        self.bytes = bytes


class RegistryDamaged(RuvLLMError):
    """The log that says which students may answer is not what was signed; none of them is served."""

    def __init__(self, message: str, *, path: Path) -> None:
        super().__init__(message)
        self.path = path


class PullError(RuvLLMError):
    """A model could not be fetched."""

    def __init__(self, message: str, *, model: str) -> None:
        super().__init__(message)
        self.model = model


class EngineError(RuvLLMError):
    """Generation failed."""

    def __init__(self, message: str, *, engine: str) -> None:
        super().__init__(message)
        self.engine = engine


class EndpointError(EngineError):
    """A remote endpoint is down, slow, or answers something that is not a completion."""

    def __init__(self, message: str, *, url: str, status: int | None = None) -> None:
        super().__init__(message, engine="remote")
        self.url = url
        self.status = status


class JobsFailed(RuvLLMError):
    """Jobs that were done one after another: some failed.

    Attributes:
        failures: name -> what it raised.
        done: name -> report, of the others.
    """

    def __init__(self, failures: Mapping[str, Exception], done: Mapping[str, Any]) -> None:
        super().__init__(
            "; ".join(f"{name} failed: {str(error) or type(error).__name__}" for name, error in failures.items())
        )
        self.failures = failures
        self.done = done


class RateLimited(RuvLLMError):
    """A key has used its share of requests or tokens."""

    def __init__(self, limit: str, retry_after_s: float) -> None:
        super().__init__(f"limits.{limit}_per_minute is used up: ask again in {retry_after_s:.1f} s")
        self.limit = limit
        self.retry_after_s = retry_after_s


class DeadlineExceeded(RuvLLMError, TimeoutError):
    """The request's time was over before there was any of the answer."""

    def __init__(self, stage: str, timeout_s: float) -> None:
        super().__init__(f"timeout_s = {timeout_s:g} was over at the stage {stage!r}")
        self.stage = stage
        self.timeout_s = timeout_s
