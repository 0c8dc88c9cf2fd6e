"""ruvllm/cli/console.py: how answers look in a terminal, and that nothing in them is a command to it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

import pytest

from ruvllm.cli.console import err, out, print_answer, print_error, summary
from ruvllm.types import Response, Route, Source

HOSTILE = "\x1b]52;c;cm0gLXJmIH4=\x07 six weeks \x1b[2J\x9b31m\x7f\x00 [bold]λ"
SHOWN = "\ufffd]52;c;cm0gLXJmIH4= six weeks \ufffd[2J\ufffd31m\ufffd\ufffd [bold]λ"


def test_what_an_answer_says_moves_no_cursor() -> None:
    sources = (Source(1, 1, HOSTILE, HOSTILE, HOSTILE, 1.0),)
    answer = Response("a1", "When?", HOSTILE, sources, Route("m", 512, 0.0, 1.0), None, "stop", warnings=(HOSTILE,))
    with out.capture() as printed, err.capture() as told:
        print_answer(answer)
        print_error(ValueError(HOSTILE))
    text = printed.get() + told.get()
    assert {c for c in text if unicodedata.category(c) == "Cc"} == {"\n"}
    assert text.startswith(SHOWN) and f"note: {SHOWN}" in text and f"error: {SHOWN}" in text


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
    route = Route("none", 0, 0.0, 1.0)
    response = Response("a1", "Who?", "-", (), route, None, "stop", completion_tokens=tokens, timings_ms=timings_ms)
    assert summary(response).endswith(f"confidence unknown · {shown}")
