"""Files to text; what ingestion makes of them is tested with ingestion."""

from __future__ import annotations

import pytest

from ruvllm.memory.readers import read_document


def test_html_links_are_kept_as_markdown() -> None:
    page = b'<p>See <a href="guide.html#setup">the guide</a>, <a href="mailto:a@b.c">write</a> or <a>nothing</a>.</p>'
    assert read_document(page, ".html").text == "See [the guide](guide.html#setup), write or nothing."


@pytest.mark.parametrize("href", ["javascript:alert(1)", "data:text/html,x", "a b", "x)", ""])
def test_links_that_lead_to_no_document_are_words_only(href: str) -> None:
    assert read_document(f'<p><a href="{href}">word</a></p>'.encode(), ".html").text == "word"
