"""What nodes are called, and where a text mentions it: titles, headings, subjects, and rare names and terms."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

from ruvllm.text import STOP_WORDS

__all__ = ["NameIndex", "name_of", "names_of", "rare_terms", "term_hash", "words_of"]

MAX_WORDS = 10  # of a name
MIN_LETTERS = 4  # of a name of one word
MAX_NODES = 5  # that share a name; one that more are called by says nothing about which is meant
MAX_TERM = 128  # characters of a name or term; what is longer is data
MAX_TERMS = 24  # rare names and terms taken from one text
SUBJECT_CHARS = 200  # of a text, in which its subject is looked for

_WORD = re.compile(r"\w+")
_DIGITS = re.compile(r"\d+")
_PARENTHESES = re.compile(r"\s*\([^()]*\)\s*$")
_CAPITALISED = r"[\"'“‘]?[A-Z0-9][\w'’.\-]*[\"'”’]?"
_LINKING = r"(?:of|the|and|de|von|van|la|le|du|for|in|on|a|to|&)"
_SUBJECT = re.compile(rf"(?:The |A |An )?{_CAPITALISED}(?:\s+(?:{_LINKING}\s+)*{_CAPITALISED})*")
_DEFINED = re.compile(r"\s*(?:\(|,|(?:is|was)\b)")
_SPAN = re.compile(r"[A-Z][\w'’\-]*\.?(?: +(?:(?:of|the|de|von|van|la|le|du|and|&) +)?[A-Z][\w'’\-]*\.?)*")
_TOKEN = re.compile(r"\w+(?:-\w+)*")
_CAMEL = re.compile(r"[a-z][A-Z]")


def name_of(text: str) -> str | None:
    """Return a name as it is looked up: words in lower case with single spaces; None when it would match at random.

    A closing remark in parentheses and stop words at the end are left out. No name is one letter, a short or a stop
    word, a number, or longer than MAX_WORDS.
    """
    words = _WORD.findall(_PARENTHESES.sub("", text[: 40 * MAX_WORDS]).lower())
    while words and words[-1] in STOP_WORDS:
        words.pop()
    if not 1 <= len(words) <= MAX_WORDS or all(word in STOP_WORDS or _DIGITS.fullmatch(word) for word in words):
        return None
    return None if len(words) == 1 and len(words[0]) < MIN_LETTERS else " ".join(words)


def words_of(text: str) -> list[str]:
    """Return the words of a text as names are looked for among them."""
    return _WORD.findall(text.lower())


def names_of(text: str, metadata: Mapping[str, Any], *, is_first: bool) -> list[str]:
    """Return what a node is called: its heading, the subject it opens with, on a document's first node the title.

    A text that opens with a name, as articles and notes about something do, is found by that name, and a person by
    first and last name alone.
    """
    titles = [metadata.get("title")] if is_first else []
    if heading := metadata.get("heading"):
        titles.append(str(heading).rpartition(" > ")[2])
    names = [name_of(str(title)) for title in titles if title]
    if "speaker" not in metadata and (subject := _subject_of(text)):
        names.append(name_of(subject))
        words = subject.split()
        if len(words) in (3, 4) and not STOP_WORDS & {word.lower() for word in words}:
            names.append(name_of(f"{words[0]} {words[-1]}"))
    return list(dict.fromkeys(name for name in names if name is not None))


def _subject_of(text: str) -> str | None:
    """Return the name that a text opens with; a lone word, capital as every first word is, only where it is defined."""
    opening = _SUBJECT.match(text[:SUBJECT_CHARS].lstrip())
    if not opening:
        return None
    subject = re.split(r"[(,;]|\.\s", opening[0])[0].strip()
    is_name = len(subject.split()) > 1 or _DEFINED.match(text.lstrip()[len(subject) :])
    return subject if is_name else None


def rare_terms(text: str) -> list[str]:
    """Return the names and the technical terms that stand in a text, at most MAX_TERMS, each once, in lower case."""
    found: dict[str, None] = {}
    for span in _SPAN.findall(text):
        if len(span) <= MAX_TERM and (name := _name_in(span)):
            found[name] = None
    for token in _TOKEN.findall(text):
        if len(token) <= MAX_TERM and _is_term(token):
            found[token.lower()] = None
    return list(found)[:MAX_TERMS]


@lru_cache(maxsize=65_536)  # texts repeat their names: 12 MB
def _name_in(span: str) -> str | None:
    """Return capitalised words as a name, without stop words around it; None when it is too short or too long."""
    words = _WORD.findall(span.lower())
    while words and words[0] in STOP_WORDS:
        del words[0]
    while words and words[-1] in STOP_WORDS:
        words.pop()
    if 2 <= len(words) <= MAX_WORDS or (len(words) == 1 and len(words[0]) >= MIN_LETTERS):
        return " ".join(words)
    return None


@lru_cache(maxsize=65_536)  # texts repeat their words: 8 MB
def _is_term(token: str) -> bool:
    """Return whether a word is an identifier: camelCase, snake_case, or letters with digits as in CVE-2024-1."""
    if token.isalpha():
        return not token.islower() and _CAMEL.search(token) is not None
    return "_" in token.strip("_") or (any(c.isdigit() for c in token) and any(c.isalpha() for c in token))


def term_hash(term: str) -> int:
    """Return the signed 64-bit number that table `mentions` keeps for a term."""
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest(), "little", signed=True)


class NameIndex:
    """Finds the names of nodes in texts, by their first two words and their length. Not safe from several threads.

    A brain has as many names as documents, so that they are kept in few objects each.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, int | dict[int, None]] = {}  # the only one, or all in the order in which they came
        self._names: dict[int, tuple[str, ...]] = {}
        self._lengths: dict[tuple[str, ...], int] = {}  # first two words -> bit n: a name has or had n words

    def __len__(self) -> int:
        return len(self._nodes)

    def add(self, rows: Iterable[tuple[str, int]]) -> None:
        """Take in names, as `name_of` gives them, and the nodes that are called so."""
        for name, node in rows:
            known = self._nodes.get(name)
            if known is None:
                words = name.split(" ")
                start = tuple(words[:2])
                self._lengths[start] = self._lengths.get(start, 0) | 1 << len(words)
                self._nodes[name] = node
            elif isinstance(known, dict):
                if node in known:
                    continue
                known[node] = None
            elif known == node:
                continue
            else:
                self._nodes[name] = {known: None, node: None}
            self._names[node] = (*self._names.get(node, ()), name)

    def remove(self, nodes: Iterable[int]) -> None:
        """Forget nodes; unknown ones are passed over."""
        for node in nodes:
            for name in self._names.pop(node, ()):
                known = self._nodes[name]
                if isinstance(known, dict):
                    del known[node]
                if not isinstance(known, dict) or not known:
                    del self._nodes[name]

    def find(
        self, text: str | Sequence[str], *others: NameIndex, without: Set[int] = frozenset()
    ) -> dict[str, list[int]]:
        """Return the names in a text, of two that overlap the longer, and the nodes of each.

        Names that more than MAX_NODES nodes have are left out.

        Args:
            text: or its words.
            others: indexes whose names are looked for as if they stood in this one.
            without: nodes that are passed over.
        """
        words = words_of(text) if isinstance(text, str) else text
        pairs = list(pairwise([*words, ""]))
        indexes = (self, *others)
        found: dict[str, list[int]] = {}
        for _, _, name in _longest([span for index in indexes for span in index._spans(words, pairs)]):
            nodes = [node for index in indexes for node in index._called(name) if node not in without]
            if len(nodes) <= MAX_NODES:
                found[name] = nodes
        return found

    def all_in(self, words: Sequence[str]) -> set[str]:
        """Return the names among the words of a text, those that overlap included."""
        return {name for _, _, name in self._spans(words, list(pairwise([*words, ""])))}

    def _called(self, name: str) -> Iterable[int]:
        known = self._nodes.get(name, ())
        return (known,) if isinstance(known, int) else known

    def _spans(self, words: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[tuple[int, int, str]]:
        """Return (start, stop, name) of all names among words, of which `pairs` are each with the next."""
        spans = [(start, start + 1, word) for start, word in enumerate(words) if word in self._nodes]
        for start in [start for start, pair in enumerate(pairs) if pair in self._lengths]:
            for stop in [start + length for length in _places(self._lengths[pairs[start]])]:
                if (name := " ".join(words[start:stop])) in self._nodes:
                    spans.append((start, stop, name))
        return spans


@cache
def _places(bits: int) -> tuple[int, ...]:
    """Return which bits of a number are set."""
    return tuple(n for n in range(bits.bit_length()) if bits >> n & 1)


def _longest(spans: Sequence[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Return the spans without those that overlap one that begins earlier or, beginning with it, is longer."""
    kept: list[tuple[int, int, str]] = []
    for span in sorted(spans, key=lambda s: (s[0], -s[1])):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept
