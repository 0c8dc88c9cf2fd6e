"""Every request is counted once, whatever became of it, and Prometheus can read the result."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from echo_brain import QUESTION, open_echo
from inference.fakes import EchoEngine
from prometheus_client.parser import text_string_to_metric_families

from ruvllm.metrics import Gauge, Metrics, stage_quantiles, text_of
from ruvllm.types import Feedback, Response, Route


def response(**fields: object) -> Response:
    route = Route("reader", 512, 0.0, 1.0, tier="small")
    timings = {"embed": 2.0, "generate": 40.0, "first_token": 9.0, "total": 45.0}
    values = {"confidence": 0.75, "finish_reason": "stop", "prompt_tokens": 90, "completion_tokens": 9}
    return Response("id", "q", "a", (), route, **(values | {"timings_ms": timings} | fields))  # type: ignore[arg-type]


def test_metrics_recorded_for_all_requests(tmp_path: Path) -> None:
    with open_echo(tmp_path) as llm:
        llm.ask(QUESTION)
        asyncio.run(llm.aask(QUESTION, session="alice"))
        for _ in llm.stream(QUESTION):
            pass
        with llm.stream(QUESTION) as half:
            next(half)
        with pytest.raises(ValueError, match="k must be"):
            llm.ask(QUESTION, k=0)
        counted = llm.metrics()
    outcomes = {o: counted.value("ruvllm_requests_total", outcome=o) for o in ("answered", "cancelled", "failed")}
    assert outcomes == {"answered": 3.0, "cancelled": 1.0, "failed": 1.0}
    assert counted.value("ruvllm_request_seconds_count") == counted.value("ruvllm_requests_total") == 5.0
    assert counted.value("ruvllm_errors_total", error="ValueError") == 1.0
    assert {counted.value("ruvllm_stage_seconds_count", stage=s) for s in ("embed", "retrieve", "generate")} == {3.0}


def test_an_answer_that_quotes_for_want_of_confidence_is_told_apart(tmp_path: Path) -> None:
    with open_echo(tmp_path, EchoEngine(probability=0.1)) as llm:
        llm.ask(QUESTION)
        assert llm.metrics().value("ruvllm_requests_total", outcome="extracted") == 1.0


def test_a_response_gives_stages_tokens_confidence_and_warnings() -> None:
    metrics = Metrics()
    metrics.answered(response(warnings=("retrieve: no index", "not remembered: the disk is full")), 0.05)
    assert metrics.value("ruvllm_requests_total", outcome="answered", route="small") == 1.0
    assert metrics.value("ruvllm_stage_seconds_sum", stage="generate") == pytest.approx(0.04)
    assert metrics.value("ruvllm_stage_seconds_count") == 2.0  # "total" and "first_token" are no stages
    assert metrics.value("ruvllm_first_token_seconds_sum") == pytest.approx(0.009)
    assert metrics.value("ruvllm_tokens_total") == 99.0
    assert metrics.value("ruvllm_confidence_bucket", le="0.7") == 0.0
    assert metrics.value("ruvllm_confidence_bucket", le="0.8") == 1.0
    assert metrics.value("ruvllm_warnings_total") == 2.0
    assert metrics.value("ruvllm_warnings_total", stage="retrieve") == 1.0


def test_the_judge_and_the_cache_have_their_say() -> None:
    metrics = Metrics()
    metrics.answered(response(quality=0.25, quality_source="signals@3"), 0.05)
    metrics.answered(response(timings_ms={"cache": 0.1}), 0.05)
    metrics.answered(response(timings_ms={"cache": 0.1}, cached=True), 0.0001)
    assert metrics.value("ruvllm_quality_bucket", source="signals", le="0.3") == 1.0
    assert metrics.value("ruvllm_cache_requests_total", result="hit") == 1.0
    assert metrics.value("ruvllm_cache_requests_total") == 2.0  # the first request knew no cache


def test_feedback_is_counted_by_all_that_was_said() -> None:
    metrics = Metrics()
    metrics.heard(Feedback(rating=5, marks={3: True}))
    metrics.heard(Feedback(quality=0.0))
    kinds = ("rating", "quality", "task_success", "correction", "marks")
    assert [metrics.value("ruvllm_feedback_total", kind=kind) for kind in kinds] == [1.0, 1.0, 0.0, 0.0, 1.0]


def test_documents_and_feedback_of_a_brain_are_counted(tmp_path: Path) -> None:
    with open_echo(tmp_path) as llm:
        llm.ingest(["The cook rings a bell.", str(tmp_path / "brain.db")])
        llm.feedback(llm.ask(QUESTION).id, rating=4)
        counted = llm.metrics()
        assert counted.value("ruvllm_documents_ingested_total", result="added") == 1.0
        assert counted.value("ruvllm_documents_ingested_total", result="failed") == 1.0
        assert counted.value("ruvllm_feedback_total", kind="rating") == 1.0


def test_sizes_come_from_the_store(tmp_path: Path) -> None:
    with open_echo(tmp_path) as llm:
        counted = llm.metrics()
        assert counted.value("ruvllm_nodes", type="Document") == 3.0
        assert counted.value("ruvllm_index_state") == 1.0  # of all states one holds
        assert counted.value("ruvllm_database_bytes") > 0.0 and counted.value("ruvllm_records_failed_total") == 0.0


def test_the_text_is_prometheus_and_tells_no_session_and_no_question(tmp_path: Path) -> None:
    with open_echo(tmp_path) as llm:
        llm.ask(QUESTION, session="alice")
        text = llm.metrics().text()
    families = {family.name: family.type for family in text_string_to_metric_families(text)}
    assert families["ruvllm_requests"] == "counter" and families["ruvllm_stage_seconds"] == "histogram"
    assert families["ruvllm_nodes"] == "gauge" and families["process_resident_memory_bytes"] == "gauge"
    assert "HELP ruvllm_models_bytes What models.budget_bytes is compared with: files, and a full cache each." in text
    assert "alice" not in text and "supply" not in text


def test_buckets_of_a_histogram_add_up_to_its_count() -> None:
    metrics = Metrics()
    for seconds in (0.0, 0.0001, 0.00011, 1e9):
        metrics.answered(response(), seconds)
    by_end = [metrics.value("ruvllm_request_seconds_bucket", le=le) for le in ("0.0001", "0.00025", "60.0", "+Inf")]
    assert by_end == [2.0, 3.0, 3.0, 4.0]


def test_threads_lose_no_count() -> None:
    metrics = Metrics()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: metrics.answered(response(), 0.05), range(4000)))
    assert metrics.value("ruvllm_requests_total") == metrics.value("ruvllm_request_seconds_count") == 4000.0


def test_an_unknown_metric_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="ruvllm_request_total"):
        Metrics().value("ruvllm_request_total")


def test_sizes_are_read_rarely_where_reading_them_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 3.0, 10.0, 61.0, 61.5])  # reading takes 3 s: for a minute that will do
    monkeypatch.setattr("ruvllm.metrics.time.monotonic", lambda: next(clock))
    sizes = iter([1.0, 2.0])
    metrics = Metrics(lambda: [Gauge("ruvllm_edges", "Links.", next(sizes))])
    assert [metrics.value("ruvllm_edges") for _ in range(3)] == [1.0, 1.0, 2.0]


def test_gauges_of_one_name_share_their_head() -> None:
    text = text_of([Gauge("a", "Help.", 1.0, {"type": "x"}), Gauge("a", "Help.", 2.0, {"type": "y"})])
    assert text == '# HELP a Help.\n# TYPE a gauge\na{type="x"} 1.0\na{type="y"} 2.0\n'


def test_quantiles_of_stages_have_the_slowest_first() -> None:
    found = stage_quantiles([{"embed": 1.0, "generate": 10.0}, {"embed": 3.0}], (0.5, 1.0))
    assert list(found) == ["generate", "embed"] and found["embed"] == (2.0, 3.0)
    assert all(math.isfinite(value) for values in found.values() for value in values)
