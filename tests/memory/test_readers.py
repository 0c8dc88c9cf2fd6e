"""Files to text; what ingestion makes of them is tested with ingestion."""

from __future__ import annotations

import time

import pytest

from ruvllm.memory.readers import Unreadable, read_document


def test_html_links_are_kept_as_markdown() -> None:
    page = b'<p>See <a href="guide.html#setup">the guide</a>, <a href="mailto:a@b.c">write</a> or <a>nothing</a>.</p>'
    assert read_document(page, ".html").text == "See [the guide](guide.html#setup), write or nothing."


@pytest.mark.parametrize("href", ["javascript:alert(1)", "data:text/html,x", "a b", "x)", ""])
def test_links_that_lead_to_no_document_are_words_only(href: str) -> None:
    assert read_document(f'<p><a href="{href}">word</a></p>'.encode(), ".html").text == "word"


@pytest.mark.parametrize(
    ("suffix", "page"),
    [
        (".md", "---\ntags:\n" + "- a\n" * 200_000 + "---\nThe text."),
        (".html", "<p>The text.</p>" + "<svg>" * 30_000 + "</nav>" * 30_000),
        (".html", "<pre>The text." + " " * 100_000 + "</pre>"),
        (".html", "<p>The text.</p>" + "<a " * 30_000),
        (".html", "<p>The text.</p>" + "<!--" * 100_000),
    ],
    ids=["front matter", "skipped tags", "spaces", "tags without an end", "comments without an end"],
)
def test_the_time_to_read_grows_with_the_length_alone(suffix: str, page: str) -> None:
    before = time.process_time()
    text = read_document(page.encode(), suffix).text
    assert "The text." in text
    assert time.process_time() - before < 5.0  # minutes where it grows with the square


@pytest.mark.parametrize(
    "page",
    ["<p>" + "word " * 2000 + "AT&T", "<p>" + "word " * 2000 + "<b", "<p>" + "word " * 2000 + "<!-- cut"],
    ids=["an ampersand", "a tag", "a comment"],
)
def test_page_that_is_cut_off_keeps_the_text_before(page: str) -> None:
    text = read_document(page.encode(), ".html").text
    assert text.count("word") == 2000
    assert text.endswith("AT&T") or "&" not in page


@pytest.mark.parametrize(
    "line", ["x = " + "[" * 5000 + "]" * 5000, "x = " + "{a=" * 5000 + "1" + "}" * 5000, ".".join("a" * 5000) + " = 1"]
)
def test_front_matter_is_not_followed_deeper_than_the_stack_has_room_for(line: str) -> None:
    with pytest.raises(Unreadable, match="nested more than 100 deep"):
        read_document(f"+++\n{line}\n+++\nBody.".encode(), ".md")


def test_front_matter_may_be_nested_and_hold_brackets() -> None:
    page = b'+++\nx = [[[1]], {a.b = "[[{"}]\ny = "]]"\n+++\nBody.'
    assert read_document(page, ".md").metadata == {"x": [[[1]], {"a": {"b": "[[{"}}], "y": "]]"}
