"""Index terms against a plain Python twin over all of Unicode, and Porter's own examples."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruvllm.text import _text, held_terms, query_terms, terms

TEXTS = st.text(st.characters(), max_size=60)  # astral characters and lone surrogates too
WORDY = st.lists(
    st.sampled_from(["running", "ÉTÉ", "agreed", "the", "東京都", "ガクa", "x٣", "İs", "é", "กา", "ßed", "q" * 40])
).map(" ".join)
ENGLISH = st.text(st.sampled_from("aeiouybdlnsstgingedwxz"), min_size=1, max_size=12)
UNSPACED = (
    (0x0E00, 0x0F00), (0x1000, 0x10A0), (0x1780, 0x1800), (0x3005, 0x3008), (0x3040, 0x3100), (0x31F0, 0x3200),
    (0x3400, 0xA000), (0xF900, 0xFB00), (0xFF66, 0xFFA0), (0x20000, 0x40000),
)  # fmt: skip


def hashes_of(words: list[str]) -> list[int]:
    return [_text.hash_terms([word])[0] for word in words]


def is_diacritic(c: str) -> bool:
    return "\u0300" <= c <= "\u036f"


@cache
def fold(c: str) -> str:
    if is_diacritic(c):
        return ""
    if not c.isalnum() and not unicodedata.category(c).startswith("M"):
        return " "
    base = "".join(x for x in unicodedata.normalize("NFD", c.lower()) if not is_diacritic(x))
    base = unicodedata.normalize("NFC", base)
    return base if len(base) == 1 else c


def is_unspaced(c: str) -> bool:
    return any(low <= ord(c) < high for low, high in UNSPACED)


def stem(word: str) -> str:
    """Step 1 of Porter's algorithm by regular expressions over a word of C and V."""

    def shape(part: str) -> str:
        kinds = ""
        for letter in part:
            is_vowel = letter in "aeiou" or (letter == "y" and kinds[-1:] == "c")
            kinds += "v" if is_vowel else "c"
        return kinds

    def mended(part: str) -> str:
        kinds = shape(part)
        if part.endswith(("at", "bl", "iz")):
            return part + "e"
        if re.fullmatch(r"c*v+c+", kinds) and kinds.endswith("cvc") and part[-1] not in "wxy":
            return part + "e"
        if part[-2:-1] == part[-1:] and kinds.endswith("c") and part[-1] not in "lsz":
            return part[:-1]
        return part

    if not re.fullmatch(r"[a-z]{3,32}", word):
        return word
    if word.endswith(("sses", "ies")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if word.endswith("eed"):
        word = word[:-1] if "vc" in shape(word[:-3]) else word
    elif word.endswith("ed") and "v" in shape(word[:-2]):
        word = mended(word[:-2])
    elif word.endswith("ing") and "v" in shape(word[:-3]):
        word = mended(word[:-3])
    return word[:-1] + "i" if word.endswith("y") and "v" in shape(word[:-1]) else word


def twin(text: str) -> list[str]:
    found, word, before = [], "", ""
    for c in [*text, " "]:
        c = fold(c)
        if c == "":
            continue
        if c != " " and not is_unspaced(c):
            word, before = word + c, ""
            continue
        if word:
            found.append(stem(word))
        if c != " ":
            found += [c, before + c] if before else [c]
        word, before = "", "" if c == " " else c
    return found


@settings(max_examples=500)
@given(TEXTS | WORDY | ENGLISH)
def test_terms_equal_their_twin(text: str) -> None:
    assert terms(text).tolist() == hashes_of(twin(text))


def test_every_character_is_folded_as_in_the_twin() -> None:
    for start in range(0, 0x110000, 4096):
        text = " ".join(map(chr, range(start, start + 4096)))
        assert terms(text).tolist() == hashes_of(twin(text)), hex(start)


PORTER = """
    caresses caress, ponies poni, ties ti, caress caress, cats cat, feed feed, agreed agree, plastered plaster,
    bled bled, motoring motor, sing sing, conflated conflate, troubled trouble, sized size, hopping hop, tanned tan,
    falling fall, hissing hiss, fizzed fizz, failing fail, filing file, happy happi, sky sky
"""


@pytest.mark.parametrize("pair", [pair.split() for pair in PORTER.split(",")], ids=lambda pair: pair[0])
def test_porters_examples_lose_their_endings(pair: list[str]) -> None:
    assert stem(pair[0]) == pair[1]
    assert terms(pair[0]).tolist() == hashes_of([pair[1]])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Café", "CAFES"),
        ("café", "cafe\u0301"),
        ("naïve Ångström", "NAIVE angstrom"),
        ("E-Mail", "e mail"),
        ("Ёлка", "елка"),
    ],
)
def test_case_accents_and_endings_are_one(one: str, other: str) -> None:
    np.testing.assert_array_equal(terms(one), terms(other))


def test_part_of_a_run_without_spaces_is_found() -> None:
    text = set(terms("私は東京都に住んでいます。iPhone手机").tolist())
    for part in ("東京", "東京都", "都", "手机", "iphone", "住んで"):
        assert set(terms(part).tolist()) <= text
    assert not set(terms("京東").tolist()) <= text


def test_nothing_has_no_terms() -> None:
    for text in ("", " ", "—…!?", "\u0301", "😀"):
        assert terms(text).shape == (0,)
        assert query_terms(text).shape == (0,)
    assert terms("a").dtype == np.uint64


@given(st.lists(TEXTS | WORDY, max_size=4), TEXTS | WORDY)
def test_a_text_holds_the_terms_that_it_consists_of(texts: list[str], question: str) -> None:
    wanted = np.unique(terms(question))
    held = held_terms(texts, wanted)
    assert held.shape == (len(texts), len(wanted))
    for text, row in zip(texts, held, strict=True):
        assert wanted[row].tolist() == sorted(set(terms(text).tolist()).intersection(wanted.tolist()))


def test_questions_ask_for_each_content_word_once() -> None:
    assert query_terms("What is the index of the cats, CATS?").tolist() == sorted(terms("index cat").tolist())
    assert query_terms("to be or not to be").tolist() == sorted(set(terms("to be or not").tolist()))
    assert query_terms("the doe").tolist() == terms("doe").tolist()  # not taken for "does"
