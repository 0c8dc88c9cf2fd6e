"""The answered requests of a memory: recorded, rated, confirmed or taken back, read as turns."""

from __future__ import annotations

import logging
import time

import apsw

from ruvllm.errors import BrainError
from ruvllm.memory.embedder_lock import with_one_embedder
from ruvllm.memory.face.opened import OpenedBrain, checked_count
from ruvllm.memory.feedback import FeedbackChanges, apply_feedback
from ruvllm.memory.interactions import Record, count_turns, read_record, read_sessions, read_turns
from ruvllm.memory.probation import Change, promote, reconsider, revoke
from ruvllm.memory.rated import RatedAnswer, read_rated_answers
from ruvllm.memory.rows import checked_text
from ruvllm.types import Feedback, Interaction, Turn

__all__ = ["Requests"]

logger = logging.getLogger(__name__)


class Requests(OpenedBrain):
    """What a memory does with answered requests."""

    def record(self, interaction: Interaction) -> None:
        """Queue an answered request; it is on disk after `store.flush_interval_s`, or after `flush` or `close`.

        Never raises: what cannot be stored is logged and counted in `stats`. Waits only while the queue is full.
        """
        try:
            self.require_writable()
            self._writeback.put(interaction)
        except (BrainError, ValueError) as error:
            self._skipped_records += 1
            logger.warning("an answered request is not remembered: %s", error)

    @with_one_embedder
    def feedback(self, interaction_id: str, feedback: Feedback) -> None:
        """Say how good an answer was; durable on return, and the same words twice count once.

        The outcome moves the edges from the answer to its sources and among these, as `apply_outcome` does; a mark says
        whether one source helped and decides its credit. A correction becomes a fact of full trust that is searched at
        once and supersedes the answer. Good outcomes of two independent raters (or of two sessions) promote the answer
        from probation, bad ones of two end it.

        Raises:
            ValueError: the id is unknown, or a mark is of a source that the answer did not show.
        """
        self.require_writable()
        record = self.interaction(interaction_id)
        vectors = None
        if feedback.correction is not None:
            correction = checked_text(feedback.correction, "correction")
            vectors = self.encode([f"{record.query}\n{correction}" if record.query else correction])
        vector = None if vectors is None else vectors[0]

        def work(connection: apsw.Connection) -> tuple[FeedbackChanges, Change]:
            changes = apply_feedback(connection, interaction_id, feedback, vector, self.config.learning)
            return changes, reconsider(connection, interaction_id, time.time())

        def after(changed: tuple[FeedbackChanges, Change]) -> None:
            changes, change = changed
            self._links.reweighted(changes.edges)
            self._derived.removed(changes.removed)
            if vectors is not None and changes.inserted:
                self._derived.added(changes.inserted, vectors)
            self._follow(change)

        if feedback.correction is not None:
            self._lessons.credit_again(self._search, interaction_id, feedback.correction)
        self._store.write(work, after=after)

    def _follow(self, change: Change) -> None:
        self._derived.removed(change.left)
        if change.vectors is not None:
            self._derived.added(change.came, change.vectors)
        self._derived.retrusted(change.stayed)

    def promote(self, node_id: int) -> None:
        """Let everybody of the namespace find an answer that is on probation or ended; durable on return.

        Raises:
            ValueError: there is no such answer.
        """
        self.require_writable()
        self._store.write(lambda connection: promote(connection, node_id, self.namespace), after=self._follow)

    def revoke(self, node_id: int) -> None:
        """End an answer: nobody finds it any more, whatever is said about it; durable on return.

        Raises:
            ValueError: there is no such answer.
        """
        self.require_writable()
        now = time.time()
        self._store.write(lambda connection: revoke(connection, node_id, self.namespace, now), after=self._follow)

    def interaction(self, id: str) -> Record:
        """Return one answered request as it is stored; one that is still queued is committed first.

        Raises:
            ValueError: the id is unknown.
        """
        if any(one.id == id for one in self._writeback.pending()):
            self._writeback.flush()
        return read_record(self._store, self.namespace, id)

    def rated_answers(self, limit: int = 2000) -> list[RatedAnswer]:
        """Return the newest `limit` answers that were rated, oldest first, as they stand in the store."""
        self._writeback.flush()
        return read_rated_answers(self._store, self.namespace, checked_count(limit, "limit"))

    def turns(self, session: str, limit: int = 20) -> list[Turn]:
        """Return the newest `limit` turns of a session, oldest first, those still queued included."""
        if limit < 1:
            raise ValueError(f"limit must be >= 1 ({limit})")
        queued = [
            (one.id, Turn(one.query, one.answer, one.created))
            for one in self._writeback.pending()
            if (one.namespace, one.session) == (self.namespace, session)
        ]
        turns = dict(read_turns(self._store, self.namespace, session, limit))
        return list((turns | dict(queued)).values())[-limit:]

    def count_turns(self, session: str) -> int:
        """Return how many turns a session has, those still queued included."""
        pending = [
            one for one in self._writeback.pending() if (one.namespace, one.session) == (self.namespace, session)
        ]
        return len(pending) + count_turns(self._store, self.namespace, session, [one.id for one in pending])

    def sessions(self) -> list[str]:
        """Return the names of the stored sessions, the one used last first."""
        return read_sessions(self._store, self.namespace)
