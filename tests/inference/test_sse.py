"""Event streams and completions, cut and broken in every way."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruvllm.inference.sse import Chunk, Usage, parse_chunk, parse_completion, read_events


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=5), st.lists(st.integers(0, 400), max_size=10))
def test_events_survive_any_cut_of_the_body(values: list[str], cuts: list[int]) -> None:
    wanted = [json.dumps(v, ensure_ascii=False) for v in values]
    body = "".join(f"event: x\ndata: {w}\r\n\r\n: comment\n" for w in wanted).encode()
    edges = [0, *sorted(min(c, len(body)) for c in cuts), len(body)]
    blocks = [body[a:b] for a, b in itertools.pairwise(edges)]
    assert list(read_events(blocks)) == wanted


def test_a_last_line_without_an_end_still_counts() -> None:
    assert list(read_events([b"data: a\n\ndata: b"])) == ["a", "b"]


@given(st.binary(max_size=200))
def test_any_bytes_are_events_or_a_value_error(body: bytes) -> None:
    try:
        events = list(read_events([body]))
    except ValueError:
        return
    assert all(isinstance(e, str) for e in events)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "message", "content", "logprobs", "logprob", "usage", "finish_reason"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_a_chunk_or_a_value_error(value: object) -> None:
    for parse in (parse_chunk, parse_completion):
        try:
            chunk = parse(json.dumps(value))
        except ValueError:
            continue
        assert isinstance(chunk, Chunk)


def test_other_ways_to_end_count_as_stop() -> None:
    event = {"choices": [{"delta": {}, "finish_reason": "content_filter"}]}
    assert parse_chunk(json.dumps(event)).finish_reason == "stop"


def test_a_whole_completion_needs_its_finish_reason() -> None:
    with pytest.raises(ValueError, match="finish_reason"):
        parse_completion('{"choices": [{"message": {"content": "x"}}]}')


def _event(content: str, logprob: object) -> str:
    choice = {"delta": {"content": content}, "logprobs": {"content": [{"logprob": logprob}]}}
    return json.dumps({"choices": [choice]})


@pytest.mark.parametrize("logprob", [1000.0, True, "no", float("nan"), pytest.param(-(10**400), id="huge")])
def test_what_is_no_log_probability_is_refused(logprob: object) -> None:
    with pytest.raises(ValueError, match="log-probability"):
        parse_chunk(_event("x", logprob))


@pytest.mark.parametrize("count", [-1, True, "9", 9.0, 10**30])
def test_what_counts_no_tokens_was_not_said(count: object) -> None:
    usages = [{"prompt_tokens": count, "completion_tokens": 2}, {"prompt_tokens": 5, "completion_tokens": count}]
    said = [parse_chunk(json.dumps({"choices": [], "usage": usage})).usage for usage in usages]
    assert said == [None, Usage(5, None)]


@pytest.mark.parametrize("deep", ["[", '{"error":'])
def test_what_is_nested_without_end_is_refused(deep: str) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        parse_chunk(deep * 100_000)


def test_a_rounded_log_probability_counts_as_certain() -> None:
    assert parse_chunk(_event("x", 1e-6)).logprobs == (0.0,)


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    assert parse_chunk(_event("a\ud83db", -1.0)).text == "a\ufffdb"
