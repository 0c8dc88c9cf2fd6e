"""Domain, difficulty and risk of a trace, each with how it was found out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from ruvllm.memory.traces import StoredTrace
from ruvllm.router.text_traits import TEXT_TRAITS, text_traits
from ruvllm.tuning.subjects import HARM, Subjects
from ruvllm.tuning.trace import Tag

__all__ = ["STATED", "Tagger", "text_difficulty"]

STATED = "the sources' metadata"  # who made a tag whose value somebody wrote
HARDER = {  # traits of a question by which it is harder, in units of their scale
    "log_words": 0.5,
    "long_words": 0.25,
    "maths": 0.25,
    "condition": 0.25,
    "negation": 0.25,
    "asks_why": 0.25,
    "log_choices": 0.25,
}


def text_difficulty(query: str) -> float:
    """Return how hard a question looks by its length and its words, in (0, 1); a guess where nothing else is known."""
    traits = {
        name: (value - centre) / scale
        for (name, centre, scale, _), value in zip(TEXT_TRAITS, text_traits(query).tolist(), strict=True)
    }
    return 1.0 / (1.0 + math.exp(-sum(weight * traits[name] for name, weight in HARDER.items())))


class Tagger:
    """Tags traces.

    Args:
        encode: texts to (n, dim) float32 unit vectors, of the kind that the questions' vectors are.
    """

    def __init__(self, encode: Callable[[Sequence[str]], np.ndarray]) -> None:
        self._encode = encode

    @cached_property
    def _subjects(self) -> Subjects:
        return Subjects(self._encode)

    def tags(self, trace: StoredTrace) -> dict[str, Tag]:
        """Return the tags domain, difficulty and risk of a trace."""
        vector = self._encode([trace.query])[0] if trace.query_vector is None else trace.query_vector
        domain, risk = self._subjects.domain_and_risk(vector)
        tags = {"difficulty": _difficulty(trace), "domain": Tag(domain, "nearest example")}
        stated = _stated(trace, "domain")
        if stated is not None:
            tags["domain"] = Tag(stated, STATED)
            risk = "elevated" if stated in HARM and risk == "low" else risk
        risk_stated = _stated(trace, "risk")
        tags["risk"] = Tag(risk_stated, STATED) if risk_stated else Tag(risk, "nearest example")
        return tags


def _difficulty(trace: StoredTrace) -> Tag:
    """Return how hard the request was, by the best evidence there is, in [0, 1]."""
    judged = [one.quality for one in trace.tried if one.quality is not None]
    if len(judged) > 1:
        return Tag(round(1.0 - sum(judged) / len(judged), 4), "how the tiers did")
    if trace.expected is not None:
        return Tag(round(1.0 - trace.expected[1], 4), "the router's estimate of the cheapest tier")
    if trace.confidence is not None:
        return Tag(round(1.0 - trace.confidence, 4), "the reader's confidence")
    return Tag(round(text_difficulty(trace.query), 4), "the question's words")


def _stated(trace: StoredTrace, name: str) -> str | None:
    """Return what most of the sources that were used say under a key of their metadata."""
    used = [source for source in trace.sources if source.node in trace.used] or list(trace.sources)
    values = [value for source in used if isinstance(value := source.metadata.get(name), str) and value.strip()]
    return Counter(values).most_common(1)[0][0] if values else None
