"""What outcomes teach the attention engine: credits of shown sources, and training on the answers that were good."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import apsw
import numpy as np

from ruvllm.attention import AttentionEngine
from ruvllm.attention.attribution import attribute, says, sharpened
from ruvllm.attention.engine import FEATURE_VERSION, Example
from ruvllm.attention.training import TrainingReport, train_gated
from ruvllm.checkpoints import Checkpoints, digest_of
from ruvllm.memory.feedback import outcome_of, read_feedback
from ruvllm.memory.rated import ONE_OF, newest_of_each
from ruvllm.memory.rows import fetch_nodes, title_of, vector_of
from ruvllm.memory.search import GraphSearch
from ruvllm.memory.seen import Returned
from ruvllm.memory.store import Store
from ruvllm.types import Interaction

__all__ = ["CreditRow", "Lessons", "insert_credits"]

logger = logging.getLogger(__name__)

MAX_EXAMPLES = 2000  # the newest good answers that a training pass looks at
CANDIDATES = 10  # hits that training wants ranked

CreditRow = tuple[str, int, float]
"""(answer, source, credit)."""

_TAUGHT = (
    "SELECT c.node, c.credit FROM credits c JOIN nodes n ON n.id = c.node WHERE c.interaction = ? "
    "AND (c.decided_by = 'mark' OR n.metadata ->> 'speaker' IS NULL)"
)
"""Credits that training uses. Which turns of a dialogue an answer needed, attribution cannot tell: only marks can."""


@dataclass(frozen=True, slots=True)
class _Answered:
    """What training needs of one answered request."""

    id: str
    query: str
    vector: np.ndarray  # native
    shown: list[int]
    correction: str | None  # where it may be found
    came_of_it: list[int]  # the answer, and what corrects it, where they are kept and were not shown


class Lessons:
    """Keeps the engine in force for one namespace, and what it learns from.

    Args:
        project: (n, native_dim) -> (n, dim).
        brain: the directory, in which versions of the engine are kept.
    """

    def __init__(self, store: Store, namespace: str, brain: Path, project: Callable[[np.ndarray], np.ndarray]) -> None:
        self._store = store
        self._namespace = namespace
        self._project = project
        self._checkpoints = Checkpoints(brain / "checkpoints" / "attention", form=f"attention-{FEATURE_VERSION}")
        self._engine: AttentionEngine | None = None
        self._version = 0  # of the engine, once it is loaded
        self._lock = threading.Lock()
        self._training = threading.Lock()  # one at a time

    # -- the engine --------------------------------------------------------------------------------------------------

    def engine(self) -> AttentionEngine:
        """Return the engine in force, loaded at first use; the untrained one where nothing sound was learnt."""
        engine = self._engine
        if engine is None:
            with self._lock:
                if self._engine is None:
                    self._engine = self._loaded()
                engine = self._engine
        return engine

    def _loaded(self) -> AttentionEngine:
        checkpoint = self._checkpoints.current()
        if checkpoint is None:
            return AttentionEngine()
        try:
            engine = AttentionEngine(checkpoint.params)
            self._version = checkpoint.version
            return engine
        except ValueError as error:
            logger.warning("version %d of the attention engine is not used: %s", checkpoint.version, error)
            return AttentionEngine()

    @property
    def version(self) -> int:
        """Which version is in force, 0 for the untrained engine; loads the engine at first use."""
        self.engine()
        return self._version

    def adopt(self, params: np.ndarray, about: dict[str, Any]) -> int:
        """Put new parameters in force, durable on return; return their version."""
        version = self._checkpoints.save(params, about)
        self.engine().set_params(params)
        self._version = version
        logger.info("version %d of the attention engine is in force", version)
        return version

    def rollback(self) -> int:
        """Put the version before in force again; return its number, 0 for the untrained engine."""
        version = self._checkpoints.rollback()
        checkpoint = self._checkpoints.current()
        engine = self.engine()
        engine.set_params(engine.untrained() if checkpoint is None else checkpoint.params)
        self._version = version
        logger.info("version %d of the attention engine is in force again", version)
        return version

    # -- credits -----------------------------------------------------------------------------------------------------

    def credits(self, search: GraphSearch, group: Iterable[Interaction]) -> dict[str, dict[int, float]]:
        """Return the credit of each source that was shown, by answer and node, of answers whose search is still known.

        Nothing is searched for it: the answers wait to be stored. `credits_again` has those that are not among them.
        """
        credits = {}
        known: dict[tuple[str, bytes], Returned | None] = {}  # one search serves all who asked the same
        for one in group:
            if one.query_vector is None or not one.source_ids:
                continue
            key = (one.query, one.query_vector.tobytes())
            if key not in known:
                known[key] = search.seen.take(one.query, one.query_vector)
            found = known[key]
            if found is not None and found.keys() >= set(one.source_ids):
                credits[one.id] = _attributed(one.query, one.answer, one.source_ids, found)
        return credits

    def credits_again(self, search: GraphSearch, interaction: str, answer: str) -> list[CreditRow]:
        """Return the credits of a stored answer's sources for `answer`, such as a user's right one."""
        return [
            (one.id, node, credit)
            for one in self._answered("i.id = :id", {"id": interaction})
            for node, credit in self._credits(search, one.query, answer, one.vector, one.shown).items()
        ]

    def _credits(
        self, search: GraphSearch, query: str, answer: str, vector: np.ndarray, shown: Sequence[int]
    ) -> dict[int, float]:
        """Return the credit of each shown source that the question finds, by node id."""
        found = search.seen.take(query, vector)
        if found is None or not found.keys() >= set(shown):
            found = self._found(search, query, vector, shown)
        return _attributed(query, answer, shown, found)

    def _found(self, search: GraphSearch, query: str, vector: np.ndarray, shown: Sequence[int]) -> Returned:
        """Return what a search knows now of nodes that were shown, where it finds them at all."""
        found = search.inputs(query, vector, self._project(vector[np.newaxis])[0], CANDIDATES)
        if found is None:
            return {}
        place = {node: i for i, node in enumerate(found[0].tolist())}
        nodes = fetch_nodes(self._store, shown)
        return {
            node: (nodes[node], found[1].node_features[place[node]])
            for node in shown
            if node in place and node in nodes
        }

    # -- training ----------------------------------------------------------------------------------------------------

    def train(self, search: GraphSearch, cancelled: Callable[[], bool] = lambda: False) -> TrainingReport:
        """Train on all examples from the start; adopt what ranks held-out ones better than the untrained engine.

        Where the version in force, or one that was taken back, was made of the same ones, nothing is tried: how they
        are searched today, by edges that moved or concepts that came, is nothing that anybody said.
        """
        with self._training:
            teaching = self._teaching(cancelled)
            taught = digest_of([_said(one, credits) for one, credits in teaching])
            reason = self._checkpoints.nothing_new(self.version, taught)
            if reason:
                return TrainingReport(len(teaching), 0, None, None, accepted=False, reason=reason)
            params, report = train_gated(self._examples(search, teaching, cancelled), cancelled=cancelled)
            if params is not None:
                self.adopt(params, {**asdict(report), "taught": taught})
            return report

    def examples(self, search: GraphSearch, cancelled: Callable[[], bool] = lambda: False) -> list[Example]:
        """Return what teaches, oldest first: answers that were rated good or corrected, or had a source that helped."""
        return self._examples(search, self._teaching(cancelled), cancelled)

    def _teaching(self, cancelled: Callable[[], bool]) -> list[tuple[_Answered, dict[int, float]]]:
        """Return the answers that teach, oldest first, each with the credit of its sources.

        Several to one question in the same words teach as one, of their mean credit: so what is held out was asked in
        other words, and what everybody asks weighs no more than the rest.
        """
        found = []
        for one in self._answered(f"i.id IN ({newest_of_each()})", {"most": MAX_EXAMPLES // ONE_OF}):
            if cancelled():
                return []
            said = read_feedback(self._store.rows, one.id)
            outcome = outcome_of(said)
            helped = {node for node, is_good in (said.marks if said else {}).items() if is_good}
            is_known = outcome is not None and outcome.is_good
            if not is_known and one.correction is not None:
                is_known = self._was_shown(one, one.correction)
            if helped or is_known:
                credits = dict(self._store.rows(_TAUGHT, (one.id,))) if is_known else dict.fromkeys(helped, 1.0)
                found.append((one, credits))
        return _by_question(found[::-1])

    def _examples(
        self,
        search: GraphSearch,
        teaching: Iterable[tuple[_Answered, dict[int, float]]],
        cancelled: Callable[[], bool],
    ) -> list[Example]:
        found = []
        for one, credits in teaching:
            if cancelled():
                return []
            example = self._example(search, one, credits, cancelled)
            if example is not None:
                found.append(example)
        return found

    def _was_shown(self, one: _Answered, answer: str) -> bool:
        nodes = fetch_nodes(self._store, one.shown).values()
        return any(says(f"{title_of(node.metadata)} {node.text}", answer) for node in nodes)

    def _example(
        self, search: GraphSearch, one: _Answered, credits: dict[int, float], pause: Callable[[], object]
    ) -> Example | None:
        vector = self._project(one.vector[np.newaxis])[0]
        inputs = search.inputs(one.query, one.vector, vector, CANDIDATES, pause=pause)
        if inputs is None:
            return None
        credit = sharpened(np.array([credits.get(node, 0.0) for node in inputs[0].tolist()], np.float32))
        ignored = np.isin(inputs[0], one.came_of_it)
        return Example(inputs[1], credit, ignored=ignored) if credit[~ignored].any() else None

    def _answered(self, which: str, values: Mapping[str, Any]) -> list[_Answered]:
        rows = self._store.rows(
            "SELECT i.id, q.text, v.vector, i.source_ids, iif(c.trust > 0.0, f.correction, NULL), i.answer_node, c.id "
            "FROM interactions i JOIN nodes q ON q.id = i.query_node JOIN vectors v ON v.node = q.id "
            "LEFT JOIN feedback f ON f.interaction = i.id LEFT JOIN nodes c ON c.id = f.correction_node "
            f"WHERE i.namespace = :namespace AND {which} ORDER BY i.created DESC, i.rowid DESC LIMIT :limit",
            {**values, "namespace": self._namespace, "limit": MAX_EXAMPLES},
        )
        found = []
        for id_, query, blob, sources, correction, *made in rows:
            shown = json.loads(sources)
            came_of_it = [node for node in made if node is not None and node not in shown]
            found.append(_Answered(id_, query, vector_of(blob), shown, correction, came_of_it))
        return found


def _by_question(
    teaching: Iterable[tuple[_Answered, dict[int, float]]],
) -> list[tuple[_Answered, dict[int, float]]]:
    """Return the newest answer to each question, by its words, with the mean credits and what came of all of them."""
    same: dict[str, list[tuple[_Answered, dict[int, float]]]] = {}
    for one, credits in teaching:
        same.setdefault(one.query, []).append((one, credits))
    found = []
    for answers in same.values():
        mean: dict[int, float] = {}
        for _, credits in answers:
            mean |= {node: mean.get(node, 0.0) + credit / len(answers) for node, credit in credits.items()}
        came_of_it = [node for one, _ in answers for node in one.came_of_it if node not in mean]
        found.append((replace(answers[-1][0], came_of_it=came_of_it), mean))
    return found


def insert_credits(connection: apsw.Connection, rows: Sequence[CreditRow]) -> None:
    """Insert or replace credits by attribution; a mark's stays, and what was deleted meanwhile is passed over."""
    connection.executemany(
        "INSERT INTO credits SELECT i.id, n.id, ?3, 'attribution' FROM interactions i, nodes n WHERE i.id = ?1 AND "
        "n.id = ?2 ON CONFLICT (interaction, node) DO UPDATE SET credit = excluded.credit, "
        "decided_by = excluded.decided_by WHERE decided_by <> 'mark'",
        rows,
    )


def _said(one: _Answered, credits: dict[int, float]) -> list[object]:
    """Return what an answer teaches, as JSON; by another embedder that is something else."""
    return [one.id, one.vector.tobytes().hex(), sorted(credits.items()), one.came_of_it]


def _attributed(query: str, answer: str, shown: Sequence[int], found: Returned) -> dict[int, float]:
    """Return the credit of each shown source that is among what a search found, by node id."""
    known = [node for node in shown if node in found]
    if not known:
        return {}
    nodes = [found[node][0] for node in known]
    texts = [f"{title_of(node.metadata)} {node.text}" for node in nodes]
    features = np.stack([found[node][1] for node in known])
    return dict(zip(known, attribute(query, answer, texts, features).tolist(), strict=True))
