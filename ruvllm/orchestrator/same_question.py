"""Whether two wordings that lie near each other may have the same answer: what vectors do not see is compared."""

from __future__ import annotations

import re
from typing import Final

from ruvllm.text import STOP_WORDS

__all__ = ["ask_the_same"]

_WORD: Final = re.compile(r"\w+(?:['’.,:/-]\w+)*")
_SENTENCE_START: Final = re.compile(r"(?:^|[.!?:]\s+)\W*(\w)")
_SIGN: Final = re.compile(r"(?<!\w)[+-](?=\d)|[=<>%$€£°²³]")
_CONTRACTED: Final = {"ca": "can", "wo": "will", "cannot": "can"}

_NUMBERS: Final = frozenset(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion once twice
    thrice half quarter third double triple dozen second fourth fifth sixth seventh eighth ninth tenth both
    """.split()
)
_NEGATIONS: Final = frozenset(
    """
    no not none nobody nothing nowhere never neither nor without except false wrong incorrect unable lack lacks
    hardly barely unlike instead
    """.split()
)
# Words that turn a question round, or ask for something else of the same thing.
_TURNS: Final = frozenset(
    """
    who whom whose when where why how before after since until during first last next previous former latter more less
    most least fewer fewest max min maximum minimum high low higher lower highest lowest large small larger smaller
    largest smallest big bigger biggest long short longer shorter longest shortest old new older newer oldest newest
    young younger youngest early late earlier later earliest latest good bad better worse best worst fast slow faster
    slower increase decrease increases decreases rise fall open close opens closes opened closed start end starts ends
    begin begins finish arrive arrives leave leaves depart departs buy sell bought sold win lose won lost with above
    below over under inside outside up down left right north south east west true all any some every only always
    sometimes except import export male female his her him he she mother father son daughter husband wife can must
    should may was is will
    """.split()
)


def ask_the_same(question: str, other: str) -> bool:
    """Return whether numbers, negations, names and words that turn a question round are the same in both.

    Names are capitalised words, also the first one unless it is a stop word, words with capitals or digits inside, and
    words of scripts without case. Who does what to whom is a matter of order: the order of names counts, and equal
    words in another order are another question. In doubt the answer is no.
    """
    signature, words = _read(question)
    other_signature, other_words = _read(other)
    return signature == other_signature and (words == other_words or sorted(words) != sorted(other_words))


def _read(text: str) -> tuple[tuple[list[str], list[str], frozenset[str]], list[str]]:
    """Return (numbers and names in their order, the words that turn the question), and all words but stop words."""
    starts = {match.start(1) for match in _SENTENCE_START.finditer(text)}
    numbers: list[str] = []
    names: list[str] = []
    turns: set[str] = set()
    words: list[str] = []
    for match in _WORD.finditer(text):
        word = match.group().replace("’", "'")
        lower = word.lower()
        if lower not in STOP_WORDS:
            words.append(lower)
        if any(character.isdigit() for character in word) or lower in _NUMBERS:
            numbers.append(lower.replace(",", ""))
        elif lower == "cannot" or lower.endswith("n't"):
            verb = lower.removesuffix("n't")
            turns |= {"not"} | ({_CONTRACTED.get(verb, verb)} & _TURNS)
        elif lower in _NEGATIONS or lower in _TURNS:
            turns.add(lower)
        elif _is_name(word, is_first=match.start() in starts):
            names.append(lower.removesuffix("'s"))
    return (numbers + _SIGN.findall(text), names, frozenset(turns)), words


def _is_name(word: str, *, is_first: bool) -> bool:
    has_no_case = word.lower() == word.upper()
    has_capital = word.lower() != word and not (is_first and word.lower() in STOP_WORDS)
    return has_no_case or has_capital
