"""`ruvllm bench retrieval`: how much of the evidence is found, by plain search and by a memory that was rated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ruvllm.bench import evaluation
from ruvllm.bench.corpora import read_corpus
from ruvllm.bench.evaluation import Asked, Scorer, apart, attention, measure, measure_rankings, metric_names
from ruvllm.bench.feedback import read_feedback
from ruvllm.bench.peers import lancedb_hybrid, mem0_search
from ruvllm.bench.pool import Pool
from ruvllm.bench.ratings import Attribution, is_good, labelled, learnt, marked, rated, shown
from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.setup import Settings, ask_files, open_tools
from ruvllm.bench.timing import peer

__all__ = ["COUNTS", "run"]

KS = (2, 5, 10)
COUNTS = (20, 50, 100, 250)  # ratings after which the engine is measured
HEADLINE = 100
METRIC = "recall@5"
UNTRAINED = "attention untrained (PageRank prior)"


Peers = Mapping[str, Sequence[Sequence[str]]]
"""Name -> for each question, the names of the passages that another store found, best first."""


def run(corpus: Path, questions: Path, settings: Settings, *, feedback: Path | None = None) -> Report:
    """Return recall and nDCG per system over held-out questions, the gain over the untrained engine, and latency.

    Args:
        corpus, questions: JSON Lines, see `ruvllm.bench.corpora`.
        feedback: what the engine learns from, see `ruvllm.bench.feedback`; simulated ratings of the questions when
            None.
    """
    with open_tools(settings) as tools:
        asked = ask_files(corpus, questions, settings, tools.embedder)
        pool = Pool(metric_names(KS))
        passages = read_corpus(corpus)
        peers = {}
        for name, search in {"LanceDB hybrid": lancedb_hybrid, "mem0": mem0_search}.items():
            if (found := search(passages, asked, tools.embedder, hide_titles=settings.hide_titles)) is not None:
                peers[name] = found
        if feedback is not None:
            _after_feedback(pool, asked, feedback, tools.attribution, peers)
        else:
            for order in range(settings.orders):
                rng = np.random.default_rng((settings.seed, order))
                _after_ratings(pool, asked, rng, tools.attribution, peers)
                settings.on_progress("orders", order + 1, settings.orders)
    rows = [row for system in pool.systems for row in pool.rows(system)]
    rows += [pool.gain(s, UNTRAINED, METRIC) for s in pool.systems if s.startswith("attention after")]
    return make_report("retrieval", rows + latency(asked))


def latency(asked: Sequence[Asked]) -> list[Row]:
    """Return the time of one search without embedding."""
    times = [one.search_ms for one in asked]
    return [Row(f"search, p{q}", float(np.percentile(times, q)), "ms") for q in (50, 95)]


def _after_ratings(
    pool: Pool, asked: Sequence[Asked], rng: np.random.Generator, attribution: Attribution, peers: Peers
) -> None:
    parts = evaluation.split(asked, max(COUNTS), rng)
    stream = [asked[i] for i in parts.stream]
    systems: dict[str, Scorer] = _plain()
    if ranker := _linear_ranker(stream[:HEADLINE]):
        systems[f"linear ranker, {min(HEADLINE, len(stream))} questions labelled"] = ranker
    systems[UNTRAINED] = attention()
    examples = []
    for one in stream:
        places = shown(one, systems[UNTRAINED])
        examples.append(rated(one, places, is_good(one, places), attribution))
    for count in COUNTS:
        if count <= len(stream):
            systems[f"attention after {count} ratings"] = learnt(examples[:count])
    systems["attention after all labels"] = learnt([labelled(one) for one in stream])
    _measure(pool, systems, peers, asked, parts.held_out)


def _after_feedback(pool: Pool, asked: Sequence[Asked], file: Path, attribution: Attribution, peers: Peers) -> None:
    given = read_feedback(file)
    untrained = attention()
    examples, stream = [], []
    for i, one in enumerate(asked):
        if said := given.get(one.question.id):
            stream.append(i)
            places = shown(one, untrained)
            if said.good_pids:
                examples.append(marked(one, places, said.good_pids))
            else:
                examples.append(rated(one, places, said.is_good, attribution))
    if not stream:
        raise ValueError(f"{file} says nothing about any of the questions")
    rest = apart(asked, stream, [i for i in range(len(asked)) if i not in set(stream)])
    if not rest:
        raise ValueError(f"{file} leaves no question that shares no passage with those it is about")
    systems = {**_plain(), UNTRAINED: untrained, f"attention after {len(stream)} rows of feedback": learnt(examples)}
    _measure(pool, systems, peers, asked, rest)


def _plain() -> dict[str, Scorer]:
    return {"dense": evaluation.dense, "BM25": evaluation.bm25, "RRF": evaluation.rrf}


def _measure(
    pool: Pool, systems: Mapping[str, Scorer], peers: Peers, asked: Sequence[Asked], held_out: Sequence[int]
) -> None:
    questions = [asked[i] for i in held_out]
    for name, rankings in peers.items():
        pool.add(name, held_out, measure_rankings([rankings[i] for i in held_out], questions, KS))
    for name, scorer in systems.items():
        pool.add(name, held_out, measure(scorer, questions, KS))


def _linear_ranker(stream: Sequence[Asked]) -> Scorer | None:
    """Return logistic regression on the node features of labelled questions, None without scikit-learn."""
    if peer("sklearn") is None:
        return None
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=500))
    labels = np.concatenate([one.labels for one in stream])
    if labels.all() or not labels.any():
        return None
    model.fit(np.concatenate([one.inputs.node_features for one in stream]), labels)
    return lambda asked: np.asarray(model.decision_function(asked.inputs.node_features))
