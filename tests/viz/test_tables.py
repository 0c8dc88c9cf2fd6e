"""What notebooks show of results is escaped and whole."""

from __future__ import annotations

from ruvllm.types import DocumentFailure, Hit, Hits, IngestReport, Node, NodeType, Response, Route, Source

EVIL = "<img src=x onerror=alert(1)>"
NODE = Node(7, NodeType.FACT, EVIL, source=EVIL, metadata={"title": EVIL, "tags": [EVIL]})


def response(**fields: object) -> Response:
    sources = (Source(1, 7, "a.md", "Guide", "used text", 0.9, used=True), Source(2, 8, EVIL, EVIL, EVIL, 0.1))
    values = {"text": EVIL, "confidence": 0.5, "finish_reason": "stop", "warnings": (EVIL,), "draft": EVIL} | fields
    return Response(id="a1", query="q", sources=sources, route=Route(EVIL, 2048, 0.0, 1.0), **values)  # type: ignore[arg-type]


def test_hits_are_a_table_in_order() -> None:
    first, second = Hit(Node(1, NodeType.FACT, "first"), 0.5, 0.25), Hit(Node(2, NodeType.FACT, "second"), 0.4)
    html = Hits([first, second])._repr_html_()
    assert html.index("first") < html.index("second") and "0.25" in html and html.count("<tr>") == 3


def test_hits_are_a_list() -> None:
    hit = Hit(Node(1, NodeType.FACT, "first"), 0.5)
    assert Hits([hit]) == [hit] and Hits() == [] and repr(Hits([hit])) == "1 hits\n  1 0.5000 'first'"


def test_nothing_from_outside_is_markup() -> None:
    report = IngestReport(failures=(DocumentFailure(EVIL, EVIL),))
    for result in (Hits([Hit(NODE, 1.0)]), NODE, response(), report):
        html = result._repr_html_()
        assert "<img" not in html and "&lt;img" in html


def test_a_response_marks_the_sources_it_used() -> None:
    html = response()._repr_html_()
    assert html.count(">*</td>") == 1 and html.index(">*</td>") < html.index("used text")


def test_a_response_without_probabilities_says_so() -> None:
    assert "confidence unknown" in response(confidence=None)._repr_html_()


def test_an_ingest_report_without_failures_shows_counts_alone() -> None:
    html = IngestReport(added=3, chunks=12)._repr_html_()
    assert ">12</td>" in html and "not read" not in html
