"""The concepts of a memory: clusters found, written, read and dissolved."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ruvllm.errors import BrainError
from ruvllm.memory.affinity import among_few, read_pairs
from ruvllm.memory.arguments import checked_call, checked_count, checked_id, checked_ids, checked_kind, checked_seed
from ruvllm.memory.clusters import Cluster, find_clusters
from ruvllm.memory.concepts import Concept, StoredConcept, delete_concept, read_concepts, write_concept
from ruvllm.memory.embedder_lock import with_one_embedder
from ruvllm.memory.face.opened import OpenedBrain
from ruvllm.memory.newnodes import checked_json
from ruvllm.memory.rows import SEARCHED, checked_text, checked_weight, fetch_nodes
from ruvllm.types import NodeType, Tier
from ruvllm.types.graph import PRIVATE, says_private

__all__ = ["Concepts"]

CLUSTERED = (
    f"SELECT id FROM nodes WHERE namespace = ? AND {SEARCHED} AND type NOT IN (?, ?) AND trust > 0.0 ORDER BY id"
)


def _never() -> bool:
    return False


class Concepts(OpenedBrain):
    """What a memory does with clusters and concepts."""

    @with_one_embedder
    def detect_clusters(
        self,
        min_size: int = 3,
        min_density: float = 0.5,
        *,
        among: np.ndarray | None = None,
        seed: int = 0,
        must_stop: Callable[[], bool] = _never,
    ) -> list[Cluster]:
        """Return the groups of searched nodes that belong together, largest first; the same for the same seed.

        Two nodes are close when they are among each other's nearest by meaning, when an edge joins them, or when
        searches find them together. What is on probation, archived, ended or untrusted is in no cluster, nor are
        questions and concepts. 100,000 nodes take about a minute.

        Args:
            min_size: >= 2, nodes of a cluster.
            min_density: in [0, 1], mean affinity of two of its nodes: cosine, edge weight or the share of searches
                that found both, whichever is the largest.
            among: (n,) int64, ids of concepts to look at instead.
            must_stop: asked some ten times a second; when True, nothing is returned.

        Raises:
            TypeError, ValueError: a number out of range, or `among` holds what is no id.
        """
        min_size = checked_count(min_size, "min_size", least=2)
        seed = checked_seed(seed)
        checked_weight(min_density, "min_density")
        checked_call(must_stop, "must_stop")
        if self._space.known() is None:
            return []
        if among is None:
            rows = self._store.rows(CLUSTERED, (self.namespace, NodeType.QUERY.value, NodeType.CONCEPT.value))
            ids = np.array([row[0] for row in rows], np.int64)
            pairs = read_pairs(self._store, self._nearest, ids, must_stop)
        else:
            ids = np.sort(np.array(checked_ids(among, "among"), np.int64))
            pairs = among_few(self._nearest, ids, must_stop)
        if pairs is None:
            return []

        def vectors(places: np.ndarray) -> np.ndarray:
            known, rows = self._nearest.vectors(ids[places])
            if len(known) == len(places):
                return rows
            every = np.zeros((len(places), rows.shape[1]), np.float32)  # one left meanwhile
            every[known] = rows
            return every

        return find_clusters(
            ids, pairs, vectors, min_size=min_size, min_density=min_density, seed=seed, must_stop=must_stop
        )

    def concepts(self) -> list[StoredConcept]:
        """Return the concepts that compression made here, in order of their ids."""
        return read_concepts(self._store, self.namespace)

    @with_one_embedder
    def put_concept(self, concept: Concept, members: Mapping[int, float], *, replaces: int | None = None) -> int | None:
        """Store a concept, with Contains and Derived edges to its members, in one transaction; durable on return.

        It is private where a member is.

        Args:
            members: ids of what it contains -> weights in [0, 1].
            replaces: the concept that it is a new version of, which keeps its id.

        Returns:
            its id; None when a member is gone, ended or on probation meanwhile: then nothing is stored.

        Raises:
            TypeError, ValueError: the text is empty, the metadata is not JSON, its level is no whole number >= 1, there
                are no members, or a weight is not in [0, 1].
        """
        self.require_writable()
        checked_text(checked_kind(concept, Concept, "concept").text, "concept")
        checked_json(concept.metadata, "concept")
        checked_count(concept.metadata.get("level", 1), "concept's level")
        if not checked_kind(members, Mapping, "members"):
            raise ValueError("members must be what the concept contains, at least one node")
        for member, weight in members.items():
            checked_weight(weight, f"members[{checked_id(member, 'members')}]")
        if replaces is not None:
            replaces = checked_id(replaces, "replaces")
        vector = self.encode([concept.text])[0]

        def after(node: int | None) -> None:
            if node is not None:
                if node == replaces:
                    self._derived.removed([node])
                self._derived.added([node], vector[np.newaxis])

        return self._store.write(
            lambda connection: write_concept(connection, self.namespace, concept, vector, members, replaces=replaces),
            after=after,
        )

    def dissolve_concept(self, concept_id: int) -> int:
        """Delete a concept, and those made of it, and bring its archived members back; return how many came back.

        Raises:
            KeyError: there is no such concept.
            BrainError: the cold file, or a member in it, is missing; nothing changes.
        """
        self.require_writable()
        concept_id = checked_id(concept_id, "concept_id")
        archived = [node for one in self.concepts() if one.id == concept_id for node in one.archived]
        back = self._archive.rehydrate(archived) if archived else 0
        self._store.write(
            lambda connection: delete_concept(connection, self.namespace, concept_id), after=self._derived.removed
        )
        self._cold.reload()  # what else lies on its shelf stays there, and is found, until it is filed anew
        return back

    def texts(self, ids: Sequence[int]) -> dict[int, str]:
        """Return the texts of the nodes of `ids` that are here, by id, whole also where they are archived."""
        found = fetch_nodes(self._store, checked_ids(ids, "ids"))
        nodes = {id_: node for id_, node in found.items() if node.namespace == self.namespace}
        cold = [node.id for node in nodes.values() if node.tier is Tier.COLD]
        try:
            whole = self._archive.read(cold) if cold else {}
        except BrainError:
            if not self._archive.has_let_go_of(cold):
                raise
            return self.texts(ids)
        return {id_: whole[id_][0] if id_ in whole else node.text for id_, node in nodes.items()}

    def private_among(self, ids: Sequence[int]) -> set[int]:
        """Return those of `ids` whose texts no endpoint may be shown."""
        sql = (
            "SELECT id, metadata -> ?1 FROM nodes "
            "WHERE id IN (SELECT value FROM json_each(?2)) AND metadata -> ?1 IS NOT NULL"
        )
        rows = self._store.rows(sql, (PRIVATE, json.dumps(checked_ids(ids, "ids"))))
        return {id_ for id_, said in rows if says_private({PRIVATE: json.loads(said)})}

    @with_one_embedder
    def nearness(self, cluster: Cluster) -> list[float]:
        """Return the cosine of each node of a cluster to its centroid, in [0, 1]."""
        ids = np.array(checked_kind(cluster, Cluster, "cluster").nodes, np.int64)
        known, vectors = self._nearest.vectors(ids)
        cosines = np.zeros(len(ids))
        cosines[known] = np.clip(vectors @ cluster.centroid, 0.0, 1.0)
        return list(cosines.tolist())

    def file_archived(self) -> int:
        """File what is archived with the concepts of today; return how many nodes searches reach through those."""
        self.require_writable()
        filed = self._archive.refile()
        self._cold.reload()
        return filed
