"""What a memory knows of the tiers that answered: the router's log, and what it learns from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

import apsw
import numpy as np

from ruvllm.memory.arguments import checked_call, checked_count, checked_each, checked_ids, checked_kind, checked_texts
from ruvllm.memory.decisions import (
    LoggedDecision,
    LoggedOutcomes,
    SamplingDraw,
    crowded_out,
    insert_outcomes,
    judge,
    read_draws,
    read_log,
    read_outcomes,
)
from ruvllm.memory.embedder_lock import with_one_embedder
from ruvllm.memory.face.opened import OpenedBrain
from ruvllm.memory.outcomes import Outcome
from ruvllm.memory.rejections import count_rejection
from ruvllm.memory.rows import checked_text, vector_of
from ruvllm.types import QualitySource, TierOutcome

__all__ = ["Routing"]


class Routing(OpenedBrain):
    """The log of routed requests of a memory."""

    @with_one_embedder
    def among(self, ids: Sequence[int]) -> tuple[np.ndarray, int]:
        """Return the vectors of nodes of the namespace, (m, dim) float32, and how many links lead among them.

        What has no vector here has a row of zeros.
        """
        nodes = np.array(checked_ids(ids, "ids"), np.int64)
        dim, _ = self._space.known() or (0, "")
        vectors = np.zeros((len(nodes), dim), np.float32)
        if not len(nodes):
            return vectors, 0
        place = {node: i for i, node in enumerate(nodes.tolist())}
        sql = (
            "SELECT node, vector FROM vectors JOIN nodes ON id = node "
            "WHERE +namespace = ? AND id IN (SELECT value FROM json_each(?))"
        )
        for node, blob in self._store.rows(sql, (self.namespace, json.dumps(list(place)))):
            vectors[place[node]] = self._space.project(vector_of(blob)[np.newaxis])[0]
        return vectors, int(self._links.load().among(nodes).directions.sum())

    def route_log(self, limit: int = 50) -> list[LoggedDecision]:
        """Return the newest `limit` requests with what was decided and what came of it, the newest first."""
        limit = checked_count(limit, "limit")
        self._writeback.flush()
        return read_log(self._store, self.namespace, limit)

    def routed(self, id: str) -> LoggedDecision:
        """Return what was decided about one request, and what came of it.

        Raises:
            ValueError: the id is unknown, or nothing is logged of it.
        """
        checked_text(id, "id")
        self._writeback.flush()
        found = read_log(self._store, self.namespace, 1, id)
        if not found:
            raise ValueError(f"id: nothing is logged of an answer {id!r}")
        return found[0]

    def logged_outcomes(
        self,
        tiers: Sequence[str],
        *,
        num_features: int,
        feature_version: int,
        limit: int = 100_000,
        id: str | None = None,
        pause: Callable[[], object] = lambda: None,
    ) -> LoggedOutcomes:
        """Return what `tiers` did on the newest `limit` questions that still exist: what a router is trained on.

        Of one answer alone when `id` names it.

        Tiers that are not named are left out. Of one rater's qualities of one UTC day at most
        `router.max_labels_per_day` are there, a draw by the ids of the answers; the rest is missing, so that nobody who
        rates everything the same moves the router far.

        Args:
            num_features, feature_version: the layout wanted; of a decision by another one no feature is present.
            pause: called every few hundred rows; it may wait.
        """
        tiers, limit = checked_texts(tiers, "tiers"), checked_count(limit, "limit")
        if id is not None:
            checked_text(id, "id")
        self._writeback.flush()
        return read_outcomes(
            self._store,
            self.namespace,
            tiers,
            num_features=checked_count(num_features, "num_features"),
            feature_version=checked_count(feature_version, "feature_version", least=0),
            max_labels_per_day=self.config.router.max_labels_per_day,
            limit=limit,
            id=id,
            pause=checked_call(pause, "pause"),
        )

    def crowded_out(self, id: str) -> list[str]:
        """Return the answers whose qualities count no longer because what was said of `id` took their place.

        See `logged_outcomes` for how many qualities of one rater and day count.
        """
        checked_text(id, "id")
        self._writeback.flush()
        return crowded_out(self._store, self.namespace, id, self.config.router.max_labels_per_day)

    def sampling_draws(self) -> dict[str, SamplingDraw]:
        """Return by id the answers whose temperature and top_p were drawn, as far as the request left them to that."""
        self._writeback.flush()
        return read_draws(self._store, self.namespace)

    def add_outcomes(self, id: str, outcomes: Sequence[TierOutcome]) -> None:
        """Keep what other tiers, whose answers nobody saw, did on a request; durable on return, twice counts once.

        Raises:
            ValueError: the id is unknown, or a tier was no choice there.
        """
        self.require_writable()
        each = checked_each(outcomes, "outcomes", "TierOutcomes")
        given = [checked_kind(outcome, TierOutcome, "outcomes") for outcome in each]
        self._writeback.flush()
        now = time.time()
        self._store.write(lambda connection: insert_outcomes(connection, self.namespace, id, given, now))

    def judge_outcome(self, id: str, tier: str, quality: float, *, source: QualitySource = "judge") -> bool:
        """Say how good the answer of one tier was; durable on return, and the same word twice counts once.

        Returns:
            whether this counts: what a judge says gives way to what a user or a task said.

        Raises:
            ValueError: the id is unknown, the tier gave no answer to it, or the quality is not in [0, 1].
        """
        self.require_writable()
        self._writeback.flush()
        now = time.time()

        def work(connection: apsw.Connection) -> bool:
            if Outcome(quality).is_good is False:
                count_rejection(connection, self.namespace)
            return judge(connection, self.namespace, id, tier, quality, source, now)

        return self._store.write(work)
