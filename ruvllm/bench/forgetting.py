"""`ruvllm bench forgetting`: what thousands of interactions on other topics cost the topic that was learnt first.

A brain holds some texts of each class of each topic. Users ask texts of topic A, and rate each answer by whether its
source is of the right class; the brain learns; then come other users with other topics, in thousands, and the brain
learns from them time and again. A question of topic A that nobody ever asked is right when the first document found is
of its class: the share of right ones, before the others came and after, is what is compared.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ruvllm.bench.cache import Cache, CachedEmbedder
from ruvllm.bench.corpora import read_rows
from ruvllm.bench.pool import Pool
from ruvllm.bench.quoting import open_quoting, with_quoting
from ruvllm.bench.report import Report, Row, make_report
from ruvllm.bench.setup import Settings
from ruvllm.embedding import open_embedder
from ruvllm.system import RuvLLM
from ruvllm.types import NodeType

__all__ = ["INTERACTIONS", "run"]

DOCUMENTS = 20  # texts of each class in the brain
FROZEN = 1000  # questions of topic A that are only ever measured with
LEARN_EVERY = 2000
USERS = 20
FOUND = 10
BOUND = 0.05
BEFORE, AFTER, FIRST = "before", "after", "as ingested"
METRIC = "accuracy"
INTERACTIONS = "interactions on other topics"


@dataclass(frozen=True, slots=True)
class _Text:
    text: str
    intent: str
    domain: str


def run(data: Path, settings: Settings, *, interactions: int = 10_000) -> Report:
    """Return the accuracy on topic A as ingested, after its own interactions, and after those on other topics.

    Args:
        data: JSON Lines of {text, intent, domain}; each order draws a domain as topic A.
        interactions: on other topics.

    Raises:
        ValueError: no domain has enough texts.
    """
    texts = [_Text(row["text"], row["intent"], row["domain"]) for row in read_rows(data, ("text", "intent", "domain"))]
    domains = _large_domains(texts)
    pool, others = Pool((METRIC,)), Pool((METRIC,))
    done: list[int] = []
    with Cache(settings.cache) as cache:
        config = with_quoting(settings.config)
        embedder = CachedEmbedder(settings.embedder or open_embedder(config.embedding, config.models), cache)
        embedder.encode([one.text for one in texts])
        for order in range(settings.orders):
            rng = np.random.default_rng((settings.seed, order))
            topic = str(rng.choice(domains))
            split = _split(texts, topic, rng)
            with (
                tempfile.TemporaryDirectory(prefix="ruvllm-bench-") as folder,
                RuvLLM(folder, config=config, embedder=embedder, open_engine=open_quoting) as llm,
            ):
                life = _Life(llm, {f"{i}.txt": one.intent for i, one in enumerate(split.documents)}, rng)
                life.llm.ingest({"text": one.text, "source": f"{i}.txt"} for i, one in enumerate(split.documents))
                pool.add(FIRST, split.frozen_places, life.accuracy(split.frozen))
                life.interact(split.taught)
                pool.add(BEFORE, split.frozen_places, life.accuracy(split.frozen))
                others.add(BEFORE, split.others_places, life.accuracy(split.others))
                done.append(len(split.stream[:interactions]))
                life.interact(split.stream[:interactions])
                pool.add(AFTER, split.frozen_places, life.accuracy(split.frozen))
                others.add(AFTER, split.others_places, life.accuracy(split.others))
            settings.on_progress("orders", order + 1, settings.orders)
    return make_report(
        "forgetting", [Row("orders", settings.orders, ""), Row(INTERACTIONS, min(done), ""), *_rows(pool, others)]
    )


def _large_domains(texts: Sequence[_Text]) -> list[str]:
    sizes: dict[str, int] = {}
    classes: dict[str, set[str]] = {}
    for one in texts:
        sizes[one.domain] = sizes.get(one.domain, 0) + 1
        classes.setdefault(one.domain, set()).add(one.intent)
    large = [name for name, size in sizes.items() if size - DOCUMENTS * len(classes[name]) > FROZEN]
    if not large or len(sizes) < 2:
        raise ValueError(f"no domain, of at least two, has more than {FROZEN} texts beside {DOCUMENTS} of each intent")
    return large


@dataclass(frozen=True, slots=True)
class _Split:
    documents: list[_Text]
    frozen: list[_Text]
    frozen_places: list[int]
    taught: list[_Text]
    others: list[_Text]
    others_places: list[int]
    stream: list[_Text]


def _split(texts: Sequence[_Text], topic: str, rng: np.random.Generator) -> _Split:
    seen: dict[str, int] = {}
    documents: list[_Text] = []
    mine: list[int] = []
    rest: list[int] = []
    for i in rng.permutation(len(texts)).tolist():
        one = texts[i]
        seen[one.intent] = seen.get(one.intent, 0) + 1
        if seen[one.intent] <= DOCUMENTS:
            documents.append(one)
        else:
            (mine if one.domain == topic else rest).append(i)
    frozen, taught = mine[:FROZEN], mine[FROZEN:]
    others, stream = rest[:FROZEN], rest[FROZEN:]

    def at(places: list[int]) -> list[_Text]:
        return [texts[i] for i in places]

    return _Split(documents, at(frozen), frozen, at(taught), at(others), others, at(stream))


class _Life:
    """A brain whose users ask and rate; `intents` are those of its documents, by source."""

    def __init__(self, llm: RuvLLM, intents: Mapping[str, str], rng: np.random.Generator) -> None:
        self.llm = llm
        self._intents = intents
        self._rng = rng

    def interact(self, texts: Sequence[_Text]) -> None:
        """Ask every text and rate the answer; learn every now and then, and at the end."""
        for count, one in enumerate(texts, 1):
            response = self.llm.ask(one.text)
            good = bool(response.sources) and self._intents.get(str(response.sources[0].source)) == one.intent
            user = f"user {self._rng.integers(USERS)}"
            self.llm.feedback(response.id, rating=5 if good else 1, rater=user)
            if count % LEARN_EVERY == 0 or count == len(texts):
                self.llm.learn()

    def accuracy(self, texts: Sequence[_Text]) -> np.ndarray:
        """Return (n, 1), whether the first document found is of the class of each text."""
        right = []
        for one in texts:
            hits = self.llm.retrieve(one.text, FOUND)
            first = next((hit.node for hit in hits if hit.node.type == NodeType.DOCUMENT), None)
            right.append(first is not None and self._intents.get(str(first.source)) == one.intent)
        return np.array(right, np.float64)[:, None]


def _rows(pool: Pool, others: Pool) -> list[Row]:
    rows = [row for name in pool.systems for row in pool.rows(name)]
    rows.append(pool.gain(BEFORE, FIRST, METRIC, name="what topic A gained by its own interactions"))
    rows.append(pool.gain(AFTER, BEFORE, METRIC, name="what topic A lost to the others' interactions, as a gain"))
    rows.append(pool.bound(AFTER, BEFORE, METRIC, name="95 % sure of a change above", margin=BOUND))
    rows.append(others.gain(AFTER, BEFORE, METRIC, name="what the other topics gained meanwhile"))
    return rows
