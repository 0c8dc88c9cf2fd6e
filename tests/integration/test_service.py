"""Sessions, limits, cache and deadlines as a caller of `ruvllm.open` meets them, on real parts."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inference.endpoint import Endpoint

import ruvllm
from ruvllm.config import load_config
from ruvllm.errors import BrainLocked, DeadlineExceeded, RateLimited
from ruvllm.system.asking import ASYNC_THREADS

from .parts import QUESTION, TEXTS, Configure, Serve

pytestmark = [pytest.mark.integration]

DAY_S = 86_400.0


@pytest.fixture
def endpoint(serve: Serve) -> Endpoint:
    return serve("ok")


@pytest.fixture
def llm(
    tmp_path: Path, configure: Configure, endpoint: Endpoint, request: pytest.FixtureRequest
) -> Iterator[ruvllm.RuvLLM]:
    """A brain that knows TEXTS; settings come as the fixture's parameter."""
    config = configure(generation__model=endpoint.location, **getattr(request, "param", {}))
    with ruvllm.open(tmp_path / "brain", config=config) as llm:
        llm.ingest(TEXTS)
        yield llm


def settings(**values: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("llm", [values], indirect=True, ids=[""])


# -- sessions ----------------------------------------------------------------------------------------------------------


def test_a_session_is_made_used_resumed_listed_and_deleted(
    tmp_path: Path, configure: Configure, endpoint: Endpoint, llm: ruvllm.RuvLLM
) -> None:
    name = llm.new_session()
    llm.ask(QUESTION, session=name)
    llm.close()
    with ruvllm.open(tmp_path / "brain", config=configure(generation__model=endpoint.location)) as again:
        again.ask("And the next one?", session=name)
        assert QUESTION in json.dumps(endpoint.requests[-1])
        (session,) = again.sessions()
        assert (session.name, session.turns) == (name, 2) and session.created < session.last_used
        again.delete_session(name)
        assert again.sessions() == [] and again.history(name) == [] and again.check().ok


def test_an_unknown_session_has_no_history_and_cannot_be_deleted(llm: ruvllm.RuvLLM) -> None:
    assert llm.history("nobody") == []
    with pytest.raises(ValueError, match="name: there is no session 'nobody' here"):
        llm.delete_session("nobody")


def test_deleting_waits_for_the_running_request(llm: ruvllm.RuvLLM, endpoint: Endpoint) -> None:
    stream = llm.stream(QUESTION, session="alice")
    next(stream)
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(llm.delete_session("alice")))
    thread.start()
    thread.join(0.2)
    assert done == []
    assert stream.response.text
    thread.join(30)
    assert done == [2] and llm.sessions() == []


def test_a_stream_can_be_closed_while_another_thread_waits_for_its_words(
    llm: ruvllm.RuvLLM, endpoint: Endpoint
) -> None:
    endpoint.mode = "slow"
    stream, read = llm.stream(QUESTION, session="alice"), []
    reader = threading.Thread(target=lambda: read.append(list(stream)))
    reader.start()
    while not endpoint.requests:
        time.sleep(0.001)
    stream.close()
    reader.join(30)
    assert read == [[]]
    endpoint.mode = "ok"
    assert llm.ask(QUESTION, session="alice").text  # and the session is free


@settings(sessions__max_idle_days=30)
def test_idle_sessions_expire_and_those_in_use_stay(llm: ruvllm.RuvLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    for session in ("old", "busy"):
        llm.ask(QUESTION, session=session)
    llm.new_session("empty")
    llm.flush()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31 * DAY_S)
    llm.ask(QUESTION, session="new")
    with llm.stream(QUESTION, session="busy") as stream:
        next(stream)
        assert llm.expire_sessions() == 2
    assert [one.name for one in llm.sessions()] == ["new", "busy"]
    assert llm.expire_sessions() == 1


@pytest.mark.parametrize("days", [-400.0, 400.0])
@settings(sessions__max_idle_days=30)
def test_a_clock_that_is_set_back_expires_nothing(
    llm: ruvllm.RuvLLM, monkeypatch: pytest.MonkeyPatch, days: float
) -> None:
    llm.ask(QUESTION, session="alice")
    llm.flush()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + days * DAY_S)
    assert llm.expire_sessions() == (1 if days > 0 else 0)


def test_by_default_no_session_expires(llm: ruvllm.RuvLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    llm.ask(QUESTION, session="alice")
    monkeypatch.setattr(time, "time", lambda: 1e12)
    assert llm.expire_sessions() == 0 and len(llm.sessions()) == 1


def test_a_session_of_another_namespace_is_invisible(
    tmp_path: Path, configure: Configure, endpoint: Endpoint, llm: ruvllm.RuvLLM
) -> None:
    response = llm.ask(QUESTION, session="alice")
    llm.close()
    with ruvllm.open(
        tmp_path / "brain", config=configure(generation__model=endpoint.location), namespace="other"
    ) as other:
        assert other.sessions() == [] and other.history("alice") == []
        for use in (lambda: other.delete_session("alice"), lambda: other.feedback(response.id, rating=1)):
            with pytest.raises(ValueError, match="there is no"):
                use()
        assert QUESTION not in json.dumps(
            [message for message in other.ask("Who?", session="alice").sources], default=str
        )


def test_beside_another_writer_sessions_are_only_read(
    tmp_path: Path, configure: Configure, endpoint: Endpoint, llm: ruvllm.RuvLLM
) -> None:
    llm.ask(QUESTION, session="alice")
    llm.flush()
    with ruvllm.open(tmp_path / "brain", config=configure(generation__model=endpoint.location)) as reader:
        assert [one.name for one in reader.sessions()] == ["alice"]
        for write in (reader.new_session, lambda: reader.delete_session("alice"), reader.expire_sessions):
            with pytest.raises(BrainLocked):
                write()


# -- limits, cache, deadlines ------------------------------------------------------------------------------------------


@settings(limits__requests_per_minute=1)
def test_a_limit_says_when_to_come_again_and_the_session_is_free(llm: ruvllm.RuvLLM) -> None:
    llm.ask(QUESTION, session="alice")
    with pytest.raises(RateLimited) as caught:
        llm.ask(QUESTION, session="alice")
    assert 0 < caught.value.retry_after_s <= 60 and llm.ask(QUESTION, session="alice", key="bob").text


@settings(cache__enabled=True)
@pytest.mark.parametrize(
    ("said", "again"),
    [
        ({"rating": 5}, True),
        ({"rating": 1}, False),
        ({"quality": 0.2}, False),
        ({"task_success": False}, False),
        ({"unhelpful": [1]}, False),
    ],
)
def test_what_was_called_bad_is_answered_anew(llm: ruvllm.RuvLLM, said: dict[str, Any], again: bool) -> None:
    llm.ask(QUESTION)
    hit = llm.ask(QUESTION)
    llm.feedback(hit.id, **said)
    assert hit.cached and llm.ask(QUESTION).cached == again


@settings(cache__enabled=True)
@pytest.mark.parametrize("delete", ["session", "source"])
def test_what_is_deleted_leaves_nothing_in_the_cache(llm: ruvllm.RuvLLM, delete: str) -> None:
    llm.ask(QUESTION, session="alice")
    assert llm._pipeline.cache is not None and len(llm._pipeline.cache) == 1
    llm.delete_session("alice") if delete == "session" else llm.forget(llm.memory.sources()[0].source)
    assert len(llm._pipeline.cache) == 0


@pytest.mark.parametrize("mode", ["slow_middle", "slow_header"])
def test_a_deadline_holds_against_a_slow_endpoint(llm: ruvllm.RuvLLM, endpoint: Endpoint, mode: str) -> None:
    endpoint.mode = mode
    start = time.monotonic()
    try:
        finished = llm.ask(QUESTION, session="alice", timeout_s=0.5).finish_reason
    except DeadlineExceeded:
        finished = "deadline"
    assert finished == "deadline" and time.monotonic() - start < 3.0
    assert llm.history("alice") == []


def test_a_deadline_holds_for_aask_too(llm: ruvllm.RuvLLM) -> None:
    with pytest.raises(DeadlineExceeded):
        asyncio.run(llm.aask(QUESTION, timeout_s=1e-6))
    assert asyncio.run(llm.aask(QUESTION, timeout_s=60, key="bob")).text


def test_a_deadline_holds_while_no_thread_of_aask_is_free(llm: ruvllm.RuvLLM, endpoint: Endpoint) -> None:
    endpoint.mode = "slow"

    async def crowd() -> list[bool]:
        others = [asyncio.create_task(llm.aask(f"{QUESTION} {i}")) for i in range(ASYNC_THREADS)]
        while len(endpoint.requests) < ASYNC_THREADS:
            await asyncio.sleep(0.001)
        with pytest.raises(DeadlineExceeded):
            await llm.aask(QUESTION, timeout_s=0.1)
        were_done = [one.done() for one in others]
        for one in others:
            one.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        return were_done

    assert asyncio.run(crowd()) == [False] * ASYNC_THREADS


def test_a_full_disk_costs_what_is_written_and_no_answer(tmp_path: Path) -> None:
    child = Path(__file__).parent / "child.py"
    done = subprocess.run(
        [sys.executable, str(child), str(tmp_path / "b")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["texts"] == [True] * 5 and told["refused"] and told["sound"]
    assert [len(warnings) for warnings in told["warnings"]] == [0, 0, 1, 1, 0]
    assert told["warnings"][2] == ["record: 1 earlier answers could not be stored; the log says why"]
    assert told["turns"] == [f"When does the {which} ship arrive?" for which in ("first", "fourth", "fifth")]


# -- the real reader ---------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_real_reader_is_bypassed_by_a_hit_and_asked_on_a_miss(
    tmp_path: Path, minilm_dir: Path, smollm2_dir: Path
) -> None:
    config = load_config(overrides={"cache": {"enabled": True}})
    with ruvllm.open(tmp_path / "b", config=config) as llm:
        llm.ingest(TEXTS)
        first, second = llm.ask(QUESTION), llm.ask(QUESTION)
        llm.ingest(["The harbour master is called Solheim."])
        third = llm.ask(QUESTION)
    assert [one.cached for one in (first, second, third)] == [False, True, False]
    assert second.text == first.text and "generate" not in second.timings_ms and "generate" in third.timings_ms
    assert second.timings_ms["total"] < first.timings_ms["total"] / 10


@pytest.mark.real
def test_the_real_reader_stops_at_its_deadline(tmp_path: Path, minilm_dir: Path, smollm2_dir: Path) -> None:
    options = ruvllm.GenerationOptions(max_new_tokens=1500)
    with ruvllm.open(tmp_path / "b") as llm:
        llm.ingest(TEXTS)
        llm.ask(QUESTION)  # loads the models
        start = time.monotonic()
        try:
            response = llm.ask("Tell a long story about the supply ship.", options=options, timeout_s=0.3)
        except DeadlineExceeded:
            return
        assert time.monotonic() - start < 5.0
        assert response.finish_reason in ("deadline", "stop", "extract")


@pytest.mark.parametrize("llm", [{"cache__enabled": True, "cache__similarity": 0.5}], indirect=True)
def test_a_bad_answer_to_another_wording_is_not_given_again(llm: ruvllm.RuvLLM) -> None:
    other = "When does the usual supply ship arrive?"
    llm.ask(QUESTION)
    again = llm.ask(other)
    llm.feedback(again.id, rating=1)
    assert again.cached and not llm.ask(other).cached
