"""What a text is indexed and asked by: hashes of its words, without case, diacritics and endings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from ruvllm.text import _text
from ruvllm.text.words import STOP_WORDS

__all__ = ["TERMS_VERSION", "held_terms", "query_terms", "terms"]

TERMS_VERSION: Final = 1
"""Raised whenever `terms` gives other terms for some text, so that nothing derived from the old ones is used."""

Terms = npt.NDArray[np.uint64]


def terms(text: str) -> Terms:
    """Return the (n,) uint64 terms of `text`, in order, with repeats.

    A word is a run of letters, digits and their marks, in lower case and without diacritics (as SQLite's unicode61
    has it). Words of plain a to z lose plural, -ed and -ing endings by step 1 of Porter's stemmer: as good as all five
    steps on English questions (recall at 5 and 10 within half a point on 2Wiki, HotpotQA, XQuAD and PubMedQA; none: one
    point less), and it does little to other languages. Scripts without spaces between words (Han, kana, Thai, Lao,
    Khmer, Myanmar) give every character and every pair of neighbours.

    Source: Porter 1980, "An algorithm for suffix stripping".
    """
    hashes = np.empty(2 * len(text), dtype=np.uint64)
    return hashes[: _text.fill_terms(text, hashes)].copy()


@lru_cache(maxsize=64)  # of one question search, judge and credits ask, each for itself
def query_terms(question: str) -> Terms:
    """Return the terms of `question`, each once; those of English stop words only when there is nothing else.

    They ascend; the array cannot be written to.
    """
    content = " ".join(word for word in re.findall(r"[^\W_]+", question) if word.lower() not in STOP_WORDS)
    found = terms(content)
    asked = np.unique(found if found.size else terms(question))
    asked.flags.writeable = False
    return asked


def held_terms(texts: Sequence[str], wanted: Terms) -> npt.NDArray[np.bool_]:
    """Return which of the wanted terms each text holds, (len(texts), len(wanted)).

    Args:
        wanted: (n,) uint64, ascending, as `query_terms` gives them.
    """
    held = np.empty((len(texts), len(wanted)), np.bool_)
    _text.fill_held(list(texts), wanted, held.view(np.uint8))
    return held
