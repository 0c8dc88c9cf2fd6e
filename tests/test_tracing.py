"""Spans of requests, with the SDK of OpenTelemetry; without the setting it is not even imported."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from echo_brain import QUESTION, open_echo
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ruvllm.config import TelemetryConfig

REQUEST = "ruvllm.request"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Where spans go during a test."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_request_has_a_span_and_each_stage_one_below_it(tmp_path: Path, exporter: InMemorySpanExporter) -> None:
    with open_echo(tmp_path, traces=True) as llm:
        response = llm.ask(QUESTION)
    found = spans(exporter)
    request = found.pop(REQUEST)
    assert {"ruvllm.embed", "ruvllm.retrieve", "ruvllm.prompt", "ruvllm.generate"} <= found.keys()
    assert {span.parent.span_id for span in found.values() if span.parent} == {request.context.span_id}
    assert request.attributes is not None and request.attributes["ruvllm.request.id"] == response.id
    assert request.attributes["gen_ai.usage.output_tokens"] == response.completion_tokens
    stages = sorted(found.values(), key=lambda span: span.start_time or 0)
    assert all((a.end_time or 0) <= (b.start_time or 0) for a, b in pairwise(stages))


def test_a_request_is_below_the_span_of_its_caller(tmp_path: Path, exporter: InMemorySpanExporter) -> None:
    with open_echo(tmp_path, traces=True) as llm, trace.get_tracer("caller").start_as_current_span("outer") as outer:
        llm.ask(QUESTION)
        assert trace.get_current_span() is outer
    parent = spans(exporter)[REQUEST].parent
    assert parent is not None and parent.span_id == outer.get_span_context().span_id


def test_an_error_is_told_by_its_class_alone(tmp_path: Path, exporter: InMemorySpanExporter) -> None:
    with open_echo(tmp_path, traces=True) as llm, pytest.raises(ValueError, match="k must be"):
        llm.ask(QUESTION, k=0)
    span = spans(exporter)[REQUEST]
    assert span.attributes is not None and span.attributes["error.type"] == "ValueError"
    assert not span.status.is_ok and span.status.description is None and not span.events


def test_a_stream_that_is_closed_ends_its_span(tmp_path: Path, exporter: InMemorySpanExporter) -> None:
    with open_echo(tmp_path, traces=True) as llm, llm.stream(QUESTION) as half:
        next(half)
    span = spans(exporter)[REQUEST]
    assert span.attributes is not None and span.attributes["gen_ai.response.finish_reasons"] == ("cancelled",)


def test_nothing_of_opentelemetry_is_imported_unasked(tmp_path: Path) -> None:
    code = f"import sys, ruvllm; ruvllm.open({str(tmp_path / 'b')!r}).close(); print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_the_extra_the_setting_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'ruvllm\[otel\]'"):
        TelemetryConfig(traces=True)
