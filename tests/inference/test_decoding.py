"""Streaming detokenisation: whole characters only, and all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from ruvllm.inference.decoding import TokenDecoder

from .tiny import SPECIAL, byte_tokenizer

PLAIN = byte_tokenizer()


def pieces_of(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    decoder = TokenDecoder(tokenizer)
    return [*(decoder.push(i) for i in ids), decoder.finish()]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\ufffd")))
def test_pieces_join_to_the_text_and_never_break_a_character(text: str) -> None:
    pieces = pieces_of(PLAIN, PLAIN.encode(text, add_special_tokens=False).ids)
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.real
@pytest.mark.parametrize(
    "text", ["日本語のテキスト 🎉👩‍👩‍👧 naïve", "  two  spaces\n\n\tand code: x = {1: 'a'}", "Ünïcödé 1234 ½ ∑"]
)
def test_real_tokens_join_to_the_text(smollm2_dir: Path, text: str) -> None:
    tokenizer = Tokenizer.from_file(str(smollm2_dir / "tokenizer.json"))
    pieces = pieces_of(tokenizer, tokenizer.encode(text, add_special_tokens=False).ids)
    assert "".join(pieces) == text
    assert sum(bool(p) for p in pieces) > 3


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_an_incomplete_last_character_is_dropped(cut: int) -> None:
    ids = PLAIN.encode("ab🎉", add_special_tokens=False).ids
    assert "".join(pieces_of(PLAIN, ids[:-cut])) == "ab"


def test_bytes_that_never_become_a_character_are_shown_as_replaced_and_nothing_is_lost() -> None:
    broken = PLAIN.encode("🎉", add_special_tokens=False).ids[:2]
    after = PLAIN.encode("after", add_special_tokens=False).ids
    assert "".join(pieces_of(PLAIN, [*broken, *after])).endswith("after")


def test_special_tokens_are_not_shown() -> None:
    ids = [
        PLAIN.token_to_id(SPECIAL[0]),
        *PLAIN.encode("x", add_special_tokens=False).ids,
        PLAIN.token_to_id(SPECIAL[1]),
    ]
    assert pieces_of(PLAIN, ids) == ["", "x", "", ""]
