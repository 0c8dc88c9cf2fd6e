"""Near-duplicates without comparing all with all."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.tuning.duplicates import near_duplicates


def sentences(n: int, words: int = 40) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(f"w{k}" for k in rng.integers(0, 5000, words)) for _ in range(n)]


def test_a_text_with_one_word_changed_repeats_the_first() -> None:
    (text,) = sentences(1)
    assert near_duplicates([text, f"{text} more", text.upper()], 0.8) == [None, 0, 0]


def test_different_texts_are_all_kept() -> None:
    assert near_duplicates(sentences(300), 0.8) == [None] * 300


def test_every_repetition_among_many_is_found() -> None:
    texts = sentences(200)
    assert near_duplicates(texts + [f"{text} end" for text in texts], 0.8)[200:] == list(range(200))


def test_short_texts_repeat_only_themselves() -> None:
    assert near_duplicates(["What is my balance\nbalance", "What is my bill\nbill"], 0.8) == [None, None]


def test_a_similarity_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="similarity"):
        near_duplicates([], 0.0)
