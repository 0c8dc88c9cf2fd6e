"""`ruvllm bench learning`: what ratings teach the ranking, honest, mistaken and malicious ones; no model changes.

Held-out questions share no gold passage with those that are rated. Answers are shown by the untrained engine, so every
regime rates the same sources.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ruvllm.attention.engine import Example
from ruvllm.bench.corpora import read_corpus
from ruvllm.bench.evaluation import Asked, Scorer, apart, attention, measure, split
from ruvllm.bench.plot import line_plot
from ruvllm.bench.pool import Pool
from ruvllm.bench.ratings import (
    Attribution,
    Rarities,
    corrected,
    flipped,
    is_good,
    labelled,
    learnt,
    marked,
    rated,
    rated_by_judge,
    shown,
)
from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.setup import Settings, ask_files, open_tools
from ruvllm.learning.judge import Judge
from ruvllm.memory import Memory
from ruvllm.types import Interaction, Route

__all__ = ["COUNTS", "Learning", "run"]

COUNTS = (20, 50, 100)
RATINGS = COUNTS[-1]
KS, METRIC, METRICS = (5,), "recall@5", ("recall@5", "nDCG@10")
REGIMES = {
    "a": "(a) one rating per answer",
    "b": "(b) marks on shown sources",
    "c": "(c) all candidates labelled",
    "d": "(d) the judge's word for a rating",
    "e": "(e) one rating per answer, with the right answer for a bad one",
}
FLIPS = (0.2, 0.4, 1.0)  # the last is a control: what is gained then is not due to ratings being right
WHATEVER = "(a) all answers as if rated good"  # a control: what is gained then is attribution's doing alone
KEYS = (1, 10)  # raters that one attacker has
NUM_TOPICS = 10
MARGIN = 0.02  # that topics without any rating may lose
UNTRAINED = "untrained"


@dataclass(frozen=True, slots=True)
class Learning:
    """The report, and the curves behind it: regime -> (ratings, recall@5) with the untrained engine at 0."""

    report: Report
    curves: Mapping[str, list[tuple[int, float]]]

    def plot(self) -> str:
        """Return the curves as SVG text."""
        return line_plot(self.curves, x_label="ratings", y_label=METRIC)


@dataclass(frozen=True, slots=True, eq=False)
class _Rated:
    """An answer with what may be said about it."""

    asked: Asked
    places: np.ndarray
    good: bool
    attribution: Attribution
    judged: Example | None  # what the judge's word teaches

    def example(self, good: bool) -> Example | None:
        return rated(self.asked, self.places, good, self.attribution)

    def corrected(self) -> Example | None:
        return corrected(self.asked, self.places, self.attribution)


def run(
    corpus: Path,
    questions: Path,
    settings: Settings,
    *,
    ask_corpus: Path | None = None,
    ask_questions: Path | None = None,
) -> Learning:
    """Return the gain per regime, under flips and attack, on untouched topics, with write-back and on another corpus.

    Args:
        ask_corpus, ask_questions: another set that the engine taught by the first is asked, both or none.
    """
    if (ask_corpus is None) != (ask_questions is None):
        raise ValueError("ask_corpus and ask_questions belong together")
    regimes, attack, untouched, transfer, written = (Pool(METRICS) for _ in range(5))
    attacks: list[int] = []
    with open_tools(settings) as tools:
        asked = ask_files(corpus, questions, settings, tools.embedder)
        others: list[Asked] = []
        if ask_corpus is not None and ask_questions is not None:
            others = ask_files(ask_corpus, ask_questions, settings, tools.embedder)
        untrained = attention()
        judge = Judge(tools.embedder.encode, Rarities(passage.text for passage in read_corpus(corpus)))
        answered = []
        for done, one in enumerate(asked, 1):
            places = shown(one, untrained)
            judged = rated_by_judge(one, places, tools.attribution, judge)
            answered.append(_Rated(one, places, is_good(one, places), tools.attribution, judged))
            settings.on_progress("answers", done, len(asked))
        for order in range(settings.orders):
            rng = np.random.default_rng((settings.seed, order))
            taught = _regimes(regimes, answered, rng)
            if others:
                _measure(transfer, taught, others, range(len(others)))
            if settings.model != "none":
                write_back = partial(_write_back, stream=taught.stream)
                again = ask_files(corpus, questions, settings, tools.embedder, before=write_back)
                _measure(written, taught, again, taught.held_out)
            topics = _topics(asked, rng)
            attacks.append(_attack(attack, answered, topics, rng))
            _untouched(untouched, answered, topics, rng)
            settings.on_progress("orders", order + 1, settings.orders)
    rows = _regime_rows(regimes) + _attack_rows(attack) + _untouched_rows(untouched)
    rows.append(Row("attacker's ratings that teach anything, per order and key", float(np.mean(attacks)), "ratings"))
    for name in written.systems:
        change = written.difference(name, regimes, name, METRIC)
        rows.append(replace(change, name=f"{name}, change by writing good answers back"))
    for name in transfer.systems[1:]:
        rows.append(transfer.gain(name, UNTRAINED, METRIC, name=f"asked another corpus, {name}, gain", target=0.01))
    return Learning(make_report("learning", rows), _curves(regimes))


# -- regimes and mistakes --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Taught:
    """Answers that were rated, the places of the held-out questions, and what regimes (a) and (c) taught."""

    stream: list[_Rated]
    held_out: list[int]
    systems: Mapping[str, Scorer]


def _regimes(pool: Pool, answered: Sequence[_Rated], rng: np.random.Generator) -> _Taught:
    """Add all regimes to the pool."""
    asked = [one.asked for one in answered]
    parts = split(asked, RATINGS, rng)
    stream = [answered[i] for i in parts.stream]
    systems: dict[str, Scorer] = {UNTRAINED: attention()}
    examples = {
        "a": [one.example(one.good) for one in stream],
        "b": [marked(one.asked, one.places) for one in stream],
        "c": [labelled(one.asked) for one in stream],
        "e": [one.example(True) if one.good else one.corrected() for one in stream],
    }
    if any(one.judged is not None for one in stream):  # there is a reader
        examples["d"] = [one.judged for one in stream]
    for count in sorted({min(count, len(stream)) for count in COUNTS}):
        for regime, taught in examples.items():
            systems[f"{REGIMES[regime]}, {count}"] = learnt(taught[:count])
    systems[WHATEVER] = learnt([one.example(True) for one in stream])
    for share in FLIPS:
        ratings = flipped([one.good for one in stream], share, rng)
        systems[_flip_name(share)] = learnt([one.example(r) for one, r in zip(stream, ratings, strict=True)])
    for name, scorer in systems.items():
        pool.add(name, parts.held_out, measure(scorer, [asked[i] for i in parts.held_out], KS))
    names = [UNTRAINED, *(f"{REGIMES[regime]}, {len(stream)}" for regime in "ac")]
    return _Taught(stream, parts.held_out, {name: systems[name] for name in names})


def _measure(pool: Pool, taught: _Taught, asked: Sequence[Asked], places: Sequence[int]) -> None:
    for name, scorer in taught.systems.items():
        pool.add(name, places, measure(scorer, [asked[i] for i in places], KS))


def _write_back(memory: Memory, stream: Sequence[_Rated]) -> None:
    """Store the answers that were rated good, as confirmed by two raters."""
    for number, one in enumerate(stream):
        answer = one.attribution.answer(one.asked, one.places)
        if not one.good or not answer:
            continue
        memory.record(
            Interaction(
                id=f"answer{number}",
                query=one.asked.question.question,
                answer=answer,
                namespace=memory.namespace,
                session=None,
                created=time.time(),
                source_ids=tuple(one.asked.nodes[i].id for i in one.places),  # the same ids in every brain of a corpus
                used_ids=(),
                route=Route("bench", 0, 0.0, 1.0),
                confidence=1.0,
                finish_reason="stop",
                timings_ms={},
            )
        )
        if (node := memory.interaction(f"answer{number}").answer_node) is not None:
            memory.promote(node)


def _regime_rows(pool: Pool) -> list[Row]:
    rows = pool.rows(UNTRAINED, [METRIC])
    for name in pool.systems[1:]:
        rows += pool.rows(name, [METRIC])
        never_below = 0.0 if name == _flip_name(FLIPS[1]) else None
        rows.append(pool.gain(name, UNTRAINED, METRIC, name=f"{name}, gain", target=never_below))
    honest = [name for name in pool.systems if name.startswith(REGIMES["a"])][-1]
    gain = pool.mean(honest, METRIC) - pool.mean(UNTRAINED, METRIC)
    if gain > 0.0:
        kept = (pool.mean(_flip_name(FLIPS[0]), METRIC) - pool.mean(UNTRAINED, METRIC)) / gain
        rows.append(Row(f"{_flip_name(FLIPS[0])}, gain kept", kept, "fraction", target=0.9, met=kept >= 0.9))
    return rows


def _curves(pool: Pool) -> dict[str, list[tuple[int, float]]]:
    curves = {}
    for regime in REGIMES.values():
        reached = [
            (int(name.rsplit(" ", 1)[1]), pool.mean(name, METRIC)) for name in pool.systems if name.startswith(regime)
        ]
        if reached:
            curves[regime] = [(0, pool.mean(UNTRAINED, METRIC)), *reached]
    return curves


def _flip_name(share: float) -> str:
    return f"(a) with {share:.0%} of the ratings turned round"


# -- topics ----------------------------------------------------------------------------------------------------------


def _topics(asked: Sequence[Asked], rng: np.random.Generator) -> np.ndarray:
    """Return the topic of each question: the nearest of NUM_TOPICS drawn questions, so that all are much alike."""
    vectors = np.stack([one.vector for one in asked])
    centres = rng.choice(len(asked), min(NUM_TOPICS, len(asked)), replace=False)
    topics: np.ndarray = (vectors @ vectors[centres].T).argmax(axis=1)
    return topics


def _attack(pool: Pool, answered: Sequence[_Rated], topics: np.ndarray, rng: np.random.Generator) -> int:
    """Let an attacker ask half the questions of a topic of middling size and rate every answer the wrong way round.

    Return how many of his ratings teach: those that call a bad answer good.
    """
    asked = [one.asked for one in answered]
    sizes = np.bincount(topics)
    topic = int(np.argsort(sizes, kind="stable")[len(sizes) // 2])
    members = rng.permutation(np.flatnonzero(topics == topic)).tolist()
    his = members[: len(members) // 2]
    parts = split(asked, RATINGS, rng)
    honest = [answered[i].example(answered[i].good) for i in parts.stream if i not in his]
    wrong = [example for i in his if (example := answered[i].example(not answered[i].good)) is not None]
    systems = {UNTRAINED: attention(), "honest": learnt(honest)}
    for keys in KEYS:
        systems[_attack_name(keys)] = learnt([*honest, *(replace(e, weight=e.weight * keys) for e in wrong)])
    held_out = apart(asked, his, [i for i in parts.held_out if i not in his])
    for where, places in (
        ("on the attacked topic", [i for i in held_out if topics[i] == topic]),
        ("on other topics", [i for i in held_out if topics[i] != topic]),
    ):
        for name, scorer in systems.items():
            if places:
                pool.add(f"{name} {where}", places, measure(scorer, [asked[i] for i in places], KS))
    return len(wrong)


def _attack_rows(pool: Pool) -> list[Row]:
    rows = []
    for where, most in (("on the attacked topic", 0.05), ("on other topics", 0.01)):
        for keys in KEYS:
            name = f"{_attack_name(keys)} {where}"
            if name in pool.systems:
                rows.append(
                    pool.gain(
                        name,
                        f"honest {where}",
                        METRIC,
                        name=f"{name} ({pool.count(name)} pooled), change",
                        target=-most,
                    )
                )
    return rows


def _attack_name(keys: int) -> str:
    return f"attacker with {keys} {'key' if keys == 1 else 'keys'}"


def _untouched(pool: Pool, answered: Sequence[_Rated], topics: np.ndarray, rng: np.random.Generator) -> None:
    """Rate answers on every other topic only, and ask about the rest."""
    asked = [one.asked for one in answered]
    touched = rng.permutation(np.flatnonzero(topics % 2 == 0)).tolist()[:RATINGS]
    systems = {UNTRAINED: attention(), "trained": learnt([answered[i].example(answered[i].good) for i in touched])}
    rest = apart(asked, touched, np.flatnonzero(topics % 2 == 1).tolist())
    for name, scorer in systems.items():
        if rest:
            pool.add(name, rest, measure(scorer, [asked[i] for i in rest], KS))


def _untouched_rows(pool: Pool) -> list[Row]:
    if not pool.systems:
        return []
    name = f"untouched topics ({pool.count('trained')} pooled)"
    return [
        pool.gain("trained", UNTRAINED, METRIC, name=f"{name}, gain"),
        pool.bound("trained", UNTRAINED, METRIC, name=f"{name}, 95 % sure of a gain above", margin=MARGIN),
    ]
