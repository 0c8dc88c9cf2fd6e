"""The remote engine against a real local server, well behaved and not."""

from __future__ import annotations

import errno
import math
import os
import socket
import threading
from collections.abc import Callable

import pytest

from ruvllm.errors import EndpointError, EngineError
from ruvllm.inference import complete
from ruvllm.inference.remote import RemoteEngine
from ruvllm.types import GenerationOptions, Message

from .endpoint import Endpoint

PROMPT = [Message("system", "Be kind."), Message("user", "one two three four five")]
OPTIONS = GenerationOptions(max_new_tokens=4)
Serve = Callable[[str], Endpoint]


def ask(endpoint: Endpoint, options: GenerationOptions = OPTIONS, **settings: object) -> object:
    engine = RemoteEngine(endpoint.location, timeout_s=5, **settings)  # type: ignore[arg-type]
    try:
        return complete(engine, PROMPT, options)
    finally:
        engine.close()


def test_the_request_carries_messages_and_options(serve: Serve) -> None:
    endpoint = serve("ok")
    ask(endpoint, GenerationOptions(7, 0.5, 40, 0.9, 1.1, ("a", "b", "c", "d", "e"), 3, min_p=0.2))
    sent = endpoint.requests[0]
    assert sent["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": PROMPT[1].content},
    ]
    assert (sent["model"], sent["stream"], sent["logprobs"]) == ("echo", True, True)
    assert (sent["max_tokens"], sent["temperature"], sent["top_p"], sent["top_k"]) == (7, 0.5, 0.9, 40)
    assert (sent["repetition_penalty"], sent["stop"], sent["seed"]) == (1.1, ["a", "b", "c", "d"], 3)
    assert sent["min_p"] == 0.2


def test_defaults_that_servers_may_not_know_are_left_out(serve: Serve) -> None:
    endpoint = serve("ok")
    ask(endpoint)
    assert not {"top_k", "min_p", "repetition_penalty", "seed", "stop", "response_format"} & set(endpoint.requests[0])


def test_a_schema_is_sent_as_the_response_format(serve: Serve) -> None:
    endpoint, schema = serve("ok"), {"type": "object", "properties": {"year": {"type": "integer"}}}
    ask(endpoint, GenerationOptions(max_new_tokens=4, json_schema=schema))
    sent = endpoint.requests[0]["response_format"]
    assert (sent["type"], sent["json_schema"]["schema"], sent["json_schema"]["strict"]) == ("json_schema", schema, True)


def test_usage_of_the_server_is_reported(serve: Serve) -> None:
    completion = ask(serve("ok"))
    assert (completion.prompt_tokens, completion.completion_tokens) == (9, 4)
    assert completion.logprobs == (-0.1,) * 4


def test_a_server_without_logprobs_is_asked_once_more_and_remembered(serve: Serve) -> None:
    endpoint = serve("no_logprobs")
    engine = RemoteEngine(endpoint.location, timeout_s=5)
    first, second = complete(engine, PROMPT, OPTIONS), complete(engine, PROMPT, OPTIONS)
    engine.close()
    assert first.text == second.text == "one two three four"
    assert first.logprobs == ()
    assert first.completion_tokens == 4
    assert ["logprobs" in r for r in endpoint.requests] == [True, False, False]


def test_a_server_that_does_not_stream_still_answers(serve: Serve) -> None:
    assert ask(serve("whole"), GenerationOptions(max_new_tokens=50)).text == "one two three four five"


def test_stop_sequences_beyond_the_api_are_cut_here(serve: Serve) -> None:
    assert ask(serve("ok"), GenerationOptions(9, stop=("!", "?", ":", ";", " three"))).text == "one two"


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("garbage", "not JSON"),
        ("html", "expected an event stream"),
        ("wrong_fields", "'choices' is missing"),
        ("error_event", "out of memory"),
        ("truncated", "broke off"),
        ("huge_line", "a line is longer"),
        ("huge_whole", "it is longer"),
    ],
)
def test_garbage_is_an_endpoint_error_saying_what(serve: Serve, mode: str, says: str) -> None:
    endpoint = serve(mode)
    with pytest.raises(EndpointError, match=says) as caught:
        ask(endpoint)
    assert caught.value.url == endpoint.location.replace("#echo", "/chat/completions")
    assert caught.value.status is None


@pytest.mark.parametrize("status", [401, 500])
def test_a_refusal_carries_status_and_reason_but_never_the_key(serve: Serve, status: int) -> None:
    endpoint = serve(str(status))
    with pytest.raises(EndpointError, match="refused") as caught:
        ask(endpoint, api_key="sk-very-secret")
    assert caught.value.status == status
    assert "sk-very-secret" not in str(caught.value)
    assert endpoint.headers[0]["Authorization"] == "Bearer sk-very-secret"
    assert len(endpoint.requests) == 1


def test_an_unknown_path_is_a_404(serve: Serve) -> None:
    endpoint = serve("ok")
    engine = RemoteEngine(endpoint.location.replace("/v1", "/v2"))
    with pytest.raises(EndpointError, match="no such path") as caught:
        complete(engine, PROMPT, OPTIONS)
    engine.close()
    assert caught.value.status == 404


@pytest.mark.parametrize("mode", ["slow", "slow_middle"])
def test_silence_beyond_the_timeout_is_an_endpoint_error(serve: Serve, mode: str) -> None:
    engine = RemoteEngine(serve(mode).location, timeout_s=0.2)
    with pytest.raises(EndpointError, match=r"silent for more than 0\.2 s"):
        complete(engine, PROMPT, OPTIONS)
    engine.close()


def test_an_answer_without_an_end_is_cut_off(serve: Serve) -> None:
    completion = ask(serve("endless"))
    assert completion.finish_reason == "length"
    assert len(completion.text) <= 256 * OPTIONS.max_new_tokens + len("one")


@pytest.mark.parametrize("mode", ["slow", "slow_header", "alive", "alive_whole", "alive_503"])
def test_a_cancel_holds_whatever_the_endpoint_does(serve: Serve, mode: str) -> None:
    endpoint, asked = serve(mode), iter([False] * 5)
    engine = RemoteEngine(endpoint.location, timeout_s=5)
    completion = complete(engine, PROMPT, OPTIONS, cancelled=lambda: next(asked, True))
    engine.close()
    assert (completion.text, completion.finish_reason) == ("", "cancelled")


def test_a_cancel_cuts_the_line(serve: Serve) -> None:
    endpoint, asked = serve("slow_header"), iter([False] * 5)
    engine = RemoteEngine(endpoint.location, timeout_s=5)
    complete(engine, PROMPT, OPTIONS, cancelled=lambda: next(asked, True))
    assert endpoint.was_left.wait(5)
    engine.close()


def test_where_too_many_files_are_open_is_an_endpoint_error(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def dup(_: socket.socket) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket.socket, "dup", dup)
    with pytest.raises(EndpointError, match=r"the connection failed: .*Too many open files"):
        ask(serve("ok"))


def test_a_cancel_holds_where_tls_never_comes_about() -> None:
    asked = iter([False] * 5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        engine = RemoteEngine(f"https://127.0.0.1:{mute.getsockname()[1]}/v1#m", timeout_s=5)
        completion = complete(engine, PROMPT, OPTIONS, cancelled=lambda: next(asked, True))
        engine.close()
    assert completion.finish_reason == "cancelled"


def test_a_cancel_holds_while_a_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, release = iter([False] * 5), threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(5) and [])
    engine = RemoteEngine("http://example.org/v1#m", timeout_s=5)
    completion = complete(engine, PROMPT, OPTIONS, cancelled=lambda: next(asked, True))
    release.set()
    engine.close()
    assert completion.finish_reason == "cancelled"


def test_a_stream_ends_when_its_engine_is_closed(serve: Serve) -> None:
    engine, asked = RemoteEngine(serve("slow").location, timeout_s=5), iter([False] * 5)

    def close_while_waiting() -> bool:
        if next(asked, True):
            engine.close()
        return False

    with pytest.raises(EngineError, match="is closed"):
        complete(engine, PROMPT, OPTIONS, cancelled=close_while_waiting)


def test_an_endpoint_that_is_down_is_tried_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound but not listening: connecting is refused
        taken.bind(("127.0.0.1", 0))
        engine = RemoteEngine(f"http://127.0.0.1:{taken.getsockname()[1]}/v1#m", backoff_s=0.25)
        pauses: list[float] = []
        monkeypatch.setattr("ruvllm.inference.remote.time.sleep", pauses.append)
        with pytest.raises(EndpointError, match="cannot be reached"):
            complete(engine, PROMPT, OPTIONS)
        engine.close()
    assert pauses == [0.25, 0.5]


def test_key_and_password_are_shown_nowhere() -> None:
    engine = RemoteEngine("https://me:hunter2@example.org/v1#m", api_key="sk-very-secret")
    engine.close()
    assert engine.name == "https://example.org/v1#m"
    assert "hunter2" not in repr(engine)
    assert "secret" not in repr(engine)


@pytest.mark.parametrize("key", ["sk-very-secret\n", "sk-very\0-secret", "sk-schlüssel"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_quoted(serve: Serve, key: str) -> None:
    with pytest.raises(ValueError, match=r"^api_key must be printable ASCII") as caught:
        ask(serve("ok"), api_key=key)
    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize(
    "location", ["http://host/v1", "ftp://host/v1#m", "host/v1#m", "http:///v1#m", "http://h:x/v1#m"]
)
def test_a_location_of_another_form_is_a_value_error(location: str) -> None:
    with pytest.raises(ValueError, match="model location"):
        RemoteEngine(location)


@pytest.mark.parametrize("text", ["", "a", "naïve café", "日本語", "x" * 1000, "\ud800"])
def test_the_token_estimate_covers_every_three_bytes(text: str) -> None:
    engine = RemoteEngine("http://host/v1#m")
    estimate = engine.count_tokens([Message("user", text)])
    engine.close()
    assert estimate >= math.ceil(len(text.encode("utf-8", "replace")) / 3) + 8
