"""A stream of topics, one after another: what learning the next one costs the ones before, and what it is held back by.

R[t, j] is the share of outcomes of topic j that are put on their right side (quality above or below 0.5) after topics
0..t. Forgetting of j is max_{t < T} R[t, j] - R[T, j], averaged over all but the last; plasticity loss is how far
R[j, j] stays below what training on all topics at once gives (Chaudhry et al. 2018, arXiv:1801.10112).

Only the network is judged: the memory of outcomes, which forgets nothing, is empty throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.routers.table import Table, choose_models, make_table, read_questions, rows_of, with_scores
from ruvllm.bench.setup import Settings, open_tools
from ruvllm.router.embedding_map import EmbeddingMap
from ruvllm.router.ewc import Consolidation, consolidate, fisher_diagonal
from ruvllm.router.features import feature_rows
from ruvllm.router.fitted import as_sequences
from ruvllm.router.model import RouterModel, TierInputs
from ruvllm.router.outcome_memory import OutcomeMemory
from ruvllm.router.replay import Replayed, replayed
from ruvllm.router.training import Lessons, Trained, TrainingConfig, judge, train

__all__ = ["run"]

Floats64 = npt.NDArray[np.float64]

LAMBDAS = (0.04, 0.4, 4.0, 40.0)
SHIPPED = 0.04  # ewc_lambda beside replay
TESTED = 3  # every so manieth question of a topic is tested on
MAX_FORGETTING, MAX_PLASTICITY_LOSS = 0.02, 0.03
CONFIG = TrainingConfig(w_density=1.0, patience=30)


@dataclass(frozen=True, slots=True, eq=False)
class _Topic:
    name: str
    taught: Lessons
    tested: Lessons


def run(files: Sequence[Path], settings: Settings, *, models: Sequence[str] | None = None, topics: int = 10) -> Report:
    """Return forgetting and plasticity loss of every way to learn a stream of the largest `topics`.

    Raises:
        ValueError: the files have fewer than two topics.
    """
    questions = read_questions(files)
    names = choose_models(questions, models)
    with open_tools(settings) as tools:
        table = make_table(with_scores(questions, names), names, tools.embedder)
    stream = _stream(table, topics, settings.seed)
    model = RouterModel(table.outcomes.tiers)
    joint = _accuracies(model, _joint(model, stream, settings.seed), stream)
    ways: dict[str, Callable[[], Floats64]] = {
        "nothing": lambda: _learn(model, stream, settings.seed),
        **{f"EWC, lambda {v:g}": _with(model, stream, settings.seed, ewc_lambda=v) for v in LAMBDAS},
        "replay": _with(model, stream, settings.seed, replay=True),
        f"replay and EWC, lambda {SHIPPED:g}": _with(model, stream, settings.seed, ewc_lambda=SHIPPED, replay=True),
    }
    rows = [Row("accuracy when all topics are learnt at once", float(joint.mean()), "")]
    for done, (name, learn) in enumerate(ways.items(), 1):
        reached = learn()
        rows += _rows(name, reached, joint, is_shipped=done == len(ways))
        settings.on_progress("streams", done, len(ways))
    return make_report("stream", rows)


def _with(
    model: RouterModel, stream: Sequence[_Topic], seed: int, *, ewc_lambda: float = 0.0, replay: bool = False
) -> Callable[[], Floats64]:
    return lambda: _learn(model, stream, seed, ewc_lambda=ewc_lambda, replay=replay)


def _stream(table: Table, topics: int, seed: int) -> list[_Topic]:
    rows = sorted(rows_of(table.topics).items(), key=lambda item: (-len(item[1]), item[0]))[:topics]
    if len(rows) < 2:
        raise ValueError("a stream needs at least two topics (subject or benchmark of a row)")
    rng = np.random.default_rng(seed)
    order = [rows[i] for i in rng.permutation(len(rows))]
    embedding_map = EmbeddingMap.fit(table.outcomes.vectors, rng)
    found = []
    for name, places in order:
        places = rng.permutation(places)
        is_tested = np.arange(len(places)) % TESTED == 0
        taught, tested = places[~is_tested], places[is_tested]
        found.append(_Topic(name, _lessons(table, taught, embedding_map), _lessons(table, tested, embedding_map)))
    return found


def _lessons(table: Table, rows: npt.NDArray[np.int64], embedding_map: EmbeddingMap) -> Lessons:
    """Return lessons whose features are of question and embedding only; their evidence is that of an empty memory."""
    part = table.outcomes.take(rows)
    nothing = OutcomeMemory(part.tiers, part.vectors.shape[1]).near_many(part.vectors, part.texts)
    features, _ = feature_rows(part.texts, part.vectors, None, embedding_map)
    return as_sequences(part, features, nothing)


def _joint(model: RouterModel, stream: Sequence[_Topic], seed: int) -> Trained:
    taught = _joined([topic.taught for topic in stream])
    return train(model, taught, taught, CONFIG, np.random.default_rng(seed))


def _learn(
    model: RouterModel, stream: Sequence[_Topic], seed: int, *, ewc_lambda: float = 0.0, replay: bool = False
) -> Floats64:
    """Return R (T, T): the accuracy on every topic after each."""
    rng = np.random.default_rng(seed)
    trained: Trained | None = None
    consolidation: Consolidation | None = None
    kept: Replayed | None = None
    seen: list[Lessons] = []
    reached = []
    for topic in stream:
        trained = train(
            model,
            topic.taught,
            topic.taught,
            replace(CONFIG, ewc_lambda=ewc_lambda),
            rng,
            start=trained,
            consolidation=consolidation,
            replay=kept,
        )
        seen.append(topic.taught)
        if ewc_lambda:
            fisher = fisher_diagonal(model, trained.params, topic.taught.features, topic.taught.inputs, rng)
            consolidation = consolidate(consolidation, trained.params, fisher)
        if replay:
            past = _joined(seen)
            judged = judge(model, trained.params, past)
            kept = replayed(past, judged.quality_logit, judged.tier_logit, seed=seed)
        reached.append(_accuracies(model, trained, stream))
    return np.array(reached)


def _joined(parts: Sequence[Lessons]) -> Lessons:
    first = parts[0]
    inputs = TierInputs(*(np.concatenate([getattr(p.inputs, n) for p in parts]) for n in TierInputs.__slots__))
    fields = {n: np.concatenate([getattr(p, n) for p in parts]) for n in Lessons.__slots__ if n != "inputs"}
    return replace(first, inputs=inputs, **fields)


def _accuracies(model: RouterModel, trained: Trained, stream: Sequence[_Topic]) -> Floats64:
    found = []
    for topic in stream:
        judged = judge(model, trained.params, topic.tested)
        found.append(((judged.quality_logit > 0.0) == (topic.tested.quality > 0.5)).mean())
    return np.array(found)


def _rows(name: str, reached: Floats64, joint: Floats64, *, is_shipped: bool) -> list[Row]:
    last = len(reached) - 1
    forgetting = float((reached[:last].max(axis=0) - reached[last])[:last].mean())
    plasticity = float((joint - np.diag(reached)).mean())
    bounds = (MAX_FORGETTING, MAX_PLASTICITY_LOSS) if is_shipped else (None, None)

    def row(what: str, value: float, bound: float | None) -> Row:
        return Row(f"{what}, held by {name}", value, "", target=bound, met=None if bound is None else value <= bound)

    return [
        row("forgetting", forgetting, bounds[0]),
        row("plasticity loss", plasticity, bounds[1]),
        row("accuracy at the end", float(reached[last].mean()), None),
    ]
