"""What a request must be before any work is done for it."""

from __future__ import annotations

from collections.abc import Callable

from ruvllm.config import Config
from ruvllm.memory.rows import MAX_NAME_CHARS
from ruvllm.orchestrator import Deadline
from ruvllm.pipeline.asking import Asking
from ruvllm.types import Constraints, GenerationOptions, Request

__all__ = ["checked"]


def checked(request: Request, cancelled: Callable[[], bool], config: Config) -> Asking:
    """Return the request on its way.

    Raises:
        TypeError, ValueError: something of it is wrong; the message starts with its name. A filter is checked when it
            is used.
    """
    query = _text(request.query, "query", config.store.max_query_chars)
    k = config.retrieval.k if request.k is None else request.k
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"k must be a whole number >= 1 ({k!r})")
    if not isinstance(request.options, GenerationOptions | None):
        raise TypeError(f"options must be GenerationOptions, not {type(request.options).__name__}")
    if not isinstance(request.constraints, Constraints | None):
        raise TypeError(f"constraints must be Constraints, not {type(request.constraints).__name__}")
    for name in ("session", "key"):
        value = getattr(request, name)
        if value is not None or name == "key":
            _name(value, name)
    return Asking(request, query, k, cancelled, Deadline(request.timeout_s, start=request.asked))


def _text(text: object, name: str, limit: int) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str, not {type(text).__name__}")
    if len(text) > limit:
        raise ValueError(f"{name} is too long ({len(text)} characters, at most {limit})")
    if not text.strip():
        raise ValueError(f"{name} must not be empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} holds a lone surrogate at character {error.start}") from error
    return text.strip()


def _name(text: object, name: str) -> None:
    if isinstance(text, str) and not text.strip():
        raise ValueError(f"{name} must be a name that is not empty")
    _text(text, name, MAX_NAME_CHARS)
