"""Traces with defaults for what a test does not care about."""

from __future__ import annotations

from typing import Any

from ruvllm.tuning import Tag, Trace
from ruvllm.types import Message

DAY_S = 86_400.0


def trace(id: str = "t1", *, difficulty: float = 0.5, **fields: Any) -> Trace:
    """A promoted answer that a user found good."""
    values: dict[str, Any] = {
        "query": f"What is meant by {id} here?",
        "response": f"It is the answer to {id}.",
        "quality": 0.9,
        "quality_source": "user",
        "outcome": "success",
        "standing": "promoted",
        "created": 100 * DAY_S,
        "tags": {"difficulty": Tag(difficulty, "test"), "domain": Tag("tests", "test")},
    }
    values |= fields
    values.setdefault("prompt", (Message("system", "Answer."), Message("user", values["query"])))
    return Trace(id=id, **values)


def bad(id: str = "b1", **fields: Any) -> Trace:
    """An answer on probation that a user found bad."""
    return trace(id, **{"quality": 0.0, "outcome": "failure", "standing": "probation"} | fields)
