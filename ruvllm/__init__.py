"""ruvllm: local language models that learn from use.

`open` gives the whole system, `Memory` the memory alone. Everything is imported at first use, so that `import ruvllm`
stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ruvllm.config import Config, load_config
    from ruvllm.errors import (
        BrainDamaged,
        BrainError,
        BrainLocked,
        BrainReadOnly,
        BrainTooNew,
        DeadlineExceeded,
        EndpointError,
        EngineError,
        JobsFailed,
        ModelDamaged,
        ModelError,
        ModelMissing,
        ModelTooLarge,
        ModelUnsupported,
        PullError,
        RateLimited,
        RegistryDamaged,
        RuvLLMError,
    )
    from ruvllm.memory import Memory
    from ruvllm.pipeline import AnswerStream
    from ruvllm.system import RuvLLM, open
    from ruvllm.types import Constraints, Feedback, GenerationOptions, Hit, IngestReport, Node, Response, Route, Source

__version__ = "0.1.0"

_HOMES = {
    "AnswerStream": "pipeline",
    "BrainDamaged": "errors",
    "BrainError": "errors",
    "BrainLocked": "errors",
    "BrainReadOnly": "errors",
    "BrainTooNew": "errors",
    "Config": "config",
    "Constraints": "types",
    "DeadlineExceeded": "errors",
    "EndpointError": "errors",
    "EngineError": "errors",
    "Feedback": "types",
    "GenerationOptions": "types",
    "Hit": "types",
    "IngestReport": "types",
    "JobsFailed": "errors",
    "Memory": "memory",
    "ModelDamaged": "errors",
    "ModelError": "errors",
    "ModelMissing": "errors",
    "ModelTooLarge": "errors",
    "ModelUnsupported": "errors",
    "Node": "types",
    "PullError": "errors",
    "RateLimited": "errors",
    "RegistryDamaged": "errors",
    "Response": "types",
    "Route": "types",
    "RuvLLM": "system",
    "RuvLLMError": "errors",
    "Source": "types",
    "load_config": "config",
    "open": "system",
}

__all__ = [
    "AnswerStream",
    "BrainDamaged",
    "BrainError",
    "BrainLocked",
    "BrainReadOnly",
    "BrainTooNew",
    "Config",
    "Constraints",
    "DeadlineExceeded",
    "EndpointError",
    "EngineError",
    "Feedback",
    "GenerationOptions",
    "Hit",
    "IngestReport",
    "JobsFailed",
    "Memory",
    "ModelDamaged",
    "ModelError",
    "ModelMissing",
    "ModelTooLarge",
    "ModelUnsupported",
    "Node",
    "PullError",
    "RateLimited",
    "RegistryDamaged",
    "Response",
    "Route",
    "RuvLLM",
    "RuvLLMError",
    "Source",
    "load_config",
    "open",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ruvllm' has no attribute {name!r}")
    value = getattr(import_module(f"ruvllm.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
