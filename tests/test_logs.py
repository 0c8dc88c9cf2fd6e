"""Records of a request carry its id, in one JSON line each, and tell nothing of what was asked or said."""

from __future__ import annotations

import asyncio
import json
import logging
import queue
from collections.abc import Iterator
from logging.handlers import QueueHandler
from pathlib import Path

import pytest
from echo_brain import QUESTION, TEXTS, open_echo
from inference.fakes import EchoEngine

from ruvllm.logs import JsonFormatter, RequestFilter, request_id


class Lines(logging.Handler):
    """Keeps every line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@pytest.fixture
def logged() -> Iterator[Lines]:
    """What the package logs at DEBUG, as JSON."""
    handler, package = Lines(), logging.getLogger("ruvllm")
    handler.setFormatter(JsonFormatter())
    package.addHandler(handler)
    package.setLevel(logging.DEBUG)
    yield handler
    package.removeHandler(handler)
    package.setLevel(logging.NOTSET)


def test_records_of_a_request_carry_the_id_of_its_response(tmp_path: Path, logged: Lines) -> None:
    with open_echo(tmp_path) as llm:
        logged.lines.clear()
        response = asyncio.run(llm.aask(QUESTION))
    answered = [line for line in logged.lines if str(line["message"]).startswith("answered")]
    assert [line["request"] for line in answered] == [response.id]


def test_between_two_steps_of_a_stream_no_request_runs(tmp_path: Path) -> None:
    with open_echo(tmp_path) as llm:
        one, other = llm.stream(QUESTION), llm.stream(QUESTION)
        for _ in zip(one, other, strict=False):
            assert request_id.get() is None
        assert one.response.id != other.response.id


def test_what_a_reader_logs_belongs_to_the_request(tmp_path: Path, logged: Lines) -> None:
    class Talkative(EchoEngine):
        def count_tokens(self, messages: object) -> int:
            logging.getLogger("ruvllm.inference.talkative").info("counting")
            return super().count_tokens(messages)  # type: ignore[arg-type]

    with open_echo(tmp_path, Talkative()) as llm:
        response = llm.ask(QUESTION)
    counting = [line for line in logged.lines if line["message"] == "counting"]
    assert counting and {line["request"] for line in counting} == {response.id}


def test_prompts_and_answers_are_never_logged_above_debug(tmp_path: Path, logged: Lines) -> None:
    with open_echo(tmp_path) as llm:
        llm.feedback(llm.ask(QUESTION, session="s").id, rating=5, correction="It comes on Mondays.")
        llm.ask(QUESTION, session="s")
    told = json.dumps([line for line in logged.lines if line["level"] != "DEBUG"])
    assert not any(text in told for text in (QUESTION, TEXTS[0], "Mondays"))


def test_a_line_holds_what_extra_gave_and_the_error() -> None:
    record = logging.LogRecord("ruvllm.x", logging.ERROR, "x.py", 1, "%s of %d", ("one", 2), None)
    record.tenant = Path("a")
    try:
        raise KeyError("k")
    except KeyError as error:
        record.exc_info = (KeyError, error, error.__traceback__)
    line = json.loads(JsonFormatter().format(record))
    assert (line["message"], line["tenant"], "request" in line) == ("one of 2", "a", False)
    assert str(line["error"]).endswith("KeyError: 'k'") and line["time"].endswith("+00:00")


def test_a_name_that_is_no_text_costs_no_line() -> None:
    record = logging.LogRecord("ruvllm.x", logging.ERROR, "x.py", 1, "not read: %s", ("ä\udcff.md",), None)
    line = JsonFormatter().format(record)
    assert json.loads(line.encode())["message"] == "not read: ä\udcff.md"


def test_the_filter_keeps_the_id_for_another_thread(tmp_path: Path) -> None:
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler, telemetry = QueueHandler(records), logging.getLogger("ruvllm.telemetry")  # type: ignore[type-var]
    handler.addFilter(RequestFilter())
    telemetry.addHandler(handler)
    telemetry.setLevel(logging.DEBUG)
    try:
        with open_echo(tmp_path) as llm:
            response = llm.ask(QUESTION)
    finally:
        telemetry.removeHandler(handler)
        telemetry.setLevel(logging.NOTSET)
    assert json.loads(JsonFormatter().format(records.get()))["request"] == response.id
