"""Sentence boundaries: examples, properties over all of Unicode, and a plain Python twin."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruvllm.text import sentence_spans
from ruvllm.text.sentences import BEFORE_NUMBER, NEVER_LAST, STARTERS

BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
WIDE = "。！？｡．"
STOPS = ".!?…‼⁇⁈⁉؟۔։।॥" + WIDE
CLOSERS = "\"')]}»”’›」』）】》〉〕］｝*_`"
OPENERS = "\"'([{«“‘‹„‚「『（【《〈〔［｛*_`¿¡"
CANDIDATE = re.compile(f"(?P<gap>[{BREAKS}]\\s*)|(?P<stops>[{re.escape(STOPS)}]+)(?P<closers>[{re.escape(CLOSERS)}]*)")
LOWER = str.maketrans({chr(c): chr(c + 32) for c in range(ord("A"), ord("Z") + 1)})

ANY = st.text(st.characters(), max_size=80)
PIECES = """
    Dr. U.S. e.g. p.m. J. No. 5 3.14 1. The he A a Army cat Now été ÉTÉ 你好 。 ！ ？ . ... … ! ? ?! " ' ( ) ” “ * - # >
""".split()
TRICKY = st.lists(
    st.sampled_from([*PIECES, " ", " ", " ", " ", "\n", "\n\n", "\r\n", "\r\n\r\n", "\f", "\u2029", " \n "])
).map("".join)


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


def ends_paragraph(text: str, i: int) -> bool:
    gap = re.compile(r"\s*").match(text, i)
    assert gap is not None
    breaks = re.findall(f"\r\n|[{BREAKS}]", gap.group())
    is_block = re.compile(r"[#>|]|([-*+•]|\d+[.)])\s").match(text, gap.end()) is not None
    page = "\f" in breaks or "\u2029" in breaks
    return page or len(breaks) >= 2 or gap.end() == len(text) or (len(breaks) == 1 and is_block)


def word_before(text: str, start: int, end: int) -> str:
    first = end
    while first > start and (text[first - 1] == "." or text[first - 1].isalnum()):
        first -= 1
    return text[first:end]


def word_at(text: str, start: int) -> str:
    end = start
    while end < len(text) and text[end].isalnum():
        end += 1
    return text[start:end]


def ends_sentence(text: str, start: int, match: re.Match[str]) -> bool:
    stops, end = match["stops"], match.end()
    if end == len(text) or stops[-1] in WIDE:
        return True
    if not text[end].isspace():
        return False
    if ends_paragraph(text, end):
        return True
    rest = text[end:].lstrip().lstrip(OPENERS)
    if rest[:1].islower():
        return stops[-1] not in ".…" and not match["closers"]
    if stops != ".":
        return True
    before, after = word_before(text, start, match.start()), word_at(rest, 0)
    is_first = match.start() - len(before) == start
    if is_first and (len(before) == 1 or all(c == "." or c.isdecimal() for c in before)):
        return False
    word = before.translate(LOWER)
    if word in NEVER_LAST or (word in BEFORE_NUMBER and rest[:1].isdecimal()):
        return False
    if len(before) == 1:
        initials = before.isupper()
    else:
        initials = len(before) % 2 == 1 and all(c.isalnum() for c in before[::2]) and set(before[1::2]) == {"."}
    is_initial_next = len(after) == 1 and rest[1:2] == "."
    return not initials or (after.translate(LOWER) in STARTERS and not is_initial_next)


def twin_spans(text: str) -> list[tuple[int, int]]:
    spans, start = [], len(text) - len(text.lstrip())
    while start < len(text):
        end = len(text)
        for match in CANDIDATE.finditer(text, start):
            if match["gap"] and ends_paragraph(text, match.start()):
                end = match.start()
                break
            if not match["gap"] and ends_sentence(text, start, match):
                end = match.end()
                break
        spans.append((start, start + len(text[start:end].rstrip())))
        start = len(text) - len(text[end:].lstrip())
    return spans


@given(ANY | TRICKY)
def test_spans_equal_their_twin(text: str) -> None:
    assert sentence_spans(text) == twin_spans(text)


@given(ANY | TRICKY)
def test_spans_cover_all_but_white_space_in_order(text: str) -> None:
    covered, last = set(), 0
    for start, end in sentence_spans(text):
        assert last <= start < end
        assert text[start:end] == text[start:end].strip()
        covered.update(range(start, end))
        last = end
    assert all(text[i].isspace() for i in range(len(text)) if i not in covered)


@pytest.mark.parametrize(
    "expected",
    [
        ["One.", "Two!", "Three?", "Four"],
        ["Dr. Smith met Mrs. Jones at 5 p.m. on Monday.", "They talked."],
        ["Tools, e.g. hammers, i.e. simple ones, cf. Smith, help.", "Nails too."],
        ["The U.S. Army left.", "It was in the U.S.", "The war ended."],
        ["J. R. R. Tolkien wrote it.", "J. K. Rowling did not."],
        ["Pi is 3.14 and e is 2.718.", "Version 1.2.3 is out."],
        ["See Fig. 3 and No. 5.", "I said no.", "He left in Jan. 1999."],
        ["Well... yes.", "Wait...", "What?!", "No…", "Really."],
        ['He said "Stop."', "She did.", "(It was late.)", "“Why?”", "‘Because.’"],
        ['"Really?" he asked.', "Nobody knew."],
        ["Ask www.example.com.", "It answers."],
        ["**Bold.**", "*Italic.*", "`Code.`"],
        ["1. Install the package.", "2. Run it."],
        ["¿Qué es esto?", "¡Nada!", "Élan vital.", "Ça va."],
    ],
)
def test_sentences_are_found(expected: list[str]) -> None:
    assert sentences(" ".join(expected)) == expected


def test_chinese_and_japanese_need_no_space() -> None:
    assert sentences("你好。今天好吗？很好！「はい。」そうです") == [
        "你好。",
        "今天好吗？",
        "很好！",
        "「はい。」",
        "そうです",
    ]


@pytest.mark.parametrize("blank", ["\n\n", "\r\n\r\n", "\n \t\n", "\u2029", "\n\f"])
def test_a_blank_line_ends_a_sentence(blank: str) -> None:
    assert sentences(f"A heading{blank}the text") == ["A heading", "the text"]


@pytest.mark.parametrize("newline", ["\n", "\r\n", " \n  "])
def test_a_wrapped_line_goes_on(newline: str) -> None:
    assert sentences(f"A line that is{newline}wrapped. Next.") == [f"A line that is{newline}wrapped.", "Next."]


def test_list_items_stand_alone() -> None:
    assert sentences("Things\n- one\n- two\n* three\n1. four\n2) five") == [
        "Things",
        "- one",
        "- two",
        "* three",
        "1. four",
        "2) five",
    ]


@pytest.mark.parametrize("text", ["", " ", "\n\n\t\u3000"])
def test_white_space_has_no_sentences(text: str) -> None:
    assert sentence_spans(text) == []


@pytest.mark.parametrize("wrong", [None, b"bytes", 3])
def test_what_is_not_text_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError):
        sentence_spans(wrong)  # type: ignore[arg-type]
