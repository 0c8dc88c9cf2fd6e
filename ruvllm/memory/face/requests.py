"""The answered requests of a memory: recorded, rated, confirmed or taken back, read as turns."""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import Sequence

import apsw
import numpy as np

from ruvllm.errors import BrainError
from ruvllm.memory.arguments import checked_count, checked_id, checked_kind
from ruvllm.memory.embedder_lock import with_one_embedder
from ruvllm.memory.face.opened import OpenedBrain
from ruvllm.memory.failures import Failure, read_failures
from ruvllm.memory.feedback import FeedbackChanges, apply_feedback
from ruvllm.memory.filters import seconds_of
from ruvllm.memory.history import Change
from ruvllm.memory.interactions import Record, count_turns, read_answer_vector, read_record, read_timings, read_turns
from ruvllm.memory.lessons import CreditRow, insert_credits
from ruvllm.memory.probation import promote, reconsider, revoke
from ruvllm.memory.rated import RatedAnswer, read_rated_answers
from ruvllm.memory.rejections import count_rejection, may_stand, read_rejections
from ruvllm.memory.rows import checked_name, checked_text
from ruvllm.memory.sessions import Session, delete_session, insert_session, read_sessions
from ruvllm.memory.signals import apply_signals, find_signals
from ruvllm.memory.traces import StoredTrace, read_traces
from ruvllm.memory.tuning_run import drop_outdated_run
from ruvllm.types import Feedback, Interaction, Turn
from ruvllm.types.checks import require_name

__all__ = ["Requests"]

logger = logging.getLogger(__name__)


class Requests(OpenedBrain):
    """What a memory does with answered requests."""

    def record(self, interaction: Interaction) -> None:
        """Queue an answered request; it is on disk after `store.flush_interval_s`, or after `flush` or `close`.

        What cannot be stored is logged and counted in `stats`. Waits only while the queue is full.

        Raises:
            TypeError: it is no Interaction.
        """
        checked_kind(interaction, Interaction, "interaction")
        try:
            self.require_writable()
            self._writeback.put(interaction)
        except (BrainError, ValueError) as error:
            self._skipped_records += 1
            logger.warning("an answered request is not remembered: %s", error)

    @with_one_embedder
    def feedback(self, id: str, feedback: Feedback) -> None:
        """Say how good an answer was; durable on return, and the same words twice count once.

        The outcome moves the edges from the answer to its sources and among these, as `apply_outcome` does; a mark says
        whether one source helped and decides its credit. A correction becomes a fact of full trust that is searched at
        once and supersedes the answer. Good outcomes of two independent raters (or of two sessions) promote the answer
        from probation, bad ones of two end it. Of the corrections of one question the newest eight that say different
        things are searched.

        Raises:
            TypeError, ValueError: the id is unknown, or a mark is of a source that the answer did not show.
        """
        self.require_writable()
        checked_kind(feedback, Feedback, "feedback")
        record = self.interaction(id)
        vectors = None
        credits: list[CreditRow] = []
        if feedback.correction is not None:
            correction = checked_text(feedback.correction, "correction")
            vectors = self.encode([f"{record.query}\n{correction}" if record.query else correction])
            credits = self._lessons.credits_again(self._search, id, correction)
        vector = None if vectors is None else vectors[0]

        def work(connection: apsw.Connection) -> tuple[FeedbackChanges, Change]:
            insert_credits(connection, credits)
            changes = apply_feedback(connection, id, feedback, vector, self.config.learning)
            if not may_stand(feedback):
                count_rejection(connection, self.namespace)
            return changes, reconsider(connection, id, time.time(), self._rated)

        def after(changed: tuple[FeedbackChanges, Change]) -> None:
            changes, change = changed
            self._links.reweighted(changes.edges)
            self._derived.removed(changes.removed)
            self._derived.retrusted(changes.hidden)
            if vectors is not None and changes.inserted:
                self._derived.added(changes.inserted, vectors)
            self._follow(changes.settled)
            self._follow(change)

        changes, _ = self._store.write(work, after=after)
        self._forget_archived(changes.removed)
        if changes.removed:
            drop_outdated_run(self._store, self.path)

    def notice_signals(self) -> int:
        """Look for answers after which nearly the same was asked again; return how many more there are.

        Each has a small part in its edges from then on, until somebody says how the answer was. Nothing else hears of
        it: no rating is counted, no answer promoted or ended, no router trained. Durable on return.

        Raises:
            BrainLocked, BrainReadOnly: writing is refused here.
        """
        self.require_writable()
        self._writeback.flush()
        now = time.time()
        found = find_signals(self._store, self.namespace, self.config.signals, now)
        if found:
            self._store.write(
                lambda connection: apply_signals(connection, found, self.config, now), after=self._links.reweighted
            )
        return len(found)

    def promote(self, node_id: int) -> None:
        """Let everybody of the namespace find an answer that is on probation or ended; durable on return.

        Raises:
            ValueError: there is no such answer.
        """
        self.require_writable()
        node_id = checked_id(node_id, "node_id")
        self._store.write(lambda connection: promote(connection, node_id, self.namespace), after=self._follow)

    def revoke(self, node_id: int) -> None:
        """End an answer: nobody finds it any more, whatever is said about it; durable on return.

        Raises:
            ValueError: there is no such answer.
        """
        self.require_writable()
        node_id, now = checked_id(node_id, "node_id"), time.time()
        self._store.write(lambda connection: revoke(connection, node_id, self.namespace, now), after=self._follow)
        drop_outdated_run(self._store, self.path)

    def interaction(self, id: str) -> Record:
        """Return one answered request as it is stored; one that is still queued is committed first.

        Raises:
            ValueError: the id is unknown.
        """
        checked_text(id, "id")
        if any(one.id == id for one in self._writeback.pending()):
            self._writeback.flush()
        return read_record(self._store, self.namespace, id)

    def record_failure(self, kind: str, detail: str = "", model: str = "") -> None:
        """Keep that a request had no answer, and why; no word of what was asked belongs in here.

        Raises:
            TypeError, ValueError: what is given is no text, or no name of a kind.
        """
        require_name(kind, "kind")
        for text, name in ((detail, "detail"), (model, "model")):
            checked_kind(text, str, name)
        if not self.read_only and self.config.tuning.learns_from(self.namespace):
            self._failures.note(kind, _storable(detail), _storable(model))

    def failures(self, since: float | str = 0.0, until: float | str = math.inf) -> list[Failure]:
        """Return the requests from `since` until before `until` that had no answer, oldest first.

        Both are seconds or ISO 8601, as in `search`.
        """
        first, end = _period(since, until)
        self._failures.flush()
        return read_failures(self._store, self.namespace, first, end)

    def traces(
        self, since: float | str = 0.0, until: float | str = math.inf, id: str | None = None
    ) -> list[StoredTrace]:
        """Return the answered requests from `since` until before `until` whose prompts are kept, or the one of `id`."""
        first, end = _period(since, until)
        if id is not None:
            checked_text(id, "id")
        self._writeback.flush()
        return read_traces(self._store, self.namespace, first, end, id)

    def answer_vector(self, id: str) -> np.ndarray | None:
        """Return the (native_dim,) float32 vector of a stored answer's words; None where there is none (yet)."""
        return read_answer_vector(self._store, self.namespace, checked_text(id, "id"))

    def rated_answers(self, judge: str, limit: int = 2000) -> list[RatedAnswer]:
        """Return the newest `limit` rated answers that `judge` scored, oldest first; see `read_rated_answers`."""
        judge, limit = checked_name(judge, "judge"), checked_count(limit, "limit")
        self._writeback.flush()
        return read_rated_answers(self._store, self.namespace, judge, limit)

    @property
    def failed_records(self) -> int:
        """How many answered requests could not be stored since the brain was opened; the log says why."""
        return self._writeback.failed + self._skipped_records

    @property
    def document_version(self) -> int:
        """A number that is another one after every change of what the namespace searches, whoever makes it.

        It changes with ingest, forget, correction, promotion, trust and archival, not when an answered request is
        recorded. Only numbers of one opening can be compared.
        """
        stored = self._store.value("SELECT version FROM document_versions WHERE namespace = ?", (self.namespace,))
        return (stored or 0) + self._derived.changes

    @property
    def rejections(self) -> int:
        """How often somebody, in whatever process, said that an answer of this namespace was not a good one."""
        return read_rejections(self._store, self.namespace)

    # -- sessions ----------------------------------------------------------------------------------------------------

    def turns(self, session: str, limit: int = 20) -> list[Turn]:
        """Return the newest `limit` turns of a session, oldest first, those still queued included; none is unknown."""
        checked_text(session, "session")
        limit = checked_count(limit, "limit")
        queued = [
            (one.id, Turn(one.query, one.answer, one.created, one.is_private))
            for one in self._writeback.pending()
            if (one.namespace, one.session) == (self.namespace, session)
        ]
        turns = dict(read_turns(self._store, self.namespace, session, limit))
        return list((turns | dict(queued)).values())[-limit:]

    def count_turns(self, session: str) -> int:
        """Return how many turns a session has, those still queued included."""
        checked_text(session, "session")
        pending = [
            one for one in self._writeback.pending() if (one.namespace, one.session) == (self.namespace, session)
        ]
        return len(pending) + count_turns(self._store, self.namespace, session, [one.id for one in pending])

    def timings(self, limit: int = 1000) -> list[dict[str, float]]:
        """Return the milliseconds by stage of the newest `limit` stored requests, the newest first."""
        return read_timings(self._store, self.namespace, checked_count(limit, "limit"))

    def new_session(self, name: str | None = None) -> str:
        """Keep a session that has no turns yet, under a name nobody has when None; return its name. Durable on return.

        Raises:
            ValueError: there is a session of this name; to go on with it, just name it.
        """
        self.require_writable()
        self._writeback.flush()
        name = f"session-{secrets.token_hex(6)}" if name is None else checked_name(name, "name")
        self._store.write(lambda connection: insert_session(connection, self.namespace, name, time.time()))
        return name

    def sessions(self) -> list[Session]:
        """Return the sessions of the namespace, the one used last first."""
        self._writeback.flush()
        return read_sessions(self._store, self.namespace)

    def delete_session(self, name: str) -> int:
        """Delete a session for good: its turns, and what of them is still on probation; return how many nodes went.

        What was promoted, and what corrections said, is everybody's by now and stays, without the session; so does
        what ratings taught.

        Raises:
            ValueError: there is no such session.
        """
        self.require_writable()
        checked_text(name, "name")
        self._writeback.flush()

        def after(gone: list[int]) -> None:
            self._derived.removed(gone)
            self._recent.forget()

        gone = self._store.write(lambda connection: delete_session(connection, self.namespace, name), after=after)
        self._forget_archived(gone)
        drop_outdated_run(self._store, self.path)
        return len(gone)

    def _forget_archived(self, gone: Sequence[int]) -> None:
        """Let what was deleted not outlive it in the cold file: answers and corrections may be archived."""
        if gone:
            self._archive.forget(gone)
            self._cold.reload()


def _period(since: float | str, until: float | str) -> tuple[float, float]:
    return seconds_of(since, "since"), math.inf if until == math.inf else seconds_of(until, "until")


def _storable(text: str) -> str:
    """Return a text with question marks for lone surrogates, which names of files may hold."""
    return text.encode(errors="replace").decode()
