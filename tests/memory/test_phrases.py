"""ruvllm/memory/phrases.py: words next to each other, and beginnings of words."""

from __future__ import annotations

import pytest

from ruvllm.memory import Memory

from .fakes import interaction

TEXTS = [
    "the rescue sled is in hut three",
    "a sled for the rescue of cats",
    'Crème brûlée, "burnt" cream',
    "polar bears",
]


@pytest.fixture
def texts(memory: Memory) -> Memory:
    memory.add({"text": text, "source": f"s{i}"} for i, text in enumerate(TEXTS))
    return memory


def found(memory: Memory, phrase: str, *, prefix: bool = False) -> list[str]:
    return [node.text for node in memory.find(phrase, prefix=prefix)]


def test_the_words_stand_next_to_each_other(texts: Memory) -> None:
    assert found(texts, "rescue sled") == TEXTS[:1]


def test_words_are_compared_by_their_stems_and_without_accents(texts: Memory) -> None:
    assert found(texts, "polar bear") == [TEXTS[3]]
    assert found(texts, "creme brulee") == [TEXTS[2]]


def test_the_last_word_may_go_on_when_asked(texts: Memory) -> None:
    assert found(texts, "rescue sl") == []
    assert found(texts, "rescue sl", prefix=True) == TEXTS[:1]


@pytest.mark.parametrize(
    "phrase", ['"', 'burnt" cream', "NEAR(a b)", "title:x", "* AND ^", "???", "a\0b", "\0", "'; DROP TABLE nodes; --"]
)
@pytest.mark.parametrize("prefix", [False, True])
def test_no_text_is_a_syntax_error(texts: Memory, phrase: str, prefix: bool) -> None:
    assert set(found(texts, phrase, prefix=prefix)) <= set(TEXTS)


def test_only_what_is_searched_is_found(texts: Memory) -> None:
    texts.record(interaction(answer="the rescue sled is somewhere else"))
    texts.flush()
    assert found(texts, "rescue sled") == TEXTS[:1]


def test_at_most_k_come_back(texts: Memory) -> None:
    assert len(texts.find("sled", 1)) == 1
    assert len(texts.find("sled")) == 2


@pytest.mark.parametrize(("phrase", "k"), [("", 1), (" ", 1), ("sled", 0), ("sled", True)])
def test_bad_input_is_refused_by_name(texts: Memory, phrase: str, k: int) -> None:
    with pytest.raises(ValueError, match=r"phrase|k must"):
        texts.find(phrase, k)
