"""What can be told of an answer without asking a model again: numbers from its words, its sources and its tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ruvllm.judging import Answered
from ruvllm.learning.judge.equations import equations
from ruvllm.text import containment, containments, held_terms, normalized_tokens, query_terms, sentence_spans

__all__ = ["ANSWERABLE", "GROUNDED", "OPEN", "Encode", "Rarity", "signals_of"]

Floats = npt.NDArray[np.floating]
Terms = npt.NDArray[np.uint64]
Encode = Callable[[Sequence[str]], Floats]
"""Gives (n, native_dim) unit vectors of n texts."""

Rarity = Callable[[Terms], Floats]
"""Gives (n,) weights of n terms: the rarer in the brain, the higher."""

ANSWERABLE = ("similarity", "margin", "coverage", "coverage_first", "matched", "missing")
"""Do the sources hold an answer at all? About question and sources alone."""

GROUNDED = (*ANSWERABLE, "support", "overlap", "linked", "linked_words", "named", "log_words", "unsaid")
"""Is the answer what the sources say to this question?"""

OPEN = (
    "relevance", "echo", "copied", "repetition", "log_words", "brevity", "finished", "asks_back", "sums_right",
    "sums_wrong", "unsaid",
)  # fmt: skip
"""What is left where there are no sources."""

MAX_SENTENCES = 8  # of the sources that are embedded: those that share most words with question and answer
MAX_ANSWER_SENTENCES = 3
MAX_CHARS = 4000  # of an answer that are looked at

_NAME = re.compile(r"\b(?:[A-Z][\w'-]+|\d[\d.,:]*\d|\d)")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_RESULT = re.compile(r"\banswer(?: is|:)", re.IGNORECASE)
_SAYS_NOTHING = re.compile(
    r"\b(?:i (?:do not|don't) know|i cannot (?:answer|help)|i can't (?:answer|help)|as an ai\b"
    r"|(?:is|was|are) not (?:mentioned|specified|provided|stated)|no information)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, eq=False)
class _Sources:
    """What m sources hold of the q terms of the question, and the n of their sentences that are looked at.

    Attributes:
        held: (m, q) bool, which of the terms are in a source or its title.
        sentences: n texts, in order.
        source: (n,) of which source each sentence is.
        share: (n,) of the terms' weight that is in a sentence or its source's title.
    """

    held: npt.NDArray[np.bool_]
    sentences: list[str]
    source: npt.NDArray[np.intp]
    share: Floats


def signals_of(answered: Answered, encode: Encode, rarity: Rarity) -> dict[str, float]:
    """Return the signals of an answer by name: GROUNDED and OPEN where it had sources, else OPEN; all finite.

    Beside them "worked", whether there is a result that was worked out, and, where the engine told, "logprob", the mean
    log-probability of its tokens.

    Args:
        encode: called once, with at most `MAX_SENTENCES` + `MAX_ANSWER_SENTENCES` sentences and, where the vector of
            the question is missing, that.
        rarity: of the terms of the question.
    """
    question, answer = answered.query, answered.answer[:MAX_CHARS]
    asking = query_terms(question)
    weights = _weights(asking, rarity)
    sources = _read(answered, asking, weights)
    sentences = sources.sentences
    said = [answer[a:b] for a, b in sentence_spans(answer)][:MAX_ANSWER_SENTENCES]
    texts = [*sentences, *said]
    if answered.query_vector is None:
        *vectors, of_question = encode([*texts, question])
    else:
        vectors, of_question = list(encode(texts)) if texts else [], answered.query_vector
    rows = np.array(vectors, np.float32).reshape(-1, len(of_question))
    of_sentences, of_answer = rows[: len(sentences)], rows[len(sentences) :]
    asked, words = normalized_tokens(question), normalized_tokens(answer)
    found = _of_words(question, answer, asked, words) | {
        "relevance": float(np.max(of_answer @ of_question, initial=0.0))
    }
    if sentences:
        similarity = of_sentences @ of_question
        found |= _of_sources(weights, sources, similarity)
        new = " ".join(set(words).difference(asked)) or answer
        found |= _of_grounds(new, answer, sources, similarity, of_answer @ of_sentences.T)
    if len(answered.logprobs):
        found["logprob"] = max(math.fsum(answered.logprobs) / len(answered.logprobs), -20.0)
    return found


def _read(answered: Answered, asked: Terms, weights: Floats) -> _Sources:
    """Return what the sources hold; of their sentences, in order, those that share most with question and answer."""
    texts: list[str] = []  # of each source its title, then its sentences
    titles: list[int] = []  # their places
    for source in answered.sources:
        titles.append(len(texts))
        texts.append(source.title or "")
        texts += [source.text[a:b] for a, b in sentence_spans(source.text)]
    if not texts:
        return _Sources(np.empty((0, len(asked)), np.bool_), [], np.empty(0, np.intp), np.empty(0))
    held = held_terms(texts, asked)
    is_sentence = np.ones(len(texts), np.bool_)
    is_sentence[titles] = False
    rows, of = np.flatnonzero(is_sentence), np.cumsum(~is_sentence) - 1
    share = (held[rows] | held[titles][of[rows]]) @ weights
    if len(rows) > MAX_SENTENCES:
        shared = containments(answered.answer[:MAX_CHARS], [texts[row] for row in rows])
        best = np.sort(np.argsort(-(share + shared), kind="stable")[:MAX_SENTENCES])
        rows, share = rows[best], share[best]
    return _Sources(np.logical_or.reduceat(held, titles), [texts[row] for row in rows], of[rows], share)


def _of_sources(weights: Floats, sources: _Sources, similarity: Floats) -> dict[str, float]:
    """Return the signals of question and sources alone."""
    covered = sources.held @ weights
    best: dict[int, float] = {}
    for source, value in zip(sources.source.tolist(), similarity.tolist(), strict=True):
        best[source] = max(best.get(source, -1.0), value)
    first, second, *_ = *sorted(best.values(), reverse=True), None
    return {
        "similarity": first,
        "margin": 0.0 if second is None else first - second,
        "coverage": float(covered.max()),
        "coverage_first": float(covered[0]),
        "matched": float(np.max(similarity * sources.share)),  # one sentence both means it and says it
        "missing": float(np.max(weights[~sources.held.any(axis=0)], initial=0.0)),
    }


def _of_grounds(own: str, answer: str, sources: _Sources, similarity: Floats, to_sentences: Floats) -> dict[str, float]:
    """Return the signals of answer and sources.

    Args:
        own: the words of the answer that the question did not hold.
        to_sentences: the cosines of the answer's sentences and the sources'.
    """
    everything = " ".join(sources.sentences)
    *each, overlap = containments(own, [*sources.sentences, everything])
    shared = np.array(each)
    names, known = set(_NAME.findall(answer)), everything.lower()
    return {
        "support": float(to_sentences.max(axis=1).mean()) if len(to_sentences) else 0.0,
        "overlap": overlap,
        "linked": float(np.max(shared * similarity)),  # the sentence that says it is near to the question
        "linked_words": float(np.max(shared * sources.share)),
        "named": sum(name.lower() in known for name in names) / len(names) if names else 1.0,
    }


def _of_words(question: str, answer: str, asked: Sequence[str], words: Sequence[str]) -> dict[str, float]:
    """Return the signals of question and answer alone; `asked` and `words` are what they consist of."""
    triples = list(zip(words, words[1:], words[2:], strict=False))
    asked_triples = set(zip(asked, asked[1:], asked[2:], strict=False))
    right, wrong = equations(answer)
    log_words = math.log1p(len(words))
    return {
        "echo": containment(answer, question),
        "copied": sum(one in asked_triples for one in triples) / max(len(triples), 1),
        "repetition": 1.0 - len(set(triples)) / len(triples) if triples else 0.0,
        "log_words": log_words,
        "brevity": max(0.0, math.log(5.0) - log_words),  # a word or two
        "finished": float(answer.rstrip().endswith((".", "!", "?", ")", '"', "'", "`", "”"))),
        "asks_back": float("?" in answer),
        "sums_right": math.log1p(right),
        "sums_wrong": math.log1p(wrong),
        "worked": float(right + wrong > 0 or len(_NUMBER.findall(question)) > 1 or _RESULT.search(answer) is not None),
        "unsaid": float(_SAYS_NOTHING.search(answer) is not None or not words),
    }


def _weights(asked: Terms, rarity: Rarity) -> Floats:
    """Return the weights (q,) of the question's terms, which add up to 1."""
    rare = np.asarray(rarity(asked), np.float64)
    total = rare.sum()
    return rare / total if total > 0.0 else np.full(len(asked), 1.0 / max(len(asked), 1))
