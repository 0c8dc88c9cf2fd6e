"""ruvllm/embedding/word_counts.py against the tokenizer itself."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from ruvllm.embedding import word_counts
from ruvllm.embedding.word_counts import WordCounts, splits_at_punctuation


def tokenizer_of(pre_tokenizer: pre_tokenizers.PreTokenizer) -> Tokenizer:
    """A WordPiece tokenizer that knows letters, a few pieces, punctuation and [SEP]."""
    pieces = ["[UNK]", "[SEP]", *string.ascii_lowercase, *string.punctuation, "ing", "##ing", "中", "ᄀ", "##ᅡ"]
    pieces += [f"##{letter}" for letter in string.ascii_lowercase]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.add_special_tokens([AddedToken("[SEP]", special=True)])
    return tokenizer


BERT = tokenizer_of(pre_tokenizers.BertPreTokenizer())
COUNTS = WordCounts(BERT)
TEXTS = st.text(
    st.one_of(
        st.sampled_from("abing .,-_[]'\n\t\x0b\x1c\x85\xa0\u0301\u200b\u2028éßİΣ中가"), st.characters(codec="utf-8")
    )
)


@given(st.one_of(TEXTS, st.lists(st.sampled_from(["[SEP]", "doing", "a,", " ", "\n", "é"])).map("".join)))
def test_a_text_has_as_many_tokens_as_the_tokenizer_gives_it(text: str) -> None:
    assert COUNTS.of(text) == len(BERT.encode(text, add_special_tokens=False).ids)


def test_words_are_kept_up_to_a_number_and_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_counts, "MAX_WORDS", 3)
    counts = WordCounts(BERT)
    assert counts.of("a b c d " + 80 * "e") == 84
    assert set(counts) == {"d"}


def test_a_tokenizer_that_looks_across_spaces_is_not_taken_apart() -> None:
    assert splits_at_punctuation(BERT)
    assert not splits_at_punctuation(tokenizer_of(pre_tokenizers.Metaspace()))
