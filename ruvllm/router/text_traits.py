"""What a question looks like: its length, script, words, kind and choices, as 32 numbers."""

from __future__ import annotations

import math
import re
from typing import Final

import numpy as np
import numpy.typing as npt

from ruvllm.text import STOP_WORDS, sentence_spans

__all__ = ["MAX_CHARS", "TEXT_TRAITS", "text_traits"]

Floats = npt.NDArray[np.float32]

MAX_CHARS: Final = 4096
"""Of a text that are looked at; its whole length still counts as `log_chars`."""

TEXT_TRAITS: Final[tuple[tuple[str, float, float, str], ...]] = (
    ("log_chars", 5.5, 1.0, "log(1 + characters)"),
    ("log_words", 3.7, 1.0, "log(1 + words)"),
    ("log_lines", 1.4, 0.8, "log(1 + lines that are not blank)"),
    ("log_sentences", 1.4, 0.6, "log(1 + sentences)"),
    ("word_length", 4.8, 1.0, "mean characters of a word"),
    ("long_words", 0.1, 0.1, "share of words of ten characters and more"),
    ("distinct_words", 0.7, 0.2, "distinct words over words"),
    ("stop_words", 0.35, 0.15, "share of words that are English stop words"),
    ("digits", 0.03, 0.05, "share of characters that are digits"),
    ("capitals", 0.04, 0.04, "share of characters that are capitals A to Z"),
    ("punctuation", 0.04, 0.03, "share of characters that are punctuation"),
    ("other_script", 0.0, 0.3, "share of characters in letters that are not Latin"),
    ("maths", 0.01, 0.03, "share of characters that are operators, $ or Unicode mathematics"),
    ("code", 0.01, 0.03, "share of characters that are brackets, semicolons, backticks and the like"),
    ("log_numbers", 0.7, 0.8, "log(1 + numbers)"),
    ("log_question_marks", 0.5, 0.4, "log(1 + question marks)"),
    ("log_quotes", 0.2, 0.6, "log(1 + quotation marks)"),
    ("has_blank", 0.1, 0.4, "a gap to fill: ___ or [MASK]"),
    ("negation", 0.2, 0.5, "not, except, never, neither, least, without"),
    ("superlative", 0.2, 0.5, "most, best, least, main, primary, or a word in -est"),
    ("condition", 0.2, 0.5, "if, suppose, assume, given, when"),
    ("asks_which", 0.5, 0.5, "which or what"),
    ("asks_quantity", 0.1, 0.4, "how many, how much, calculate, find the, compute"),
    ("asks_why", 0.1, 0.4, "why, how, explain, describe"),
    ("asks_fact", 0.2, 0.4, "who, when, where, whose"),
    ("asks_yes_no", 0.1, 0.4, "the text or its last sentence starts with is, are, does, can, ..."),
    ("instructs", 0.1, 0.4, "write, list, translate, summarise, implement, ..."),
    ("log_choices", 0.8, 0.8, "log(1 + lettered, numbered or bulleted lines)"),
    ("choice_length", 2.0, 1.5, "mean of log(1 + characters) of those lines"),
    ("choice_spread", 0.3, 0.3, "standard deviation of that"),
    ("log_turn", 0.0, 1.0, "log(1 + turns before this one in the session)"),
    ("log_user_questions", 0.0, 2.0, "log(1 + questions this user asked before)"),
)
"""Name, centre, scale (what one unit of the feature is) and source of each, in the order of `text_traits`."""

_WORD: Final = re.compile(r"[^\W_]+")
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_CHOICE: Final = re.compile(r"^[ \t]*(?:\(?(?:[A-Ja-j]|\d{1,2})[.):]|[-*•])[ \t]+(\S.*)$", re.MULTILINE)
_BLANK: Final = re.compile(r"_{2,}|\[MASK\]|\.{4,}")
_YES_NO: Final = re.compile(
    r"(?:^|[.!?]\s+)(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have|had|may|must)\b[^.!?]*\?",
    re.IGNORECASE,
)
_QUANTITY: Final = re.compile(r"\bhow (?:many|much|long|far|old|often)\b|\b(?:calculate|compute|find the|solve)\b")

_NEGATION: Final = frozenset("not except never neither nor least without cannot false incorrect unlikely".split())
_SUPERLATIVE: Final = frozenset("most best least worst main primary primarily highest lowest largest greatest".split())
_CONDITION: Final = frozenset("if suppose assume assuming given unless whenever when".split())
_WHICH: Final = frozenset(("which", "what"))
_WHY: Final = frozenset("why how explain describe".split())
_FACT: Final = frozenset("who whom whose when where".split())
_INSTRUCTS: Final = frozenset(
    "write list translate summarise summarize implement give create generate rewrite classify extract design "
    "compare prove convert complete continue".split()
)

_CLASSES: Final = ("digits", "capitals", "punctuation", "maths", "code", "other_script")


def _class_table() -> npt.NDArray[np.uint8]:
    """Return the class of each code point of the basic plane, as a place in _CLASSES; len(_CLASSES) for the rest."""
    table = np.full(0x10000, len(_CLASSES), np.uint8)
    for characters, name in (
        ("0123456789", "digits"),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "capitals"),
        (".,:!?'\"-", "punctuation"),
        ("+*/=<>^%$\\~|±×÷√", "maths"),
        ("{}[]();`#@&_", "code"),
    ):
        table[[ord(character) for character in characters]] = _CLASSES.index(name)
    table[0x2000:0x2070] = _CLASSES.index("punctuation")
    table[0x2200:0x2300] = _CLASSES.index("maths")
    table[0x0370:0x1E00] = table[0x2C00:0xD800] = table[0xF900:0xFFF0] = _CLASSES.index("other_script")
    return table


_CLASS_OF: Final = _class_table()


def text_traits(text: str, *, turn_index: int = 0, user_questions: int = 0) -> Floats:
    """Return the (32,) float32 traits of a question in the order of TEXT_TRAITS, unscaled and finite.

    Made for English: of other languages, what depends on words says little, and the rest holds.

    Args:
        text: choices included, as the models see it; it may be empty.
        turn_index: turns before this one in the session.
        user_questions: questions this user asked before.
    """
    seen = text[:MAX_CHARS]
    lower = seen.lower()
    words = _WORD.findall(lower)
    distinct = set(words)
    num_chars, num_words = max(len(seen), 1), max(len(words), 1)
    classes = np.bincount(_CLASS_OF[_code_points(seen)], minlength=len(_CLASSES) + 1)
    digits, capitals, punctuation, maths, code, other_script = (classes[:-1] / num_chars).tolist()
    choices = [math.log1p(len(choice)) for choice in _CHOICE.findall(seen)]
    choice_length = sum(choices) / max(len(choices), 1)
    choice_variance = sum((length - choice_length) ** 2 for length in choices) / max(len(choices), 1)

    def any_of(some: frozenset[str]) -> bool:
        return not distinct.isdisjoint(some)

    return np.array(
        (
            math.log1p(len(text)),
            math.log1p(len(words)),
            math.log1p(sum(not line.isspace() for line in seen.splitlines() if line)),
            math.log1p(len(sentence_spans(seen))),
            sum(map(len, words)) / num_words,
            sum(len(word) > 9 for word in words) / num_words,
            len(distinct) / num_words,
            sum(word in STOP_WORDS for word in words) / num_words,
            digits,
            capitals,
            punctuation,
            other_script,
            maths,
            code,
            math.log1p(len(_NUMBER.findall(seen))),
            math.log1p(seen.count("?") + seen.count("？")),
            math.log1p(seen.count('"') + seen.count("“")),
            _BLANK.search(seen) is not None,
            any_of(_NEGATION) or "n't" in lower,
            any_of(_SUPERLATIVE),
            any_of(_CONDITION),
            any_of(_WHICH),
            _QUANTITY.search(lower) is not None,
            any_of(_WHY),
            any_of(_FACT),
            _YES_NO.search(seen) is not None,
            any_of(_INSTRUCTS),
            math.log1p(len(choices)),
            choice_length,
            math.sqrt(choice_variance),
            math.log1p(max(turn_index, 0)),
            math.log1p(max(user_questions, 0)),
        ),
        np.float32,
    )


def _code_points(text: str) -> npt.NDArray[np.uint32]:
    """Return the code points of `text`; those beyond the basic plane as 0xFFFF."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))
    return np.minimum(points, 0xFFFF, dtype=np.uint32)
