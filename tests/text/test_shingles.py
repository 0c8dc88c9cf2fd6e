"""MinHash signatures against a plain Python twin, and their estimate against the true similarity."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruvllm.text import jaccard, minhash, normalized_tokens

MASK = (1 << 64) - 1


def mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def hash_word(word: str) -> int:
    h = 0xCBF29CE484222325
    for c in word:
        h = ((h ^ ord(c)) * 0x100000001B3) & MASK
    return mix(h)


def shingles(text: str) -> set[tuple[str, ...]]:
    words = normalized_tokens(text)
    size = min(3, len(words))
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)} if words else set()


def twin_minhash(text: str, num_hashes: int) -> list[int]:
    hashes = []
    for shingle in shingles(text):
        h = 0
        for word in shingle:
            h = mix(h ^ hash_word(word))
        hashes.append(h)
    signature = []
    for i in range(num_hashes):
        a, b = mix(2 * i + 1) | 1, mix(2 * i + 2)
        signature.append(min(((a * h + b) & MASK for h in hashes), default=MASK))
    return signature


def true_jaccard(a: str, b: str) -> float:
    return len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b))


@given(st.text(st.characters(), max_size=60) | st.lists(st.sampled_from("ab the cats é 𝒳 x!".split())).map(" ".join))
def test_signatures_equal_their_twin(text: str) -> None:
    assert minhash(text, 16).tolist() == twin_minhash(text, 16)


@pytest.mark.parametrize("shared", [0, 20, 50, 80, 95, 100])
def test_the_estimate_is_within_four_standard_errors(shared: int) -> None:
    a = " ".join(f"w{i}" for i in range(100))
    b = " ".join(f"w{i}" if i < shared else f"v{i}" for i in range(100))
    truth = true_jaccard(a, b)
    estimate = jaccard(minhash(a, 1024), minhash(b, 1024))
    assert abs(estimate - truth) <= 4 * math.sqrt(truth * (1 - truth) / 1024)


def test_hash_functions_are_not_biased_together() -> None:
    """The mean error over many pairs is near zero: 200 pairs x 128 functions, 4 standard errors."""
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(200):
        words = rng.integers(10_000, size=60)
        a, b = " ".join(f"w{w}" for w in words[:50]), " ".join(f"w{w}" for w in words[10:])
        errors.append(jaccard(minhash(a), minhash(b)) - true_jaccard(a, b))
    assert abs(np.mean(errors)) <= 4 * 0.5 / math.sqrt(200 * 128)


def test_case_punctuation_and_articles_do_not_matter() -> None:
    assert jaccard(minhash("The cat, sat; on (a) mat."), minhash("cat sat on mat")) == 1.0


def test_word_order_matters() -> None:
    assert jaccard(minhash("one two three four five"), minhash("five four three two one")) < 0.1


def test_a_text_without_words_resembles_only_its_like() -> None:
    assert jaccard(minhash(""), minhash(" the -- ")) == 1.0
    assert jaccard(minhash(""), minhash("word")) == 0.0


def test_a_signature_is_the_same_on_every_machine() -> None:
    assert minhash("hello big world", 2).tolist() == [15613806354799637038, 18349085956509162664]


def test_bad_arguments_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"num_hashes must be >= 1 \(0\)"):
        minhash("x", 0)
    with pytest.raises(ValueError, match="one length"):
        jaccard(minhash("x", 8), minhash("x", 16))
    with pytest.raises(ValueError, match="signature_b must be a uint64 vector"):
        jaccard(minhash("x", 8), np.zeros(8, np.int64))  # type: ignore[arg-type]
