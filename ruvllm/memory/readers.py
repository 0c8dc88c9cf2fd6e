"""Files to text: decode, take front matter off, bring HTML and PDF to Markdown-like text."""

from __future__ import annotations

import codecs
import io
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from ruvllm.text.chunking import Format

__all__ = ["SUFFIXES", "Document", "Unreadable", "read_document"]

MAX_NESTING = 100  # of front matter; what lies deeper would take the stack from finalisers that happen to run meanwhile


class Unreadable(Exception):
    """This file cannot be ingested; the message says why."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document's text, with what its front matter said."""

    text: str
    format: Format
    title: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


def read_document(content: bytes, suffix: str) -> Document:
    """Return the document in a file's bytes; `suffix` is one of SUFFIXES, in lower case.

    Raises:
        Unreadable: empty, binary, not UTF-8, or a PDF that cannot be read.
    """
    if not content.strip():
        raise Unreadable("it is empty")
    document = SUFFIXES[suffix](content)
    if not document.text.strip():
        raise Unreadable("there is no text in it")
    return document


def _decoded(content: bytes) -> str:
    """Return text from UTF-8 or, with a byte order mark, UTF-16."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        name = "utf-16"
    elif b"\0" in content:
        raise Unreadable(f"it is binary (a zero byte at offset {content.index(0)})")
    else:
        name = "utf-8-sig"
    try:
        return content.decode(name)
    except UnicodeDecodeError as error:
        shift = 3 if name == "utf-8-sig" and content.startswith(codecs.BOM_UTF8) else 0
        encoding = name.removesuffix("-sig").upper()
        raise Unreadable(f"it is not {encoding} (byte offset {error.start + shift})") from error


def _read_markdown(content: bytes) -> Document:
    text, metadata = _front_matter(_decoded(content))
    title = metadata.pop("title", None)
    return Document(text, "markdown", str(title) if title else None, metadata)


def _read_rst(content: bytes) -> Document:
    return Document(_decoded(content), "rst")


def _read_text(content: bytes) -> Document:
    return Document(_decoded(content), "text")


def _front_matter(text: str) -> tuple[str, dict[str, Any]]:
    """Split off a leading block between --- lines (a small part of YAML: values and lists) or +++ lines (TOML)."""
    found = re.match(r"(---|\+\+\+)[ \t]*\r?\n(.*?)\r?\n\1[ \t]*(?:\r?\n|$)", text, re.DOTALL)
    if not found:
        return text, {}
    if found[1] == "---":
        metadata = _key_values(found[2])
    else:
        _require_shallow(found[2])
        try:
            metadata = {key: _plain(value) for key, value in tomllib.loads(found[2]).items()}
        except tomllib.TOMLDecodeError:
            return text, {}
    return (text[found.end() :], metadata) if metadata else (text, {})


def _key_values(block: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    key = ""
    for line in block.splitlines():
        item = re.match(r"\s*-\s+(.*)$", line)
        pair = re.match(r"([A-Za-z_][\w -]*):\s*(.*)$", line)
        if item and key and (metadata[key] == "" or isinstance(metadata[key], list)):
            metadata[key] = metadata[key] or []
            metadata[key].append(_unquoted(item[1]))
        elif pair:
            key, value = pair[1].strip(), pair[2].strip()
            is_list = value.startswith("[") and value.endswith("]")
            metadata[key] = [_unquoted(v) for v in value[1:-1].split(",") if v.strip()] if is_list else _unquoted(value)
    return metadata


def _unquoted(value: str) -> str:
    value = value.strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def _require_shallow(block: str) -> None:
    """Raise Unreadable where brackets lie deep in each other; those in texts count, too, of which few are left open."""
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", block):
        depth = max(depth + (1 if bracket in "[{" else -1), 0)
        _require_depth(depth)


def _require_depth(depth: int) -> None:
    if depth > MAX_NESTING:
        raise Unreadable(f"its front matter is nested more than {MAX_NESTING} deep")


def _plain(value: Any, depth: int = 1) -> Any:
    """Return a TOML value as JSON has it: dates become text."""
    _require_depth(depth)
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item, depth + 1) for key, item in value.items()}
    return value if isinstance(value, str | int | float | bool) else str(value)


# -- HTML ------------------------------------------------------------------------------------------------------------

MAX_UNENDED = 4096  # characters of a tag or comment without an end; more are dropped: each "<" in them is a new try

_SKIPPED = frozenset(("script", "style", "template", "noscript", "svg", "nav"))
_BREAKS = frozenset(
    ("p", "div", "section", "article", "main", "ul", "ol", "table", "blockquote", "dl", "dd", "dt", "figure", "header",
     "footer", "form", "hr", "aside", "details", "summary")
)  # fmt: skip


class _HtmlToMarkdown(HTMLParser):
    """Keeps headings, paragraphs, list items, table rows, links and code; drops scripts, styles and navigation."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.title = ""
        self._skipped: list[str] = []
        self._in_title = False
        self._in_pre = False
        self._targets: list[str] = []  # of the links that are open, "" for one that leads nowhere

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_title = tag == "title" and not self._skipped
        if tag in _SKIPPED:
            if tag not in self._skipped:  # its end is that of all that began inside
                self._skipped.append(tag)
        elif re.fullmatch(r"h[1-6]", tag):
            self.parts.append(f"\n\n{'#' * int(tag[1])} ")
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag == "pre":
            self.parts.append("\n\n```\n")
            self._in_pre = True
        elif tag == "a" and not self._skipped:
            self._targets.append(_link_target(dict(attrs).get("href") or ""))
            self.parts.append("[" if self._targets[-1] else "")
        elif tag in ("br", "tr"):
            self.parts.append("\n")
        elif tag in ("td", "th"):
            self.parts.append(" | ")
        elif tag in _BREAKS:
            self.parts.append("\n\n")

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False
        if tag in self._skipped:
            del self._skipped[self._skipped.index(tag) :]
        elif tag == "pre":
            self.parts.append("\n```\n\n")
            self._in_pre = False
        elif tag == "a" and self._targets and not self._skipped:
            target = self._targets.pop()
            self.parts.append(f"]({target})" if target else "")
        elif tag in _BREAKS or re.fullmatch(r"h[1-6]", tag):
            self.parts.append("\n\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif self._in_pre:
            self.parts.append(data)
        elif not self._skipped:
            self.parts.append(re.sub(r"\s+", " ", data))


def _link_target(href: str) -> str:
    """Return where a link leads, fit to stand in Markdown; "" for what is no document."""
    href = href.strip()
    is_document = not re.match(r"(?!https?:)[a-z][a-z0-9+.-]*:", href, re.IGNORECASE)
    return href if is_document and href and not re.search(r"[\s()<>]", href) else ""


def _read_html(content: bytes) -> Document:
    parser = _HtmlToMarkdown()
    parser.feed(_decoded(content))
    rest = parser.rawdata
    if parser.cdata_elem or not rest.startswith("<") or len(rest) <= MAX_UNENDED:
        parser.close()
    text = re.sub(r"(?<![ \t])[ \t]*\n[ \t]*\n\s*\n", "\n\n", "".join(parser.parts))
    text = re.sub(r"(?m)^ (?=\S)", "", text)
    return Document(text.strip(), "markdown", " ".join(parser.title.split()) or None)


# -- PDF -------------------------------------------------------------------------------------------------------------


def _read_pdf(content: bytes) -> Document:
    try:
        from pypdf import PdfReader
        from pypdf.errors import PyPdfError
    except ImportError as error:
        raise Unreadable('PDF needs an extra: pip install "ruvllm[pdf]"') from error
    try:
        reader = PdfReader(io.BytesIO(content))
        text = "\n\n".join(page.extract_text() for page in reader.pages)
        title = reader.metadata.title if reader.metadata else None
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(f"it is not a readable PDF: {error}") from error
    return Document(_whole(text), "text", _whole(str(title)) if title else None)


def _whole(text: str) -> str:
    """Return text without the lone surrogates that pypdf makes of broken fonts."""
    return text.encode("utf-8", "replace").decode("utf-8")


SUFFIXES: dict[str, Callable[[bytes], Document]] = {
    ".md": _read_markdown,
    ".markdown": _read_markdown,
    ".txt": _read_text,
    ".rst": _read_rst,
    ".html": _read_html,
    ".htm": _read_html,
    ".pdf": _read_pdf,
}
