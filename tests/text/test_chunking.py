"""ruvllm/text/chunking.py: structure first, then sentences, never above the budget."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ruvllm.text.chunking import Chunk, Format, chunk_blocks, parse_blocks, title_of

GUIDE = """# Guide

Intro.

## Install

First step.

```sh
pip install .

run it
```

### Windows

- one
- two

Use
---

Last.
"""


def words(texts: Sequence[str]) -> list[int]:
    return [len(re.findall(r"\w+|[^\w\s]", text)) for text in texts]


def chunk(text: str, format: Format = "markdown", *, title: str | None = None, max_tokens: int = 64) -> list[Chunk]:
    return chunk_blocks(parse_blocks(text, format), title=title, count_tokens=words, max_tokens=max_tokens)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_markdown_is_cut_at_its_headings() -> None:
    chunks = chunk(GUIDE, title="Guide")
    assert [(c.heading, c.text, c.position) for c in chunks] == [
        ("", "Intro.", 0),
        ("Install", "First step.\n\n```sh\npip install .\n\nrun it\n```", 1),
        ("Install > Windows", "- one\n- two", 2),
        ("Use", "Last.", 3),
    ]
    assert [c.prefix for c in chunks] == ["Guide", "Guide > Install", "Guide > Install > Windows", "Guide > Use"]
    assert chunks[3].embedded == "Guide > Use\nLast."


def test_title_is_the_first_outermost_heading() -> None:
    assert title_of(parse_blocks(GUIDE, "markdown")) == "Guide"
    assert title_of(parse_blocks("no heading", "markdown")) is None


def test_headings_inside_code_are_code() -> None:
    assert [c.heading for c in chunk("# A\n\n```\n# not a heading\n```\n")] == ["A"]


def test_longer_fences_and_unclosed_ones_hold() -> None:
    assert len(parse_blocks("````\n```\n# x\n```\n````\n\nafter", "markdown")) == 2
    assert [block.is_code for block in parse_blocks("```\nnever\n\nclosed", "markdown")] == [True]


def test_restructured_text_has_levels_by_style() -> None:
    text = "====\nTop\n====\n\nIntro::\n\n    code one\n\n    code two\n\n"
    text += "Sub\n---\n\nBody.\n\nDeep\n~~~~\n\nMore.\n\nSub 2\n-----\n\nEnd.\n"
    blocks = parse_blocks(text, "rst")
    assert [(b.headings, b.text) for b in blocks] == [
        (("Top",), "Intro::\n\n    code one\n\n    code two"),
        (("Top", "Sub"), "Body."),
        (("Top", "Sub", "Deep"), "More."),
        (("Top", "Sub 2"), "End."),
    ]


def test_document_of_headings_alone_is_one_chunk() -> None:
    assert [c.text for c in chunk("# Only\n\n## Headings\n")] == ["# Only\n\n## Headings"]


def test_tiny_paragraphs_of_a_section_are_merged() -> None:
    assert len(chunk("\n\n".join(f"Short {i}." for i in range(8)))) == 1


def test_paragraphs_are_cut_between_sentences() -> None:
    sentences = [f"Sentence number {i} has exactly eight words." for i in range(20)]
    chunks = chunk(" ".join(sentences), max_tokens=40)
    assert all(c.text.startswith("Sentence") and c.text.endswith("words.") for c in chunks)
    assert " ".join(c.text for c in chunks) == " ".join(sentences)


def test_last_chunk_of_a_section_is_not_a_scrap() -> None:
    sentences = [f"Sentence number {i} has exactly eight words." for i in range(5)]
    chunks = chunk(" ".join([*sentences, "End."]), max_tokens=41)
    assert [words([c.text])[0] for c in chunks] == [32, 10]


def test_code_that_fits_is_whole_and_longer_code_is_cut_between_lines() -> None:
    code = "```\n" + "\n".join(f"line {i}" for i in range(20)) + "\n```"
    assert code in chunk("word " * 30 + "\n\n" + code)[1].text
    long = "```\n" + "\n".join(f"line {i} of it" for i in range(100)) + "\n```"
    assert all(re.fullmatch(r"(```|line \d+ of it)", line) for c in chunk(long) for line in c.text.split("\n"))


def test_line_without_spaces_is_cut_by_characters() -> None:
    text = "x" * 10_000
    chunks = chunk(text, max_tokens=32)
    assert "".join(c.text for c in chunks) == text
    assert max(len(c.text) for c in chunks) == 32 * 8
    dense = "-" * 10_000  # one token each
    assert {words([c.text])[0] for c in chunk(dense, max_tokens=32)[:-1]} == {32}


@pytest.mark.parametrize(
    "text", ["word " * 20_000, "x" * 100_000, "# " + "head " * 20_000 + "\n\n## Sub\n\n### Low\n\nBody."]
)
def test_tokenizer_never_sees_more_than_could_be_a_chunk(text: str) -> None:
    longest = 0

    def count(texts: Sequence[str]) -> list[int]:
        nonlocal longest
        longest = max(longest, *map(len, texts))
        return words(texts)

    chunk_blocks(parse_blocks(text, "markdown"), title="t " * 50_000, count_tokens=count, max_tokens=32)
    assert longest <= 2 * 32 * 8


def test_long_headings_leave_room_for_text() -> None:
    heading = " ".join(f"word{i}" for i in range(200))
    chunks = chunk(f"# {heading}\n\n## Mid {heading}\n\n## Last\n\nBody.", title=heading, max_tokens=40)
    assert all(words([c.prefix])[0] <= 10 for c in chunks)
    assert chunks[-1].text == "Body."


TEXTS = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.sampled_from(
            ["# H", "## Sub", "```", "---", "===", "- item", "    indented::", "word " * 50, "x" * 600, "", "|a|b|"]
        ),
    ),
    max_size=25,
).map("\n".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXTS, st.sampled_from(["markdown", "rst", "text"]), st.sampled_from([None, "A title", "t " * 40]))
def test_any_text_stays_in_budget_and_loses_nothing_but_headings(text: str, format: Format, title: str | None) -> None:
    chunks = chunk(text, format, title=title, max_tokens=32)
    assert chunks == chunk(text, format, title=title, max_tokens=32)
    assert [c.position for c in chunks] == list(range(len(chunks)))
    assert all(c.text.strip() and words([c.embedded])[0] <= 32 and len(c.text) <= 32 * 8 for c in chunks)
    if format == "text":
        assert squeezed("".join(c.text for c in chunks)) == squeezed(text)
    assert bool(chunks) == bool(text.strip())


@pytest.mark.real
def test_real_tokenizer_is_never_exceeded(minilm_dir, shared_dir) -> None:  # type: ignore[no-untyped-def]
    import gzip
    import json

    from ruvllm.config import EmbeddingConfig, ModelsConfig
    from ruvllm.embedding import open_embedder

    encoder = open_embedder(EmbeddingConfig(model=str(minilm_dir)), ModelsConfig(offline=True))
    with gzip.open(shared_dir / "data/multihop/hotpotqa_corpus.jsonl.gz", "rt") as stream:
        text = "\n\n".join(
            f"## {row['title']}\n\n{row['text']}" for row, _ in zip(map(json.loads, stream), range(300), strict=False)
        )
    chunks = chunk_blocks(
        parse_blocks(text, "markdown"), title="Pool", count_tokens=encoder.count_tokens, max_tokens=200
    )
    counts = encoder.count_tokens([c.embedded for c in chunks])
    assert max(counts) <= 200
    assert len(chunks) >= 290
