"""What any engine shares: draining a stream, confidence, limits."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruvllm.inference import Completion, complete, confidence
from ruvllm.types import GenerationOptions, Message

from .fakes import EchoEngine


def test_complete_joins_what_the_stream_gave() -> None:
    completion = complete(EchoEngine(probability=0.5), [Message("user", "one two three")], GenerationOptions(2))
    assert completion == Completion("one two", (math.log(0.5),) * 2, "length", 4, 2)


@given(st.lists(st.floats(1e-6, 1.0), min_size=1))
def test_confidence_is_the_geometric_mean(probabilities: list[float]) -> None:
    value = confidence([math.log(p) for p in probabilities])
    assert 0.0 <= value <= 1.0
    assert value == pytest.approx(math.prod(p ** (1 / len(probabilities)) for p in probabilities), rel=1e-6)


def test_confidence_of_nothing_is_zero() -> None:
    assert confidence(()) == 0.0


def test_an_impossible_token_makes_confidence_zero() -> None:
    assert confidence([-0.1, -math.inf]) == 0.0
