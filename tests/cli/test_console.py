"""ruvllm/cli/console.py: how answers look in a terminal."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ruvllm.cli.console import summary
from ruvllm.types import Response, Route


@pytest.mark.parametrize(
    ("timings_ms", "tokens", "shown"),
    [
        (
            {"embed": 3.2, "first_token": 80.4, "total": 123.6},
            7,
            "embed 3 ms, first token 80 ms, total 124 ms, 7 tokens",
        ),
        ({"total": 12.0}, 0, "total 12 ms"),  # nobody answered: no first token came after 0 ms
    ],
)
def test_only_what_happened_is_timed(timings_ms: Mapping[str, float], tokens: int, shown: str) -> None:
    response = Response(
        "a1",
        "who?",
        "nobody",
        (),
        Route(model="none", context_tokens=0, temperature=0.0, top_p=1.0),
        None,
        "stop",
        completion_tokens=tokens,
        timings_ms=timings_ms,
    )
    assert summary(response).endswith(f"confidence unknown · {shown}")
