"""SmolLM2 in float32 through our runtime: word for word what CTranslate2 says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ruvllm.inference import complete
from ruvllm.inference.ctranslate2_engine import CTranslate2Engine
from ruvllm.inference.runtime_engine import RuntimeEngine
from ruvllm.types import GenerationOptions, Message

pytestmark = [pytest.mark.real, pytest.mark.integration]

QUESTIONS = (
    "What is the capital of France?",
    "Write a short poem about the sea.",
    "Explain photosynthesis to a child.",
    "Name three animals that lay eggs.",
    "How do I boil an egg?",
    "Who was Marie Curie?",
    "Translate 'good morning' into Spanish.",
    "What is 12 times 12?",
    "Give me a recipe for pancakes.",
    "Why is the sky blue?",
    "List the planets of the solar system.",
    "Write a haiku about autumn.",
    "What does HTTP stand for?",
    "Summarize the story of Romeo and Juliet.",
    "What should I pack for a week in the mountains?",
    "Write a Python function that adds two numbers.",
    "What causes earthquakes?",
    "Describe a cat in one sentence.",
    "How far away is the moon?",
    "Tell me a joke about programmers.",
)


@pytest.fixture(scope="module")
def engines(smollm2_float32_dir: Path) -> Iterator[tuple[RuntimeEngine, CTranslate2Engine]]:
    """Both engines on the same weights."""
    ours, theirs = RuntimeEngine(smollm2_float32_dir), CTranslate2Engine(smollm2_float32_dir)
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.mark.parametrize("questions", [QUESTIONS[:1], pytest.param(QUESTIONS, marks=pytest.mark.slow)], ids=len)
def test_greedy_text_is_that_of_ctranslate2(
    engines: tuple[RuntimeEngine, CTranslate2Engine], questions: tuple[str, ...]
) -> None:
    ours, theirs = engines
    options = GenerationOptions(max_new_tokens=64)
    for question in questions:
        messages = [Message("user", question)]
        mine, other = complete(ours, messages, options), complete(theirs, messages, options)
        assert (mine.text, mine.finish_reason) == (other.text, other.finish_reason)
        np.testing.assert_allclose(mine.logprobs, other.logprobs, atol=1e-3)


def test_int8_says_nearly_the_same(engines: tuple[RuntimeEngine, CTranslate2Engine], smollm2_dir: Path) -> None:
    small, exact = RuntimeEngine(smollm2_dir), engines[0]
    ids = np.array(small._template.encode([Message("user", " ".join(QUESTIONS))]), np.int32)
    logits = [
        e._open().model.advance([e._open().model.session(context_tokens=512)], [ids], want="all_logits")
        for e in (small, exact)
    ]
    small.close()
    dots = (logits[0] * logits[1]).sum(axis=1)
    cosines = dots / np.linalg.norm(logits[0], axis=1) / np.linalg.norm(logits[1], axis=1)
    assert cosines.mean() >= 0.985
