"""Answers to judge, and a judge over the word embedder."""

from __future__ import annotations

from typing import Any

import numpy as np
from memory.fakes import WordEmbedder

from ruvllm.judging import Answered
from ruvllm.learning.judge import Judge
from ruvllm.types import Source

QUESTION = "Where is the rescue sled kept?"
PASSAGE = "The rescue sled is kept in hut three. Bread is baked on Fridays."


def answered(answer: str = "The sled is kept in hut three.", *texts: str, **fields: Any) -> Answered:
    """An answer to QUESTION that was shown these texts, PASSAGE when none is given."""
    sources = tuple(Source(i, i, None, None, text, 1.0) for i, text in enumerate(texts or (PASSAGE,), 1))
    values: dict[str, Any] = {
        "query": QUESTION,
        "query_vector": None,
        "answer": answer,
        "sources": sources,
        "logprobs": (),
        "finish_reason": "stop",
    }
    return Answered(**(values | fields))


def alike(terms: np.ndarray) -> np.ndarray:
    """No word is rarer than another."""
    return np.ones(len(terms))


def judge(**options: Any) -> Judge:
    return Judge(WordEmbedder().encode, alike, **options)
