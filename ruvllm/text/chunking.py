"""Documents to chunks: cut along headings, paragraphs, code blocks and sentences, never above a token budget."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ruvllm.text import sentence_spans

__all__ = ["Block", "Chunk", "Format", "chunk_blocks", "parse_blocks", "title_of"]

Format = Literal["markdown", "rst", "text"]
CountTokens = Callable[[Sequence[str]], list[int]]

CHARS_PER_TOKEN = 8  # most characters a token of a chunk: a wordpiece tokenizer calls any monster word one token
PREFIX_SHARE = 4  # the context prefix takes at most 1 / PREFIX_SHARE of a chunk
MIN_SHARE = 5  # a section's last chunk is filled up to 1 / MIN_SHARE of a chunk from the one before it


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, list, table or code block under its headings, outermost first."""

    headings: tuple[str, ...]
    text: str
    is_code: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document: `text` as it stands there, `prefix` says where that is ("Title > Heading")."""

    text: str
    prefix: str
    heading: str
    position: int

    @property
    def embedded(self) -> str:
        """What is given to the embedder."""
        return f"{self.prefix}\n{self.text}" if self.prefix else self.text


@dataclass(frozen=True, slots=True)
class _Piece:
    """The smallest thing that is packed; `joint` stands between it and the piece before it."""

    text: str
    joint: str
    tokens: int


def parse_blocks(text: str, format: Format) -> list[Block]:
    """Return the blocks of a document in order; a document of headings alone is one block of them."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    parse = {"markdown": _parse_markdown, "rst": _parse_rst, "text": _parse_text}[format]
    blocks = [block for block in parse(lines) if block.text.strip()]
    if not blocks and text.strip():
        blocks = [Block((), text.strip())]
    return blocks


def title_of(blocks: Sequence[Block]) -> str | None:
    """Return the outermost heading of the first block that has one."""
    return next((block.headings[0] for block in blocks if block.headings), None)


def chunk_blocks(
    blocks: Sequence[Block], *, title: str | None, count_tokens: CountTokens, max_tokens: int
) -> list[Chunk]:
    """Return the chunks of a document: whole blocks of one section where they fit, sentences where they do not.

    Each chunk with its prefix is at most `max_tokens` by `count_tokens`; the same input gives the same chunks.
    """
    chunks: list[Chunk] = []
    for headings, section in _sections(blocks):
        path = headings[1:] if headings and headings[0] == title else headings
        prefix = _prefix(title, path, count_tokens, max_tokens // PREFIX_SHARE)
        budget = max_tokens - (count_tokens([prefix])[0] + 1 if prefix else 0)
        pieces = [piece for block in section for piece in _pieces(block, budget, count_tokens)]
        for text in _texts(pieces, prefix, budget, max_tokens, count_tokens):
            chunks.append(Chunk(text, prefix, " > ".join(path), len(chunks)))
    return chunks


def _sections(blocks: Sequence[Block]) -> Iterator[tuple[tuple[str, ...], list[Block]]]:
    section: list[Block] = []
    for block in blocks:
        if section and block.headings != section[0].headings:
            yield section[0].headings, section
            section = []
        section.append(block)
    if section:
        yield section[0].headings, section


def _prefix(title: str | None, path: tuple[str, ...], count_tokens: CountTokens, budget: int) -> str:
    """Return "title > path", short: middle headings go first, then the end is cut."""
    parts = [" ".join(part.split()) for part in (title or "", *path)]
    parts = [part for part in parts if part]
    while len(parts) > 2 and not _is_within(" > ".join(parts), budget, count_tokens):
        del parts[1]
    return _cut(" > ".join(parts), budget, count_tokens)[0] if parts else ""


def _is_within(text: str, budget: int, count_tokens: CountTokens) -> bool:
    return len(text) <= budget * CHARS_PER_TOKEN and count_tokens([text])[0] <= budget


# -- packing ---------------------------------------------------------------------------------------------------------


def _texts(pieces: list[_Piece], prefix: str, budget: int, max_tokens: int, count_tokens: CountTokens) -> Iterator[str]:
    """Yield the texts of one section; what turns out too long when counted whole is halved."""
    waiting = _packed(pieces, budget)[::-1]
    while waiting:
        group = waiting.pop()
        text = _joined(group)
        if len(group) > 1 and count_tokens([f"{prefix}\n{text}" if prefix else text])[0] > max_tokens:
            middle = len(group) // 2
            waiting += [group[middle:], group[:middle]]
        else:
            yield text


def _packed(pieces: list[_Piece], budget: int) -> list[list[_Piece]]:
    groups: list[list[_Piece]] = []
    for piece in pieces:
        if groups and _fits([*groups[-1], piece], budget):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    if len(groups) > 1:
        before, last = groups[-2:]
        while _tokens(last) < budget // MIN_SHARE < _tokens(before[:-1]) and _fits([before[-1], *last], budget):
            last.insert(0, before.pop())
    return groups


def _fits(group: Sequence[_Piece], budget: int) -> bool:
    return _tokens(group) <= budget and len(_joined(group)) <= budget * CHARS_PER_TOKEN


def _tokens(group: Sequence[_Piece]) -> int:
    return sum(piece.tokens for piece in group)


def _joined(group: Sequence[_Piece]) -> str:
    return group[0].text + "".join(piece.joint + piece.text for piece in group[1:])


# -- cutting ---------------------------------------------------------------------------------------------------------


def _pieces(block: Block, budget: int, count_tokens: CountTokens) -> Iterator[_Piece]:
    """Yield the block whole when it fits, else its lines (code) or sentences, else words, else characters."""
    steps = (_by_lines, _by_words) if block.is_code else (_by_sentences, _by_lines, _by_words)
    yield from _split(block.text, "\n\n", steps, budget, count_tokens)


def _split(
    text: str,
    joint: str,
    steps: Sequence[Callable[[str], tuple[str, list[str]]]],
    budget: int,
    count_tokens: CountTokens,
) -> Iterator[_Piece]:
    if len(text) <= budget * CHARS_PER_TOKEN:  # counting megabytes would take seconds
        tokens = count_tokens([text])[0] if text.strip() else 0
        if tokens <= budget:
            yield _Piece(text, joint, tokens)
            return
    if not steps:
        for i, part in enumerate(_cut(text, budget, count_tokens)):
            yield _Piece(part, "" if i else joint, count_tokens([part])[0])
        return
    inner, parts = steps[0](text)
    for i, part in enumerate(parts):
        yield from _split(part, inner if i else joint, steps[1:], budget, count_tokens)


def _by_sentences(text: str) -> tuple[str, list[str]]:
    return " ", [text[start:end] for start, end in sentence_spans(text)]


def _by_lines(text: str) -> tuple[str, list[str]]:
    return "\n", [line for line in text.split("\n") if line.strip()]


def _by_words(text: str) -> tuple[str, list[str]]:
    return " ", text.split()


def _cut(text: str, budget: int, count_tokens: CountTokens) -> list[str]:
    """Return `text` in parts of at most `budget` tokens, cut between any two characters."""
    parts = []
    while text:
        length = min(len(text), budget * CHARS_PER_TOKEN)
        while length > 1 and (tokens := count_tokens([text[:length]])[0]) > budget:
            length = max(1, min(length - 1, length * budget // tokens))
        parts.append(text[:length])
        text = text[length:]
    return parts


# -- structure -------------------------------------------------------------------------------------------------------

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_RST_LINE = re.compile(r"([!-/:-@\[-`{-~])\1{2,}[ \t]*$")


class _Outline:
    """The headings in force, as blocks are read."""

    def __init__(self) -> None:
        self._levels: list[tuple[int, str]] = []

    def enter(self, level: int, heading: str) -> None:
        self._levels = [entry for entry in self._levels if entry[0] < level]
        if heading.strip():
            self._levels.append((level, heading.strip()))

    def block(self, lines: Sequence[str], *, is_code: bool = False) -> Block:
        return Block(tuple(heading for _, heading in self._levels), "\n".join(lines).strip("\n").rstrip(), is_code)


def _parse_text(lines: list[str]) -> Iterator[Block]:
    outline, paragraph = _Outline(), list[str]()
    for line in [*lines, ""]:
        if line.strip():
            paragraph.append(line)
        elif paragraph:
            yield outline.block(paragraph)
            paragraph = []


def _parse_markdown(lines: list[str]) -> Iterator[Block]:
    outline, paragraph = _Outline(), list[str]()
    fence = ""
    for line in lines:
        opened = _FENCE.match(line)
        if fence:
            paragraph.append(line)
            if opened and opened[1].startswith(fence) and not line.strip().strip(fence[0]):
                yield outline.block(paragraph, is_code=True)
                paragraph, fence = [], ""
            continue
        heading = _ATX.match(line)
        underline = _SETEXT.match(line) if len(paragraph) == 1 and not _is_item(paragraph[0]) else None
        if underline:
            outline.enter(1 if underline[1][0] == "=" else 2, paragraph[0])
            paragraph = []
        elif opened or heading or not line.strip():
            if paragraph:
                yield outline.block(paragraph)
            paragraph = [line] if opened else []
            fence = opened[1] if opened else ""
            if heading:
                outline.enter(len(heading[1]), heading[2] or "")
        else:
            paragraph.append(line)
    if paragraph:
        yield outline.block(paragraph, is_code=bool(fence))


def _is_item(line: str) -> bool:
    return re.match(r"\s*([-*+]|\d+[.)])\s", line) is not None or "|" in line


def _parse_rst(lines: list[str]) -> Iterator[Block]:
    outline, paragraph = _Outline(), list[str]()
    styles: list[str] = []  # in order of first appearance: the level of each kind of underline
    in_code = False
    i = 0
    while i < len(lines):
        line = lines[i]
        if in_code and line.strip() and line[0] not in " \t":
            yield outline.block(paragraph, is_code=True)
            paragraph, in_code = [], False
        style, heading, step = ("", "", 1) if paragraph else _rst_heading(lines, i)
        if style:
            styles += [] if style in styles else [style]
            outline.enter(styles.index(style) + 1, heading)
        elif in_code or line.strip():
            paragraph.append(line)
        elif paragraph and _opens_code(paragraph):
            paragraph.append(line)
            in_code = True
        elif paragraph:
            yield outline.block(paragraph)
            paragraph = []
        i += step
    if paragraph:
        yield outline.block(paragraph, is_code=in_code)


def _rst_heading(lines: Sequence[str], i: int) -> tuple[str, str, int]:
    """Return (style, heading, lines taken) when a heading starts at line `i`, else ("", "", 1)."""
    line, below = lines[i], lines[i + 1] if i + 1 < len(lines) else ""
    if _RST_LINE.match(line) and below.strip() and i + 2 < len(lines) and lines[i + 2].rstrip() == line.rstrip():
        return line[0] * 2, below, 3
    if line.strip() and line[0] not in " \t" and not _RST_LINE.match(line) and _is_underline(below, line):
        return below[0], line, 2
    return "", "", 1


def _is_underline(line: str, heading: str) -> bool:
    return _RST_LINE.match(line) is not None and len(line.rstrip()) >= len(heading.rstrip())


def _opens_code(paragraph: Sequence[str]) -> bool:
    return paragraph[-1].rstrip().endswith("::") or re.match(r"\.\. (code|parsed-literal)", paragraph[0]) is not None
