"""Questions of the holdout are found among traces: by words, and by meaning."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.tuning.decontamination import Decontaminator

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"


def embed(texts):  # type: ignore[no-untyped-def]
    """Texts that mean the same point the same way: by their length."""
    angles = np.array([len(text) / 100 for text in texts])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


@pytest.mark.parametrize("query", ["What is my balance?", "Tell me: what is my balance, please", "what IS my balance"])
def test_a_question_of_the_holdout_is_found_in_other_case_and_company(query: str) -> None:
    assert Decontaminator(["what is my balance"]).shares_words(query, "")


def test_question_in_three_spellings_is_no_phrase_that_many_texts_share() -> None:
    found = Decontaminator(["what is my balance", "What is my balance?", "WHAT is my balance!"])
    assert found.shares_words("Tell me: what is my balance, please", "")


def test_a_long_part_of_a_text_is_found_in_a_prompt() -> None:
    words = LONG.split()
    assert Decontaminator([LONG]).shares_words("q", "a", f"Use this: {' '.join(words[2:15])}!")
    assert not Decontaminator([LONG]).shares_words("q", "a", f"Use this: {' '.join(words[2:14])}!")


def test_an_answer_of_few_words_is_found_only_where_it_is_the_whole_question() -> None:
    assert not Decontaminator(["Friday"]).shares_words("Is it Friday?", "Friday")
    assert Decontaminator(["Friday"]).shares_words("Friday?", "yes")


def test_short_texts_are_not_looked_for_in_passages() -> None:
    assert not Decontaminator(["what is my balance"]).shares_words("q", "a", "they ask what is my balance")


def test_the_same_in_other_words_is_found_by_its_vector() -> None:
    found = Decontaminator(["x" * 50], embed).means_the_same(["y" * 51, "z" * 150])
    assert found.tolist() == [True, False]


def test_without_an_embedder_only_words_count() -> None:
    assert not Decontaminator(["x" * 50]).means_the_same(["x" * 50]).any()


def test_an_instruction_before_every_question_tells_nothing() -> None:
    held_out = Decontaminator([f"{LONG} question number{i} of the test" for i in range(20)])
    assert not held_out.shares_words("a question", "yes", f"{LONG} another question")
    assert held_out.shares_words("a question", "yes", f"{LONG} question number7 of the test")


def test_the_hash_does_not_depend_on_the_order() -> None:
    assert (
        Decontaminator(["a b", "c d"]).sha256
        == Decontaminator(["c d", "a b", "a b"]).sha256
        != Decontaminator(["a b"]).sha256
    )


def test_one_text_in_the_place_of_several_is_refused() -> None:
    with pytest.raises(TypeError, match="not a str"):
        Decontaminator("what is my balance")
