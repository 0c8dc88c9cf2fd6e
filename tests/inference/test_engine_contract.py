"""What every engine promises, on each of them: the tests' own, a real HTTP endpoint, random and real models."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from ruvllm.errors import EngineError
from ruvllm.inference import Engine, complete
from ruvllm.types import GenerationOptions, Message

PROMPT = (
    Message("system", "You are a helpful assistant."),
    Message("user", "Please tell me, in one long and winding sentence, what the sea looks like from a small boat."),
)


def test_only_the_last_piece_has_a_finish_reason_and_counts(engine: Engine) -> None:
    pieces = list(engine.stream(PROMPT, GenerationOptions(max_new_tokens=8)))
    assert [p.finish_reason for p in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].finish_reason == "length"
    assert pieces[-1].completion_tokens == 8
    assert pieces[-1].prompt_tokens > 0
    assert all(p.completion_tokens == p.prompt_tokens == 0 for p in pieces[:-1])


def test_text_arrives_in_steps_and_not_at_the_end(engine: Engine) -> None:
    texts = [p.text for p in engine.stream(PROMPT, GenerationOptions(max_new_tokens=8)) if p.text]
    assert len(texts) >= 6


def test_fewer_tokens_are_a_prefix_of_more(engine: Engine) -> None:
    short = complete(engine, PROMPT, GenerationOptions(max_new_tokens=4))
    long = complete(engine, PROMPT, GenerationOptions(max_new_tokens=9))
    assert (short.completion_tokens, long.completion_tokens) == (4, 9)
    assert long.text.startswith(short.text)
    assert len(long.text) > len(short.text) > 0


def test_every_token_has_a_log_probability(engine: Engine) -> None:
    completion = complete(engine, PROMPT, GenerationOptions(max_new_tokens=8))
    assert len(completion.logprobs) == completion.completion_tokens
    assert all(x <= 0.0 for x in completion.logprobs)


def test_the_answer_ends_before_the_stop_sequence(engine: Engine) -> None:
    whole = complete(engine, PROMPT, GenerationOptions(max_new_tokens=12)).text
    stop = whole[len(whole) // 2 : len(whole) // 2 + 4]
    completion = complete(engine, PROMPT, GenerationOptions(max_new_tokens=12, stop=("\x00never", stop)))
    assert completion.text == whole[: whole.index(stop)]
    assert completion.finish_reason == "stop"


def test_cancelled_from_the_start_generates_nothing(engine: Engine) -> None:
    completion = complete(engine, PROMPT, GenerationOptions(max_new_tokens=8), cancelled=lambda: True)
    assert completion.finish_reason == "cancelled"
    assert completion.text == ""


def test_cancelled_midway_stops_with_what_was_said(engine: Engine) -> None:
    texts: list[str] = []
    for piece in engine.stream(PROMPT, GenerationOptions(max_new_tokens=12), cancelled=lambda: len(texts) >= 3):
        texts.append(piece.text)
    assert piece.finish_reason == "cancelled"
    assert 1 <= piece.completion_tokens < 12
    whole = complete(engine, PROMPT, GenerationOptions(max_new_tokens=12)).text
    assert whole.startswith("".join(texts))


def test_a_closed_stream_leaves_the_engine_usable(engine: Engine) -> None:
    stream = engine.stream(PROMPT, GenerationOptions(max_new_tokens=50))
    first = next(stream)
    stream.close()
    assert next(stream, None) is None
    again = complete(engine, PROMPT, GenerationOptions(max_new_tokens=4))
    assert again.text.startswith(first.text)


def test_no_messages_is_a_value_error(engine: Engine) -> None:
    with pytest.raises(ValueError, match="messages"):
        list(engine.stream([], GenerationOptions()))
    with pytest.raises(ValueError, match="messages"):
        engine.count_tokens([])


def test_a_prompt_beyond_the_context_names_both_numbers(engine: Engine) -> None:
    prompt = [Message("user", "word " * 1000)]
    with pytest.raises(ValueError, match=rf"max_new_tokens \(7\) exceed context_tokens \({engine.context_tokens}\)"):
        list(engine.stream(prompt, GenerationOptions(max_new_tokens=7)))


def test_the_last_token_that_fits_is_accepted(engine: Engine) -> None:
    room = engine.context_tokens - engine.count_tokens(PROMPT)
    stream = engine.stream(PROMPT, GenerationOptions(max_new_tokens=room))
    next(stream)
    stream.close()
    with pytest.raises(ValueError, match="context_tokens"):
        list(engine.stream(PROMPT, GenerationOptions(max_new_tokens=room + 1)))


def test_count_tokens_is_never_below_what_the_prompt_took(engine: Engine) -> None:
    completion = complete(engine, PROMPT, GenerationOptions(max_new_tokens=1))
    assert engine.count_tokens(PROMPT) >= completion.prompt_tokens


def test_count_tokens_grows_with_every_turn(engine: Engine) -> None:
    longer = [*PROMPT, Message("assistant", "Wide."), Message("user", "And?")]
    assert engine.count_tokens(longer) > engine.count_tokens(PROMPT)


def test_concurrent_streams_do_not_mix(engine: Engine) -> None:
    prompts = [[Message("user", f"Write the numbers from {n} on, please: {n} {n + 1} {n + 2}")] for n in (10, 50, 90)]
    options = GenerationOptions(max_new_tokens=10)
    alone = [complete(engine, p, options) for p in prompts]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda p: complete(engine, p, options), prompts))
    assert together == alone
    assert len({c.text for c in alone}) == 3


def test_unicode_comes_through_whole(engine: Engine) -> None:
    prompt = [Message("user", "Repeat: 日本語 🎉 Ünïcödé")]
    pieces = [p.text for p in engine.stream(prompt, GenerationOptions(max_new_tokens=24))]
    assert pieces
    "".join(pieces).encode()
    assert not any("\ufffd" in p for p in pieces)


@pytest.mark.parametrize("engine", ["echo", "remote", "tiny llama", "tiny lfm2"], indirect=True)
def test_closing_twice_is_fine_and_streaming_then_is_an_error(engine: Engine) -> None:
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        list(engine.stream(PROMPT, GenerationOptions()))
