"""Text as numbers and spans: words and their overlap, near-duplicate signatures, sentences."""

from __future__ import annotations

from ruvllm.text.sentences import sentence_spans
from ruvllm.text.shingles import Signature, jaccard, minhash
from ruvllm.text.terms import TERMS_VERSION, held_terms, query_terms, terms
from ruvllm.text.words import STOP_WORDS, containment, containments, normalized_tokens, token_f1

__all__ = [
    "STOP_WORDS",
    "TERMS_VERSION",
    "Signature",
    "containment",
    "containments",
    "held_terms",
    "jaccard",
    "minhash",
    "normalized_tokens",
    "query_terms",
    "sentence_spans",
    "terms",
    "token_f1",
]
