"""Text as numbers and spans: words and their overlap, near-duplicate signatures, sentences."""

from __future__ import annotations

from ruvllm.text.sentences import sentence_spans
from ruvllm.text.shingles import jaccard, minhash
from ruvllm.text.words import STOP_WORDS, containment, normalized_tokens, token_f1

__all__ = [
    "STOP_WORDS",
    "containment",
    "jaccard",
    "minhash",
    "normalized_tokens",
    "sentence_spans",
    "token_f1",
]
