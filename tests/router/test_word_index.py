from __future__ import annotations

import numpy as np
import pytest

from ruvllm.router.word_index import BITS, MAX_WORDS, WordIndex, word_terms

TEXTS = ["the enzyme binds", "binds the enzyme", "a contract is void", "void where prohibited", ""]


@pytest.fixture
def index() -> WordIndex:
    index = WordIndex()
    index.add(10, TEXTS)
    return index


def test_terms_are_words_and_pairs_in_a_bounded_range() -> None:
    terms = word_terms("one two three " * 1000)

    assert len(terms) == 2 * MAX_WORDS - 1
    assert terms.max() < 2**BITS


def test_the_order_of_words_counts(index: WordIndex) -> None:
    ids, similarities = index.search("the enzyme binds", 2)

    np.testing.assert_array_equal(ids, [10, 11])
    assert similarities[0] == pytest.approx(1.0)
    assert similarities[1] < 0.9


def test_a_text_left_out_does_not_come_back(index: WordIndex) -> None:
    ids, _ = index.search("the enzyme binds", 1, without=10)

    np.testing.assert_array_equal(ids, [11])


def test_a_removed_text_does_not_come_back(index: WordIndex) -> None:
    index.remove(np.array([10, 12]))

    ids, _ = index.search("the enzyme binds a contract", 5)

    np.testing.assert_array_equal(ids, [11])
    assert len(index) == 3


@pytest.mark.parametrize("text", ["", "?!", "unheard"])
def test_without_a_shared_word_nothing_is_found(index: WordIndex, text: str) -> None:
    ids, similarities = index.search(text, 5)

    assert len(ids) == len(similarities) == 0
