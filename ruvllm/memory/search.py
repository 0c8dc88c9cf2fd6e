"""Search: seeds by vectors, words and names; the graph around them; ranked by graph attention."""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ruvllm import kernels
from ruvllm.attention import AttentionEngine, Candidates
from ruvllm.attention.engine import Inputs, make_inputs
from ruvllm.attention.features import pagerank_prior
from ruvllm.config import RetrievalConfig
from ruvllm.memory.cold_search import ColdSearch, Guest
from ruvllm.memory.concept_ranking import boosted, read_contained, told
from ruvllm.memory.filters import Condition, PassingIds, condition_of
from ruvllm.memory.history import alive_at
from ruvllm.memory.keywords import Keywords
from ruvllm.memory.linking import Linker
from ruvllm.memory.links import Links
from ruvllm.memory.nearest import Nearest
from ruvllm.memory.paths import Found, explain
from ruvllm.memory.rows import fetch_nodes, vector_of
from ruvllm.memory.seen import Seen
from ruvllm.memory.store import Store
from ruvllm.memory.traits import MAX_LENGTH, TRAIT, Traits
from ruvllm.text import query_terms
from ruvllm.types import Filter, Hit, Hits, Node, NodeType

__all__ = ["ON_PROBATION", "GraphSearch", "fuse"]

MAX_SESSION_NODES = 2048  # newest on probation that are searched within their session, by their vectors
NEAR_SESSION_NODES = 256  # of these, the nearest, by their words, too
NAMED_NODES = 128  # around the nodes that the question names
EXPLAINED_SEEDS = 4  # strongest nodes whose part is taken off the question for the feature "rest"

ON_PROBATION = (  # of a session; in words that lead SQLite to the index by session
    "nodes.namespace = ? AND nodes.session = ? AND nodes.probation = 1 AND nodes.tier = 'hot' "
    "AND nodes.ended IS NULL AND (nodes.type <> 'Query' OR ?) AND nodes.created <= ?"
)

EVERYTHING: Condition = ("1", [])

_WORD = re.compile(r"\w+")


def fuse(rankings: Iterable[Sequence[int]], rrf_k: int) -> dict[int, float]:
    """Return each id's fused score: the sum over rankings of 1 / (rrf_k + rank), ranks from 1.

    Source: Cormack, Clarke and Buettcher 2009, reciprocal rank fusion.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, node_id in enumerate(ranking, start=1):
            scores[node_id] = scores.get(node_id, 0.0) + 1.0 / (rrf_k + rank)
    return scores


@dataclass(slots=True)
class _Seeds:
    """Where a search starts: node id -> what is known of it."""

    words: np.ndarray  # terms of the question
    similarity: dict[int, float]
    relevance: dict[int, float]
    graph: kernels.Graph
    named: dict[int, float]  # weight of nodes that the question calls by name
    ranking: list[int] = field(default_factory=list)  # fused, best first
    keyword_rank: dict[int, int] = field(default_factory=dict)
    guests: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # of the session, or what held then
    guest_traits: np.ndarray = field(default_factory=lambda: np.empty(0, TRAIT))
    among: np.ndarray | None = None
    concepts: frozenset[int] = frozenset()  # of what was found; they come last in the ranking
    guest_vectors: dict[int, np.ndarray] = field(default_factory=dict)  # (native_dim,)
    cold_condition: Condition | None = None  # that what is archived has to pass; None: nothing of it is looked for
    archived: dict[int, str] = field(default_factory=dict)  # those of the guests that are; id -> text


class GraphSearch:
    """Searches one namespace; holds no state of its own but what was seen last."""

    def __init__(
        self,
        store: Store,
        nearest: Nearest,
        keywords: Keywords,
        links: Links,
        linker: Linker,
        traits: Traits,
        passing: PassingIds,
        cold: ColdSearch,
        engine: Callable[[], AttentionEngine],
        namespace: str,
        config: RetrievalConfig,
    ) -> None:
        self._store = store
        self._nearest = nearest
        self._keywords = keywords
        self._links = links
        self._linker = linker
        self._traits = traits
        self._cold = cold
        self._engine = engine
        self._namespace = namespace
        self._config = config
        self._passing = passing
        self.seen = Seen()

    def search(
        self,
        query: str,
        native: np.ndarray,
        vector: np.ndarray,
        k: int,
        *,
        filter: Filter | None = None,
        session: str | None = None,
        hops: int | None = None,
        concept_boost: float = 1.0,
        with_paths: bool = False,
        as_of: float | None = None,
    ) -> Hits:
        """Return the `k` best hits; `native` and `vector` are the query's unit vector before and after projection."""
        seeds = self._seeds(query, native, vector, max(k, self._config.candidates), filter, session, as_of)
        candidates = self._candidates(query, native, vector, seeds, k, self._config.hops if hops is None else hops)
        if candidates is None:
            return Hits()
        ids = candidates.graph.ids
        ranked = self._engine().rank(candidates, _edge_features(seeds, candidates))
        features = ranked.inputs.node_features
        scores = ranked.weights * candidates.trust
        concepts = np.flatnonzero(self._traits.are(ids, NodeType.CONCEPT) & (candidates.trust > 0.0))
        if len(concepts):
            contained = read_contained(self._store, ids, concepts)
            most = math.ceil(self._config.concept_share * k)
            scores = (
                boosted(scores, contained, concept_boost)
                if concept_boost != 1.0
                else told(scores, candidates.similarity, contained, most)
            )
        best, nodes = self._best(ids, scores, candidates, seeds, k)
        nodes |= {node: replace(nodes[node], text=text) for node, text in seeds.archived.items() if node in nodes}
        if filter is None and as_of is None and not self._store.read_only:
            rows = zip(ids[best].tolist(), features[best], strict=True)
            self.seen.note(query, native, [(nodes[node], row) for node, row in rows if node in nodes])
        found = Found(candidates, ranked.prior, seeds.named, seeds.ranking[: self._config.strong], seeds.keyword_rank)
        return Hits(
            Hit(
                nodes[node],
                float(scores[i]),
                float(candidates.similarity[i]) or None,  # 0 exactly where there is no vector
                seeds.keyword_rank.get(node),
                explain(i, found) if with_paths else None,
                int(candidates.graph.hops[i]),
            )
            for i in best
            if (node := int(ids[i])) in nodes  # not deleted since
        )

    def inputs(
        self,
        query: str,
        native: np.ndarray,
        vector: np.ndarray,
        k: int,
        *,
        pause: Callable[[], object] = lambda: None,
    ) -> tuple[np.ndarray, Inputs] | None:
        """Return the ids of a question's candidates and what the engine would be given for them; None without any.

        Args:
            pause: called between the steps; it may wait.
        """
        seeds = self._seeds(query, native, vector, max(k, self._config.candidates))
        pause()
        candidates = self._candidates(query, native, vector, seeds, k, self._config.hops)
        if candidates is None:
            return None
        pause()
        prior = pagerank_prior(candidates)
        return candidates.graph.ids, make_inputs(candidates, _edge_features(seeds, candidates), prior)

    # -- seeds -------------------------------------------------------------------------------------------------------

    def _seeds(
        self,
        query: str,
        native: np.ndarray,
        vector: np.ndarray,
        count: int,
        filter: Filter | None = None,
        session: str | None = None,
        as_of: float | None = None,
    ) -> _Seeds:
        condition = condition_of(filter) if filter else EVERYTHING
        among = self._passing.ids_of(condition) if filter else None
        guests: list[Guest] = []
        mentioned = self._linker.mentioned(query)
        archived, others = self._cold.found(query, native, count, condition) if as_of is None else ([], {})
        for name, nodes in others.items():
            mentioned[name] = [*mentioned.get(name, ()), *nodes]
        named = self._named(mentioned)
        if as_of is not None:
            held, guests = alive_at(self._store, self._namespace, as_of, condition)
            among = held if among is None else np.intersect1d(among, held)
            known = set(held.tolist())
            named = {node: weight for node, weight in named.items() if node in known}
        ids, cosines = self._nearest.search(vector, count, among=among)
        similarity = dict(zip(ids.tolist(), cosines.tolist(), strict=True))
        words = query_terms(query)
        relevance = self._keywords.search(words, count, among=among)
        graph = self._links.load() if as_of is None else self._links.at(as_of)
        seeds = _Seeds(words, similarity, relevance, graph, named, among=among)
        seeds.cold_condition = condition if as_of is None else None
        if session is not None:
            wants_queries = filter is not None and "type" in filter
            parameters = [self._namespace, session, wants_queries, math.inf if as_of is None else as_of, *condition[1]]
            guests += self._on_probation((f"{ON_PROBATION} AND {condition[0]}", parameters), native)
        self._invite(native, seeds, guests)
        self._invite_archived(native, seeds, archived)
        similarity, relevance = seeds.similarity, seeds.relevance
        found = np.fromiter({**similarity, **relevance}, np.int64)
        traits = self._traits_of(found, seeds)
        trusts = dict(zip(found.tolist(), traits["trust"].tolist(), strict=True))
        seeds.concepts = frozenset(found[self._traits.are(found, NodeType.CONCEPT) & (traits["trust"] > 0.0)].tolist())
        passages, worded = (
            {i: x for i, x in each.items() if i not in seeds.concepts} for each in (similarity, relevance)
        )
        by_vector, by_keyword = _best(passages, count), _best(worded, count)
        fused = fuse([by_vector, by_keyword], self._config.rrf_k)
        weighed = {node: score * trust for node, score in fused.items() if (trust := trusts[node]) > 0.0}
        seeds.ranking = _best(weighed, len(weighed))
        seeds.ranking += _best({i: similarity.get(i, 0.0) for i in seeds.concepts}, self._config.strong)
        seeds.keyword_rank = {node_id: rank for rank, node_id in enumerate(by_keyword, start=1)}
        return seeds

    def _invite(self, native: np.ndarray, seeds: _Seeds, guests: Sequence[Guest]) -> None:
        """Let nodes take part that are neither in the index nor among the words in memory."""
        if guests:
            seeds.similarity |= _cosines(native, ((node_id, vector) for node_id, _, _, vector in guests))
            seeds.relevance |= self._keywords.scores_of(seeds.words, (node[:3] for node in guests))
            ids, traits = self._traits.of_others(node[0] for node in guests)
            lengths = {node[0]: min(len(node[1]), MAX_LENGTH) for node in guests}  # the database lacks archived texts
            traits["length"] = [lengths[node] for node in ids.tolist()]
            seeds.guest_vectors |= {node[0]: vector_of(node[3]) for node in guests if len(node[3]) == 4 * len(native)}
            seeds.guests = np.concatenate([seeds.guests, ids])
            seeds.guest_traits = np.concatenate([seeds.guest_traits, traits])

    def _invite_archived(self, native: np.ndarray, seeds: _Seeds, guests: Sequence[Guest]) -> list[int]:
        """Let archived nodes take part, each once; return those that are new."""
        new = [guest for guest in guests if guest[0] not in seeds.archived]
        self._invite(native, seeds, new)
        seeds.archived |= {node: text for node, text, _, _ in new}
        return [guest[0] for guest in new]

    def _traits_of(self, ids: np.ndarray, seeds: _Seeds) -> np.ndarray:
        traits = self._traits.of(ids)
        if len(seeds.guests):
            _, places, rows = np.intersect1d(ids, seeds.guests, assume_unique=True, return_indices=True)
            traits[places] = seeds.guest_traits[rows]
        return traits

    def _named(self, mentioned: Mapping[str, Sequence[int]]) -> dict[int, float]:
        """Return the nodes that are called by names, name -> nodes; of a name that several share each has its part."""
        ids = [node for nodes in mentioned.values() for node in nodes]
        trust = dict(zip(ids, self._traits.of(np.array(ids, np.int64))["trust"].tolist(), strict=True))
        named: dict[int, float] = {}
        for nodes in mentioned.values():
            for node in nodes:
                if trust[node] > 0.0:
                    named[node] = max(named.get(node, 0.0), trust[node] / len(nodes))
        return named

    def _on_probation(self, visible: tuple[str, list[Any]], native: np.ndarray) -> list[tuple[Any, ...]]:
        """Return (id, text, metadata, vector) of the visible nodes on probation that are nearest, the newest first."""
        rows = self._store.rows(
            "SELECT id, ifnull(vector, x'') FROM nodes LEFT JOIN vectors ON node = id "
            f"WHERE {visible[0]} ORDER BY id DESC LIMIT ?",
            (*visible[1], MAX_SESSION_NODES),
        )
        near = _best({node: 0.0 for node, _ in rows} | _cosines(native, rows), NEAR_SESSION_NODES)
        return self._store.rows(
            "SELECT id, text, metadata, ifnull(vector, x'') FROM nodes LEFT JOIN vectors ON node = id "
            "WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id DESC",
            (json.dumps(near),),
        )

    # -- candidates --------------------------------------------------------------------------------------------------

    def _candidates(
        self, query: str, native: np.ndarray, vector: np.ndarray, seeds: _Seeds, k: int, hops: int
    ) -> Candidates | None:
        """Return the seeds and what lies around the strongest of them, with all that ranking looks at."""
        graph = seeds.graph
        strong = list(dict.fromkeys([*seeds.named, *seeds.ranking[: self._config.strong]]))
        near: dict[int, int] = {}
        if seeds.cold_condition is not None:
            whole = [*strong, *seeds.concepts]
            near = self._cold.around(list(seeds.named), whole, hops, self._config.fan_out)
            self._invite_archived(native, seeds, self._cold.guests(near, seeds.cold_condition))
        ids, distances = self._around(graph, list(seeds.named), strong, seeds.ranking, near, max(k, 1), hops)
        if not len(ids):
            return None
        subgraph = replace(graph.among(ids, now=time.time()), hops=distances)
        degrees = graph.degrees(ids)
        if seeds.archived:
            subgraph = self._cold.linked(subgraph, seeds.archived, epoch=graph.epoch)
            degrees = np.maximum(degrees, self._cold.degrees(subgraph, seeds.archived))
        place = dict(zip(ids.tolist(), range(len(ids)), strict=True))
        similarity, rest = self._similarities(vector, seeds, subgraph, len(strong))
        relevance = seeds.relevance | self._keywords.search(seeds.words, len(ids), among=ids)
        best = max(relevance.values(), default=0.0)
        fused = {node: 1.0 / (rank + 2) for rank, node in enumerate(seeds.ranking[: 2 * self._config.strong])}
        traits = self._traits_of(ids, seeds)
        return Candidates(
            graph=subgraph,
            degrees=degrees,
            similarity=similarity,
            keyword=(_column(relevance, place) / max(best, 1e-6)).astype(np.float32, copy=False),
            fused=_column(fused, place),
            named=_column(seeds.named, place),
            rest=rest,
            speaker=self._traits.spoken_by(query, traits),
            dated=self._traits.dated(query, traits),
            place=np.ascontiguousarray(traits["place"]),
            length=self._traits.turn_lengths(traits),
            trust=traits["trust"].astype(np.float32),
            num_words=len(_WORD.findall(query)),
        )

    def _around(
        self,
        graph: kernels.Graph,
        named: list[int],
        strong: list[int],
        ranking: list[int],
        archive: Mapping[int, int],
        k: int,
        hops: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the candidates' ids, (n,) int64, the strongest first, and how many edges each lies from those."""
        limit, fan_out = max(self._config.max_nodes, k), self._config.fan_out
        starts = np.array(strong, np.int64)
        near, hops_near = graph.reach(starts, hops=min(hops, 1), max_nodes=limit, fan_out=fan_out)
        far, hops_far = graph.reach(np.array(named, np.int64), hops=hops, max_nodes=NAMED_NODES, fan_out=fan_out)
        ids = np.concatenate([starts, near, far, np.fromiter(archive, np.int64), np.array(ranking, np.int64)])
        hops_archive = np.fromiter(archive.values(), np.int32)
        parts = [np.zeros(len(starts), np.int32), hops_near, hops_far, hops_archive, np.ones(len(ranking), np.int32)]
        distances = np.concatenate(parts)
        first = np.sort(np.unique(ids, return_index=True)[1])[: 2 * limit]  # where each node comes first
        return ids[first], distances[first]

    def _similarities(
        self, vector: np.ndarray, seeds: _Seeds, graph: kernels.Subgraph, num_strong: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return each candidate's cosine to the question, and to what of it the strongest, which come first, leave."""
        known, vectors = self._nearest.vectors(graph.ids)
        known, vectors = _with_guests(graph.ids, known, vectors, seeds.guest_vectors)
        similarity, rest = kernels.nearness(graph, vectors, known, vector, num_strong=min(num_strong, EXPLAINED_SEEDS))
        if len(seeds.guests):
            for i in np.setdiff1d(np.flatnonzero(np.isin(graph.ids, seeds.guests)), known):
                similarity[i] = seeds.similarity.get(int(graph.ids[i]), 0.0)
        return similarity, rest

    # -- the best ----------------------------------------------------------------------------------------------------

    def _best(
        self, ids: np.ndarray, scores: np.ndarray, candidates: Candidates, seeds: _Seeds, k: int
    ) -> tuple[list[int], dict[int, Node]]:
        """Return the places of the `k` best, and nodes by id, theirs among them: of those that pass the filter no more
        than its share of one document, and one of those that say the same."""
        passes = scores > 0.0
        if seeds.among is not None:
            passes &= np.isin(ids, seeds.among) | np.isin(ids, seeds.guests)
        order = np.flatnonzero(passes)
        order = order[np.lexsort((ids[order], -scores[order]))]
        most = math.ceil(self._config.source_share * k)
        taken: Counter[int] = Counter()
        first: list[int] = []
        later: list[int] = []
        for rank, document in enumerate(candidates.place[order].tolist()):
            taken[document] += 1
            (first if taken[document] <= most else later).append(rank)
        ranks = [*first, *later]
        nodes: dict[int, Node] = {}
        said: set[tuple[NodeType, str]] = set()
        chosen: list[int] = []
        copies: list[int] = []
        for some in (ranks[:k], ranks[k:]):
            fetched = fetch_nodes(self._store, ids[order[some]].tolist())
            nodes |= fetched
            for rank in some:
                node = fetched.get(int(ids[order[rank]]))
                if node is not None:  # not deleted since
                    says = node.type, seeds.archived.get(node.id, node.text)
                    (copies if says in said else chosen).append(rank)
                    said.add(says)
            if len(chosen) >= k:
                break
        return list(order[sorted([*chosen, *copies][:k])].tolist()), nodes


def _with_guests(
    ids: np.ndarray, known: np.ndarray, vectors: np.ndarray, guests: Mapping[int, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the places in `ids` whose vectors are known, ascending, and the vectors, with those of guests."""
    if not guests:
        return known, vectors
    others = [i for i in np.setdiff1d(np.arange(len(ids)), known).tolist() if int(ids[i]) in guests]
    if not others or len(guests[int(ids[others[0]])]) != vectors.shape[1]:  # of a space of fewer dimensions
        return known, vectors
    places = np.concatenate([known, np.array(others, np.int64)])
    rows = np.concatenate([vectors, np.stack([guests[int(ids[i])] for i in others])])
    order = np.argsort(places)
    return places[order], np.ascontiguousarray(rows[order])


def _edge_features(seeds: _Seeds, candidates: Candidates) -> np.ndarray:
    return seeds.graph.edge_features(candidates.graph, now=time.time())


def _column(values: Mapping[int, float], place: Mapping[int, int]) -> np.ndarray:
    """Return (n,) float32, each node's value at its place, 0 where there is none."""
    column = np.zeros(len(place), np.float32)
    for node, value in values.items():
        if node in place:
            column[place[node]] = value
    return column


def _best(scores: Mapping[int, float], k: int) -> list[int]:
    return [node for _, node in sorted([(-score, node) for node, score in scores.items()])[:k]]


def _cosines(native: np.ndarray, rows: Iterable[tuple[int, bytes]]) -> dict[int, float]:
    sound = [(i, blob) for i, blob in rows if len(blob) == 4 * len(native)]
    vectors = vector_of(b"".join(blob for _, blob in sound)).reshape(-1, len(native))
    return dict(zip((i for i, _ in sound), (vectors @ native).tolist(), strict=True))
