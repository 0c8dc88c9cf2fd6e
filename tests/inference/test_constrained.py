"""Constrained decoding without a model: whatever is drawn among the allowed tokens spells what the schema asks for."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from ruvllm.inference.constrained import Constraints, TokenConstraint
from ruvllm.inference.local_model import load_tokenizer

from .tiny import SPECIAL, byte_tokenizer

BYTES = byte_tokenizer()
BYTES_END = BYTES.token_to_id("<|im_end|>")
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "height": {"type": ["number", "null"]},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
        "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
    },
    "required": ["name", "age", "height", "tags", "code"],
    "additionalProperties": False,
}
TREE = {
    "$defs": {
        "tree": {
            "type": "object",
            "properties": {"leaf": {"type": "boolean"}, "left": {"$ref": "#/$defs/tree"}},
            "required": ["leaf"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/tree",
}


@pytest.fixture(scope="module")
def tiny() -> Constraints:
    """Constraints over the tokenizer of bytes, for a model with 13 logits more than that has tokens."""
    pytest.importorskip("llguidance", reason="the extra `constrained` is not installed")
    return Constraints(BYTES, vocab_size=BYTES.get_vocab_size() + 13, end_ids=[BYTES_END])


@pytest.fixture(scope="module")
def smollm2_tokenizer(smollm2_dir: Path) -> Tokenizer:
    return load_tokenizer(smollm2_dir)


@pytest.fixture(scope="module")
def real(smollm2_tokenizer: Tokenizer) -> Constraints:
    pytest.importorskip("llguidance", reason="the extra `constrained` is not installed")
    return Constraints(smollm2_tokenizer, vocab_size=49_152, end_ids=[0, 2])


def draw(constraint: TokenConstraint, seed: int) -> list[int]:
    """Decode with every allowed token equally likely; the end token is not part of the result."""
    rng, ids = np.random.default_rng(seed), list[int]()
    while not constraint.is_finished:
        ids.append(int(rng.choice(np.flatnonzero(constraint.mask()))))
        constraint.accept(ids[-1])
        assert len(ids) < 5000
    return ids


def spelled(tokenizer: Tokenizer, ids: list[int]) -> str:
    """The text of `ids`, in which an end token other than the last would show."""
    end = {tokenizer.token_to_id(text) for text in SPECIAL}
    return str(tokenizer.decode(ids[:-1] if ids[-1] in end else ids, skip_special_tokens=False))


def is_of_kind(value: Any, kind: str) -> bool:
    if isinstance(value, bool) or value is None:
        return kind == ("null" if value is None else "boolean")
    types = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}
    return kind in types and isinstance(value, types[kind])


def satisfies(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    """A plain reading of the few keywords that these tests use."""
    if "$ref" in schema:
        return satisfies(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "enum" in schema:
        return value in schema["enum"]
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(is_of_kind(value, kind) for kind in kinds):
        return False
    if isinstance(value, str):
        length_fits = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10_000)
        return length_fits and re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, list):
        size_fits = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10_000)
        return size_fits and all(satisfies(item, schema["items"], root) for item in value)
    if isinstance(value, dict):
        properties = schema["properties"]
        return set(schema["required"]) <= set(value) <= set(properties) and all(
            satisfies(item, properties[name], root) for name, item in value.items()
        )
    if isinstance(value, int | float) and not isinstance(value, bool):
        return bool(schema.get("minimum", -np.inf) <= value <= schema.get("maximum", np.inf))
    return True


@pytest.mark.parametrize("schema", [PERSON, TREE], ids=["person", "tree"])
@pytest.mark.parametrize("seed", range(5))
def test_any_draw_of_bytes_is_a_value_of_the_schema(tiny: Constraints, schema: dict[str, Any], seed: int) -> None:
    text = spelled(BYTES, draw(tiny.json_schema(schema), seed))
    assert satisfies(json.loads(text), schema, schema), text


@pytest.mark.real
@pytest.mark.parametrize("schema", [PERSON, TREE], ids=["person", "tree"])
@pytest.mark.parametrize("seed", range(5))
def test_any_draw_of_real_tokens_is_a_value_of_the_schema(
    real: Constraints, smollm2_tokenizer: Tokenizer, schema: dict[str, Any], seed: int
) -> None:
    text = spelled(smollm2_tokenizer, draw(real.json_schema(schema), seed))
    assert satisfies(json.loads(text), schema, schema), text


integers = st.integers(-(2**53), 2**53)
leaves = st.one_of(
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": "number"}]),
    st.builds(lambda a, b: {"type": "integer", "minimum": min(a, b), "maximum": max(a, b)}, integers, integers),
    st.builds(lambda n: {"type": "string", "maxLength": n}, st.integers(0, 5)),
    st.builds(lambda v: {"enum": v}, st.lists(st.text('aé"\\ ', max_size=3) | integers, min_size=1, max_size=3)),
)
schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda items, n: {"type": "array", "items": items, "maxItems": n}, inner, st.integers(0, 3)),
        st.builds(
            lambda properties, n: {
                "type": "object",
                "properties": properties,
                "required": list(properties)[:n],
                "additionalProperties": False,
            },
            st.dictionaries(st.text('abé" ', max_size=3), inner, max_size=3),
            st.integers(0, 3),
        ),
    ),
    max_leaves=6,
)


@given(schemas, st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_any_schema_is_kept_by_any_draw(tiny: Constraints, schema: dict[str, Any], seed: int) -> None:
    text = spelled(BYTES, draw(tiny.json_schema(schema), seed))
    assert satisfies(json.loads(text), schema, schema), text


def test_the_mask_has_an_entry_for_every_logit_and_allows_none_of_the_unused(tiny: Constraints) -> None:
    mask = tiny.regex("[^x]{3}").mask()
    assert mask.dtype == np.bool_ and mask.shape == (BYTES.get_vocab_size() + 13,)
    assert not mask[BYTES.get_vocab_size() :].any()
    assert mask[BYTES.token_to_id("y")] and not mask[BYTES.token_to_id("x")]


def test_text_that_may_go_on_may_also_end(tiny: Constraints) -> None:
    constraint = tiny.regex("ab+")
    for letter in "ab":
        assert not constraint.mask()[BYTES_END]
        constraint.accept(BYTES.token_to_id(letter))
    allowed = np.flatnonzero(constraint.mask())
    assert set(allowed) == {BYTES.token_to_id("b"), BYTES_END} and not constraint.is_finished
    constraint.accept(BYTES_END)
    assert constraint.is_finished


def test_a_complete_text_is_finished_and_only_ends(tiny: Constraints) -> None:
    constraint = tiny.json_schema({"const": 12})
    for letter in "12":
        assert not constraint.is_finished
        constraint.accept(BYTES.token_to_id(letter))
    assert constraint.is_finished
    assert set(np.flatnonzero(constraint.mask())) == {BYTES_END}
    constraint.accept(BYTES_END)
    assert constraint.is_finished


@pytest.mark.real
@pytest.mark.parametrize("end_id", [0, 2])
def test_every_end_token_ends(real: Constraints, smollm2_tokenizer: Tokenizer, end_id: int) -> None:
    constraint = real.regex("[a-z ]+")
    for token_id in smollm2_tokenizer.encode("the sea").ids:
        constraint.accept(token_id)
    assert constraint.mask()[end_id]
    constraint.accept(end_id)
    assert constraint.is_finished


def test_generations_do_not_share_what_was_said(tiny: Constraints) -> None:
    first, second = tiny.regex("ab"), tiny.regex("ab")
    first.accept(BYTES.token_to_id("a"))
    assert second.mask()[BYTES.token_to_id("a")] and not second.mask()[BYTES.token_to_id("b")]


@pytest.mark.parametrize("token_id", [BYTES_END, BYTES.token_to_id("x"), BYTES.get_vocab_size(), 1_000_000, -1])
def test_a_token_against_the_mask_is_refused_and_nothing_is_finished(tiny: Constraints, token_id: int) -> None:
    constraint = tiny.regex("ab")
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"token_id {token_id} may not come here"):
            constraint.accept(token_id)
    assert not constraint.is_finished


def test_after_a_wrong_token_there_is_no_mask(tiny: Constraints) -> None:
    constraint = tiny.regex("ab")
    with pytest.raises(ValueError, match="may not come"):
        constraint.accept(BYTES.token_to_id("x"))
    with pytest.raises(ValueError, match=r"regex: .* doesn't satisfy the grammar"):
        constraint.mask()


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "banana"}, "banana"),
        ({"type": 3}, "type must be"),
        ({"type": "string", "pattern": "("}, "unclosed group"),
        ({"type": "object", "unevaluatedProperties": False}, "unevaluatedProperties"),
        ({"$ref": "#/nope"}, "/nope"),
        ({"$ref": "https://example.org/schema"}, "example.org"),
        ({"type": "integer", "minimum": 5, "maximum": 2}, "Unsatisfiable"),
        ({"enum": []}, "Unsatisfiable"),
        ({"const": {1, 2}}, "not JSON"),
    ],
)
def test_a_wrong_schema_is_a_value_error_saying_what(tiny: Constraints, schema: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=rf"^json_schema.*{says}") as caught:
        tiny.json_schema(schema)
    assert "\n" not in str(caught.value)


def test_a_wrong_pattern_is_a_value_error(tiny: Constraints) -> None:
    with pytest.raises(ValueError, match=r"regex: .*unclosed"):
        tiny.regex("a(")


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(ValueError, match=r"json_schema needs llguidance: pip install 'ruvllm\[constrained\]'"):
        Constraints(BYTES, vocab_size=BYTES.get_vocab_size(), end_ids=[BYTES_END])
