"""Tokenizers rebuilt from GGUF metadata."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from ruvllm.errors import ModelDamaged
from ruvllm.models.convert.checkpoint import TextSide
from ruvllm.models.convert.gguf_tokenizer import text_side

from .. import tiny

PRES = ["gpt-2", "smollm", "qwen2", "llama-bpe", "lfm2"]


def rebuilt(pre: str = "gpt-2", **changes: Any) -> TextSide:
    fields = {
        "general.architecture": "llama",
        "llama.context_length": 512,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tiny.TOKENS,
        "tokenizer.ggml.token_type": tiny.TYPES,
        "tokenizer.ggml.merges": tiny.MERGES,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.chat_template": tiny.TEMPLATE,
    }
    return text_side({k: v for k, v in (fields | changes).items() if v is not None}, "tiny")


TOKENIZERS = {pre: Tokenizer.from_str(rebuilt(pre).tokenizer) for pre in PRES}


def pieces(pre: str, text: str) -> list[str]:
    return TOKENIZERS[pre].encode(text, add_special_tokens=False).tokens


@pytest.mark.parametrize("pre", PRES)
@given(text=st.text())
def test_every_text_survives_the_round_trip(pre: str, text: str) -> None:
    ids = TOKENIZERS[pre].encode(text, add_special_tokens=False).ids
    wanted = unicodedata.normalize("NFC", text) if pre == "qwen2" else text
    assert TOKENIZERS[pre].decode(ids, skip_special_tokens=False) == wanted


@pytest.mark.parametrize(
    ("pre", "wanted"),
    [
        ("gpt-2", ["123", "4"]),
        ("smollm", ["1", "2", "3", "4"]),
        ("qwen2", ["1", "2", "3", "4"]),
        ("llama-bpe", ["123", "4"]),
        ("lfm2", ["123", "4"]),
    ],
)
def test_digits_are_split_as_each_family_does(pre: str, wanted: list[str]) -> None:
    assert pieces(pre, "1234") == wanted


def test_merges_apply_in_order() -> None:
    assert pieces("gpt-2", "hello world") == ["hello", "Ġworld"]


def test_special_token_is_one_id_in_the_middle_of_text() -> None:
    assert TOKENIZERS["smollm"].encode("a<|im_end|>b").ids[1] == 2


def test_user_defined_token_is_matched_but_not_special() -> None:
    tokens = [*tiny.TOKENS, "<tool>"]
    text = rebuilt(**{"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": [*tiny.TYPES, 4]})
    tokenizer = Tokenizer.from_str(text.tokenizer)
    ids = tokenizer.encode("a<tool>").ids
    assert ids[-1] == len(tiny.TOKENS) and tokenizer.decode(ids) == "a<tool>"


def test_names_that_only_fill_rows_up_are_no_tokens() -> None:
    tokens, types = [*tiny.TOKENS, "[PAD270]", "[PAD271]"], [*tiny.TYPES, 5, 5]
    text = rebuilt(**{"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types})
    assert Tokenizer.from_str(text.tokenizer).get_vocab_size() == len(tiny.TOKENS)


def test_vendors_sampling_defaults_are_carried() -> None:
    text = rebuilt(**{"general.sampling.temp": 0.25, "general.sampling.top_k": 50})
    assert text.generation == {"temperature": 0.25, "top_k": 50.0}


@pytest.mark.parametrize(("add_bos", "tokens"), [(True, ["<|im_start|>", "he"]), (False, ["he"])])
def test_bos_is_added_when_the_metadata_says_so(add_bos: bool, tokens: list[str]) -> None:
    text = rebuilt(**{"tokenizer.ggml.add_bos_token": add_bos})
    assert Tokenizer.from_str(text.tokenizer).encode("he").tokens == tokens
    assert text.config["add_bos_token"] is add_bos


def test_config_carries_template_and_special_tokens() -> None:
    text = rebuilt()
    assert text.config["chat_template"] == tiny.TEMPLATE and text.config["model_max_length"] == 512
    assert (text.config["bos_token"], text.config["eos_token"]) == ("<|im_start|>", "<|im_end|>")


def test_every_end_of_turn_token_stops_generation() -> None:
    assert rebuilt().stop_tokens == ("<|im_end|>", "<|endoftext|>")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer.ggml.token_type": [1]}, "1 token types"),
        ({"tokenizer.ggml.merges": ["he"]}, "no pair"),
        ({"tokenizer.ggml.merges": ["zz zz"]}, "merges"),
        ({"tokenizer.ggml.tokens": ["a"] * len(tiny.TOKENS)}, "a token twice"),
        ({"tokenizer.ggml.eos_token_id": 9999}, "eos_token_id is 9999"),
        ({"tokenizer.ggml.merges": None}, "merges is missing"),
    ],
)
def test_metadata_that_does_not_fit_together_is_damaged(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelDamaged, match=message):
        rebuilt(**changes)
