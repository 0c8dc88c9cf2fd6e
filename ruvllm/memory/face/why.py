"""Why a memory answered as it did."""

from __future__ import annotations

from ruvllm.checkpoints import Checkpoints
from ruvllm.memory.embedder_lock import with_one_embedder
from ruvllm.memory.face.requests import Requests
from ruvllm.memory.interactions import Record
from ruvllm.memory.rows import vector_of
from ruvllm.memory.why import Why, explain_answer
from ruvllm.router.features import FEATURE_VERSION
from ruvllm.types import Hits

__all__ = ["Explained"]

FEWEST_HITS = 10


class Explained(Requests):
    """How a memory explains its answers."""

    def why(self, id: str | None = None) -> Why:
        """Return how an answer came about and what has become of it: sources, ranking, route, edges, feedback.

        All is read from the store, also after a restart, and no model is needed; nothing counts as a use. What memory
        does not keep, the ranks, is searched anew and is that of today.

        Args:
            id: an answer's; the newest one when None.

        Raises:
            ValueError: the id is unknown, or nothing was answered yet.
        """
        self._writeback.flush()
        record = self.interaction(self._newest() if id is None else id)
        router = Checkpoints(self.path / "checkpoints" / "router", form=f"router-{FEATURE_VERSION}").current()
        self._lessons.engine()  # loads the version in force
        versions = {"ranking": self._lessons.version, "router": 0 if router is None else router.version}
        return explain_answer(self._store, record, self._found_today(record), self.config.learning, versions)

    def _newest(self) -> str:
        sql = "SELECT id FROM interactions WHERE namespace = ? ORDER BY created DESC, rowid DESC LIMIT 1"
        rows = self._store.rows(sql, (self.namespace,))
        if not rows:
            raise ValueError("id: nothing was answered here yet")
        return str(rows[0][0])

    @with_one_embedder
    def _found_today(self, record: Record) -> Hits | None:
        rows = self._store.rows("SELECT vector FROM vectors WHERE node = ?", (record.query_node,))
        if record.query is None or not rows or self._space.known() is None:
            return None
        native = vector_of(rows[0][0])
        vector = self._space.project(native[None])[0]
        k = max(2 * self.config.retrieval.k, 2 * len(record.source_ids), FEWEST_HITS)
        return self._search.search(record.query, native, vector, k, session=record.session, with_paths=True)
