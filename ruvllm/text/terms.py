"""What a text is indexed and asked by: hashes of its words, without case, diacritics and endings."""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import numpy.typing as npt

from ruvllm.text import _text
from ruvllm.text.words import STOP_WORDS

__all__ = ["TERMS_VERSION", "query_terms", "terms"]

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


def query_terms(question: str) -> Terms:
    """Return the terms of `question`, each once; those of English stop words only when there is nothing else."""
    content = " ".join(word for word in re.findall(r"[^\W_]+", question) if word.lower() not in STOP_WORDS)
    found = terms(content)
    return np.unique(found if found.size else terms(question))
