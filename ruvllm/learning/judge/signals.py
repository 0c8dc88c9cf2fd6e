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
from ruvllm.text import containment, normalized_tokens, query_terms, sentence_spans, terms

__all__ = ["ANSWERABLE", "GROUNDED", "OPEN", "Encode", "Rarity", "signals_of"]

Floats = npt.NDArray[np.float32]
Encode = Callable[[Sequence[str]], Floats]
"""Gives (n, native_dim) unit vectors of n texts."""

Rarity = Callable[[npt.NDArray[np.uint64]], npt.NDArray[np.floating]]
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


Terms = frozenset[int]
Weights = dict[int, float]  # of the question's terms; they add up to 1


@dataclass(frozen=True, slots=True)
class _Sentence:
    source: int
    text: str
    share: float  # of the question's terms that are in it or in its source's title


@dataclass(frozen=True, slots=True)
class _Sources:
    """What the sources hold: their terms with those of their titles, and the sentences that are looked at."""

    terms: list[Terms]
    sentences: list[_Sentence]


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
    weights = _weights(query_terms(question), rarity)
    sources = _read(answered, weights)
    sentences = sources.sentences
    said = [answer[a:b] for a, b in sentence_spans(answer)][:MAX_ANSWER_SENTENCES]
    texts = [*(one.text for one in sentences), *said]
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
        found |= _of_grounds(new, answer, sentences, similarity, of_answer @ of_sentences.T)
    if len(answered.logprobs):
        found["logprob"] = max(math.fsum(answered.logprobs) / len(answered.logprobs), -20.0)
    return found


def _read(answered: Answered, weights: Weights) -> _Sources:
    """Return what the sources hold; of their sentences, in order, those that share most with question and answer."""
    held, terms_of = [], []
    for number, source in enumerate(answered.sources):
        whole = title = _terms(source.title or "")
        for a, b in sentence_spans(source.text):
            text = source.text[a:b]
            found = title | _terms(text)
            held.append(_Sentence(number, text, _share(weights, found)))
            whole |= found
        terms_of.append(whole)
    if len(held) > MAX_SENTENCES:
        answer = answered.answer[:MAX_CHARS]
        shared = [one.share + containment(answer, one.text) for one in held]
        best = np.argsort(-np.array(shared), kind="stable")[:MAX_SENTENCES]
        held = [held[i] for i in sorted(best.tolist())]
    return _Sources(terms_of, held)


def _of_sources(weights: Weights, sources: _Sources, similarity: Floats) -> dict[str, float]:
    """Return the signals of question and sources alone."""
    covered = [_share(weights, text) for text in sources.terms]
    within = np.array([one.share for one in sources.sentences])
    best: dict[int, float] = {}
    for one, value in zip(sources.sentences, similarity.tolist(), strict=True):
        best[one.source] = max(best.get(one.source, -1.0), value)
    first, second, *_ = *sorted(best.values(), reverse=True), None
    known = frozenset().union(*sources.terms)
    return {
        "similarity": first,
        "margin": 0.0 if second is None else first - second,
        "coverage": max(covered),
        "coverage_first": covered[0],
        "matched": float(np.max(similarity * within)),  # one sentence both means it and says it
        "missing": max((weight for term, weight in weights.items() if term not in known), default=0.0),
    }


def _of_grounds(
    own: str, answer: str, sentences: Sequence[_Sentence], similarity: Floats, to_sentences: Floats
) -> dict[str, float]:
    """Return the signals of answer and sources.

    Args:
        own: the words of the answer that the question did not hold.
        to_sentences: the cosines of the answer's sentences and the sources'.
    """
    shared = np.array([containment(own, one.text) for one in sentences])
    within = np.array([one.share for one in sentences])
    everything = " ".join(one.text for one in sentences)
    names, known = set(_NAME.findall(answer)), everything.lower()
    return {
        "support": float(to_sentences.max(axis=1).mean()) if len(to_sentences) else 0.0,
        "overlap": containment(own, everything),
        "linked": float(np.max(shared * similarity)),  # the sentence that says it is near to the question
        "linked_words": float(np.max(shared * within)),
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


def _weights(asked: npt.NDArray[np.uint64], rarity: Rarity) -> Weights:
    rare = np.asarray(rarity(asked), np.float64)
    share = rare / rare.sum() if rare.sum() > 0.0 else np.full(len(asked), 1.0 / max(len(asked), 1))
    return dict(zip(asked.tolist(), share.tolist(), strict=True))


def _terms(text: str) -> Terms:
    return frozenset(terms(text).tolist())


def _share(weights: Weights, text: Terms) -> float:
    return sum([weight for term, weight in weights.items() if term in text])
