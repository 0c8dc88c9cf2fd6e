"""What nodes are called, and where a text mentions it: titles, headings, subjects, and rare names and terms."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import ahocorasick_rs

from ruvllm.text import STOP_WORDS

__all__ = ["NameIndex", "name_of", "names_of", "rare_terms", "term_hash"]

MAX_WORDS = 10  # of a name
MIN_LETTERS = 4  # of a name of one word
MAX_NODES = 5  # that share a name; one that more are called by says nothing about which is meant
MAX_TERMS = 24  # rare names and terms taken from one text
SUBJECT_CHARS = 200  # of a text, in which its subject is looked for
MAX_NEWEST = 512  # names that are in no automaton
LEVEL_RATIO = 4  # an automaton is joined with the next one while that is not this much larger

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
    for match in _SPAN.finditer(text):
        words = _WORD.findall(match[0].lower())
        while words and words[0] in STOP_WORDS:
            del words[0]
        while words and words[-1] in STOP_WORDS:
            words.pop()
        if 2 <= len(words) <= MAX_WORDS or (len(words) == 1 and len(words[0]) >= MIN_LETTERS):
            found[" ".join(words)] = None
    for token in _TOKEN.findall(text):
        if (not token.isalpha() and _is_technical(token)) or (token.isalpha() and _CAMEL.search(token)):
            found[token.lower()] = None
    return list(found)[:MAX_TERMS]


def _is_technical(token: str) -> bool:
    """Return whether a word is an identifier: snake_case, or letters with digits as in CVE-2024-1."""
    return "_" in token.strip("_") or (any(c.isdigit() for c in token) and any(c.isalpha() for c in token))


def term_hash(term: str) -> int:
    """Return the signed 64-bit number that table `mentions` keeps for a term."""
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest(), "little", signed=True)


class NameIndex:
    """Finds the names of nodes in texts. Not safe for use from several threads.

    The names lie in a few Aho-Corasick automata of growing size, the newest in a plain table, so that adding one does
    not build all anew.

    Source: Aho and Corasick 1975; Bentley and Saxe 1980 for the levels.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, list[int]] = {}
        self._names: dict[int, list[str]] = {}
        self._levels: list[tuple[list[str], ahocorasick_rs.AhoCorasick]] = []  # the largest first
        self._newest: dict[str, list[str]] = {}  # by first word; in no automaton yet
        self._num_newest = 0
        self._dead = 0  # names in the automata that no node has any more

    def __len__(self) -> int:
        return len(self._nodes)

    def add(self, rows: Iterable[tuple[str, int]]) -> None:
        """Take in names, as `name_of` gives them, and the nodes that are called so."""
        for name, node in rows:
            nodes = self._nodes.get(name)
            if nodes is None:
                nodes = self._nodes[name] = []
                self._newest.setdefault(name.partition(" ")[0], []).append(name)
                self._num_newest += 1
            if node not in nodes:
                nodes.append(node)
                self._names.setdefault(node, []).append(name)
        if self._num_newest > MAX_NEWEST:
            self._build([name for names in self._newest.values() for name in names])

    def remove(self, nodes: Iterable[int]) -> None:
        """Forget nodes; unknown ones are passed over."""
        for node in nodes:
            for name in self._names.pop(node, ()):
                self._nodes[name].remove(node)
                if not self._nodes[name]:
                    del self._nodes[name]
                    self._dead += 1
        if self._dead > max(len(self._nodes), MAX_NEWEST):
            self._levels, self._dead = [], 0
            self._build(list(self._nodes))

    def find(self, text: str) -> dict[str, list[int]]:
        """Return the names in a text, of two that overlap the longer, and the nodes of each.

        Names that more than MAX_NODES nodes have are left out.
        """
        words = _WORD.findall(text.lower())
        spoken = _between_spaces(words)
        spans = [
            (start, end, names[which])
            for names, automaton in self._levels
            for which, start, end in automaton.find_matches_as_indexes(spoken, overlapping=True)
            if names[which] in self._nodes
        ]
        for word in self._newest.keys() & set(words):
            for name in self._newest[word]:
                if name in self._nodes:
                    pattern = _between_spaces(name.split())
                    spans += [(start, start + len(pattern), name) for start in _places(pattern, spoken)]
        found: dict[str, list[int]] = {}
        for _, _, name in _longest(spans):
            nodes = self._nodes[name]
            if len(nodes) <= MAX_NODES:
                found[name] = list(nodes)
        return found

    def _build(self, names: list[str]) -> None:
        self._newest, self._num_newest = {}, 0
        while self._levels and len(self._levels[-1][0]) < LEVEL_RATIO * len(names):
            names = self._levels.pop()[0] + names
        patterns = [_between_spaces(name.split()) for name in names]
        self._levels.append((names, ahocorasick_rs.AhoCorasick(patterns)))


def _between_spaces(words: Sequence[str]) -> str:
    """Return words, each between spaces of its own, so that names match whole words, also side by side."""
    return f" {'  '.join(words)} " if words else ""


def _places(pattern: str, text: str) -> Iterator[int]:
    """Yield where a pattern stands in a text."""
    start = text.find(pattern)
    while start >= 0:
        yield start
        start = text.find(pattern, start + 1)


def _longest(spans: Sequence[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Return the spans without those that overlap one that begins earlier or, beginning with it, is longer."""
    kept: list[tuple[int, int, str]] = []
    for span in sorted(spans, key=lambda s: (s[0], -s[1])):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept
