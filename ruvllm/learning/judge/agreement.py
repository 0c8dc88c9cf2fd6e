"""Self-consistency: how far other answers to the same question say the same."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ruvllm.text import token_f1

__all__ = ["agreement_of"]

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
LONG = 20  # words, from which on an answer's result stands at its end


def agreement_of(answer: str, samples: Sequence[str]) -> float:
    """Return the mean agreement in [0, 1] of an answer with others.

    Two long answers that each end in a number agree when it is the same one; others as far as they share their words.

    Source: Wang et al. 2022, "Self-consistency improves chain of thought reasoning" (arXiv:2203.11171).

    Raises:
        ValueError: there are no samples.
    """
    if not samples:
        raise ValueError("samples must not be empty")
    return sum(_agree(answer, other) for other in samples) / len(samples)


def _agree(a: str, b: str) -> float:
    results = _result(a), _result(b)
    if None not in results:
        return float(results[0] == results[1])
    return token_f1(a, b)


def _result(text: str) -> float | None:
    """Return the last number of a long answer."""
    if len(text.split()) < LONG:
        return None
    numbers = _NUMBER.findall(text)
    return float(numbers[-1].replace(",", "")) if numbers else None
