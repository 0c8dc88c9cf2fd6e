"""Text as numbers and spans: words and their overlap, near-duplicate signatures, sentences."""

from __future__ import annotations

from ruvllm.text.sentences import sentence_spans
from ruvllm.text.shingles import jaccard, minhash
from ruvllm.text.words import STOP_WORDS, containment, normalize_question, normalized_tokens, stop_words, token_f1

__all__ = [
    "STOP_WORDS",
    "containment",
    "jaccard",
    "minhash",
    "normalize_question",
    "normalized_tokens",
    "sentence_spans",
    "stop_words",
    "token_f1",
]
