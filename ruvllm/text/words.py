"""Words as SQuAD counts them, and how much of one text is in another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ruvllm.text import _text

__all__ = ["STOP_WORDS", "containment", "containments", "normalized_tokens", "token_f1"]

_ARTICLES: Final = frozenset(("a", "an", "the"))

STOP_WORDS: Final = frozenset(
    """
    a about above after again against all also am an and any are as at be because been before being below between both
    but by can could did do does doing down during each few for from further had has have having he her here hers
    herself him himself his how i if in into is it its itself just me more most my myself no nor not now of off on once
    only or other our ours ourselves out over own same she should so some such than that the their theirs them
    themselves then there these they this those through to too under until up very was we were what when where which
    while who whom why will with would you your yours yourself yourselves
    """.split()
)
"""English words that carry no content, in lower case."""

_STOP_HASHES: Final = _text.hash_terms(STOP_WORDS)


def normalized_tokens(text: str) -> list[str]:
    """Return the words of `text` in lower case, without punctuation (Unicode's and ASCII's symbols) and articles.

    Words are what white space separates, so a text in a script without spaces is few long words.

    Source: the evaluation script of SQuAD (Rajpurkar et al. 2016), with all of Unicode's punctuation.
    """
    return [word for word in _text.drop_punctuation(text.lower()).split() if word not in _ARTICLES]


def token_f1(prediction: str, gold: str) -> float:
    """Return the F1 in [0, 1] of the normalised words of two texts as multisets; 1.0 when neither has any."""
    return _text.token_f1(prediction, gold)


def containment(part: str, whole: str) -> float:
    """Return the share in [0, 1] of the words of `part`, stop words dropped, that occur in `whole`.

    A word that occurs twice in `part` counts twice. A part without content words is contained in nothing: 0.0.
    """
    return _text.containments(part, [whole], _STOP_HASHES)[0]


def containments(part: str, wholes: Sequence[str]) -> list[float]:
    """Return `containment` of one text in each of several."""
    return _text.containments(part, list(wholes), _STOP_HASHES)
