"""Guessed tokens: what is guessed, and that a stream is the same with and without guesses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ruvllm.inference import complete
from ruvllm.inference.next_tokens import draft
from ruvllm.inference.runtime_engine import RuntimeEngine
from ruvllm.kernels import RuntimeModel
from ruvllm.types import GenerationOptions, Message

SOURCE = "The fox went to the sea, and the sea was calm. " * 4
QUOTE = [Message("user", SOURCE + "Say it again.")]


@pytest.fixture(params=["tiny llama", "tiny lfm2"])
def folder(request: pytest.FixtureRequest, tiny_llama_dir: Path, tiny_lfm2_dir: Path) -> Path:
    return tiny_llama_dir if request.param == "tiny llama" else tiny_lfm2_dir


@pytest.fixture
def lengths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens each pass reads, from now on."""
    found: list[int] = []
    advance = RuntimeModel.advance

    def watched(self: RuntimeModel, sessions: Sequence, ids: Sequence, **wanted: object) -> object:
        found.append(sum(map(len, ids)))
        return advance(self, sessions, ids, **wanted)  # type: ignore[call-overload]

    monkeypatch.setattr(RuntimeModel, "advance", watched)
    return found


@pytest.mark.parametrize(
    ("tokens", "most", "expected"),
    [
        ([1, 2, 3, 4, 9, 2, 3], 7, [4, 9, 2, 3]),  # after the last two
        ([1, 2, 3, 4, 9, 2, 3], 2, [4, 9]),
        ([1, 2, 5, 9, 2, 6, 1, 2], 1, [5]),
        ([7, 2, 3, 4, 8, 2, 3, 5, 7, 2, 3], 1, [4]),  # three count for more than the latest two
        ([2, 3, 4, 2, 3, 5, 2, 3], 1, [5]),  # of equals the latest
        ([5, 5, 5], 7, [5]),
        ([1, 2, 3, 3], 7, []),  # one alone says nothing
        ([1, 2, 3], 7, []),
        ([1], 7, []),
        ([1, 2, 1, 2], 0, []),
    ],
)
def test_what_stood_before_is_guessed_again(tokens: list[int], most: int, expected: list[int]) -> None:
    assert draft(np.array(tokens, np.int32), most).tolist() == expected


@pytest.mark.parametrize(
    "options",
    [
        GenerationOptions(60),
        GenerationOptions(60, repetition_penalty=1.3),
        GenerationOptions(60, temperature=0.7, seed=3),
        GenerationOptions(60, temperature=1.5, top_p=0.8, seed=4),
        GenerationOptions(60, stop=("a",)),
        GenerationOptions(1),
    ],
)
def test_guesses_change_no_bit_of_a_stream(folder: Path, options: GenerationOptions) -> None:
    without, with_guesses = (RuntimeEngine(folder, draft_tokens=most) for most in (0, 7))
    assert complete(with_guesses, QUOTE, options) == complete(without, QUOTE, options)
    assert complete(with_guesses, QUOTE, options) == complete(without, QUOTE, options)  # and leave sound caches


def test_right_guesses_save_passes(folder: Path, lengths: list[int]) -> None:
    passes = {}
    for most in (0, 7):
        engine = RuntimeEngine(folder, draft_tokens=most)
        lengths.clear()
        passes[most] = (complete(engine, QUOTE, GenerationOptions(60)).completion_tokens, len(lengths))
    assert passes[0][0] == passes[7][0] and passes[7][1] < passes[0][1]


def test_nothing_is_guessed_for_an_answer_that_a_schema_holds(folder: Path, lengths: list[int]) -> None:
    pytest.importorskip("llguidance")
    engine = RuntimeEngine(folder)
    complete(engine, QUOTE, GenerationOptions(20, json_schema={"type": "array", "items": {"type": "integer"}}))
    assert set(lengths[1:]) <= {1}


def test_a_stream_that_ends_among_right_guesses_leaves_no_more_than_it_said(folder: Path) -> None:
    engine = RuntimeEngine(folder)
    answer = complete(engine, QUOTE, GenerationOptions(33))
    kept = engine._open().sessions._idle[-1].length
    assert (
        answer.prompt_tokens + answer.completion_tokens - 1 <= kept <= answer.prompt_tokens + answer.completion_tokens
    )
