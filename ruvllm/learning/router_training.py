"""Training the router on a brain's log: rows to lessons, a training within bounds, and a gate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from ruvllm.memory import LoggedOutcomes
from ruvllm.router.embedding_map import EmbeddingMap
from ruvllm.router.features import GROUPS, feature_rows
from ruvllm.router.learn import Report, learn_gated, with_tiers
from ruvllm.router.learnt import Estimates, Learnt, estimates, tier_inputs
from ruvllm.router.model import CONTEXT_BINS, TierInputs
from ruvllm.router.outcome_memory import Evidence, OutcomeMemory
from ruvllm.router.outcomes import TierInfo
from ruvllm.router.training import Lessons, TrainingConfig

__all__ = ["expected_of", "is_kept", "looking_back", "rows_of", "train_router"]

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

NEWEST = 10_000  # questions that a training goes through; of older ones a sample is replayed
FRAME_TOKENS = 80  # of a prompt beside its question and sources
CHARS_PER_TOKEN = 4.0
GATE_SHARE = 7  # one of so many requests or sessions judges trainings, and is never learnt from
PART = 32  # rows prepared between two looks at whether to stop: a few milliseconds
MAX_STEPS = 4  # turns of a session that are learnt as one sequence


Cancelled = Callable[[], bool]


def _never() -> bool:
    return False


class _Stopped(Exception):
    """Whoever trains is to stop."""


def _parts(count: int, cancelled: Cancelled) -> Iterator[slice]:
    """Yield slices of so many rows, asking before each, so that a training beside requests lets those go first."""
    for start in range(0, max(count, 1), PART):
        if cancelled():
            raise _Stopped
        yield slice(start, start + PART)


@dataclass(frozen=True, slots=True, eq=False)
class _Log:
    """The log with what its neighbours say of each row."""

    logged: LoggedOutcomes
    tiers: tuple[TierInfo, ...]
    evidence: Evidence
    default_tier: int
    cancelled: Cancelled = _never

    def lessons(self, embedding_map: EmbeddingMap, sequences: Sequence[Rows]) -> Lessons:
        """Return rows as sequences of turns; shorter ones end with turns of which nothing is known."""
        logged = self.logged
        made = np.concatenate([self._features(embedding_map, part) for part in _parts(len(logged), self.cancelled)])
        kept = np.asarray(logged.present.any(axis=1))  # what was seen then, but for what neighbours say today
        features = np.where(kept[:, np.newaxis], logged.features, made)
        for group in ("embedding", "outcomes"):
            features[:, GROUPS[group]] = made[:, GROUPS[group]]
        inputs = tier_inputs(self.evidence, self.tiers)
        dearest = max(tier.cost for tier in self.tiers) or 1.0
        priced = np.array([tier.cost for tier in self.tiers], np.float32)
        cost = np.minimum(np.where(np.isnan(logged.cost), priced, logged.cost) / dearest, 10.0)
        steps = max(map(len, sequences))
        places = np.full((len(sequences), steps), -1, np.int64)
        for place, rows in zip(places, sequences, strict=True):
            place[: len(rows)] = rows
        is_turn = (places >= 0)[..., np.newaxis]

        def taken(column: npt.NDArray[np.floating], missing: float) -> Floats:
            return np.where(is_turn, column[places], np.float32(missing)).astype(np.float32)

        return Lessons(
            features=taken(features, 0.0),
            inputs=TierInputs(inputs.quality[places], inputs.latency_ms[places], inputs.evidence[places]),
            quality=taken(logged.quality, np.nan),
            latency_ms=taken(np.where(logged.latency_ms > 0.0, logged.latency_ms, np.nan), np.nan),
            cost=taken(cost, 0.0),
            propensity=taken(np.where(np.isnan(logged.propensity), 1.0, logged.propensity), 1.0),
            context_label=np.where(places >= 0, _context_labels(logged)[places], -1),
        )

    def _features(self, embedding_map: EmbeddingMap, part: slice) -> Floats:
        """Return the features of some rows, as they would be made today, (m, 128)."""
        logged = self.logged
        evidence = Evidence(*(getattr(self.evidence, name)[part] for name in Evidence.__slots__))
        values, _ = feature_rows(
            logged.texts[part], logged.vectors[part], evidence, embedding_map, default_tier=self.default_tier
        )
        return values


def _context_labels(logged: LoggedOutcomes) -> npt.NDArray[np.int64]:
    """Return the place of the smallest bin that holds question and used sources, (n,); -1 where none was used."""
    texts = np.array([len(text) for text in logged.texts], np.int64)
    tokens = FRAME_TOKENS + (texts + logged.used_chars) / CHARS_PER_TOKEN
    bins = np.minimum(np.searchsorted(CONTEXT_BINS, tokens), len(CONTEXT_BINS) - 1)
    return np.where(logged.used_chars >= 0, bins, -1).astype(np.int64)


def is_kept(name: str, share: int) -> bool:
    """Return whether a request or session is among one in `share`, by its name: the same ones for every training."""
    return int.from_bytes(sha256(name.encode()).digest()[:4], "big") % share == 0


def rows_of(logged: LoggedOutcomes, rows: Rows) -> LoggedOutcomes:
    """Return the chosen rows of a log, in that order."""
    chosen: dict[str, Any] = {}
    for field in fields(logged):
        column = getattr(logged, field.name)
        if field.name != "tiers":
            chosen[field.name] = tuple(column[i] for i in rows) if isinstance(column, tuple) else column[rows]
    return replace(logged, **chosen)


def expected_of(logged: LoggedOutcomes, memory: OutcomeMemory, learnt: Learnt, *, default_tier: int) -> Estimates:
    """Return what `learnt` expects on rows that `memory` does not hold, with a first axis of n: each on its own.

    Args:
        default_tier: place of the safe default, which features tell of.
    """
    evidence = memory.near_many(logged.vectors, logged.texts)
    return _expected(_Log(logged, learnt.tiers, evidence, default_tier), learnt)


def looking_back(logged: LoggedOutcomes, learnt: Learnt, *, default_tier: int) -> Estimates:
    """Return what `learnt` expects on the rows of a log, with a first axis of n, by what all other rows say."""
    return _expected(_Log(logged, learnt.tiers, _evidence(logged, learnt.tiers), default_tier), learnt)


def _expected(log: _Log, learnt: Learnt) -> Estimates:
    alone = [np.array([row], np.int64) for row in range(len(log.logged))]
    lessons = log.lessons(learnt.embedding_map, alone)
    h_0 = np.zeros((len(lessons), learnt.model.cell.hidden_size), np.float32)
    _, outputs = learnt.model.cell.forward(lessons.features, h_0)
    judged = learnt.model.read(outputs, lessons.inputs)
    found = estimates(learnt, judged, np.asarray(log.evidence.nearest_similarity)[:, np.newaxis])
    return Estimates(*(getattr(found, name)[:, 0] for name in Estimates.__slots__))


def train_router(
    logged: LoggedOutcomes,
    tiers: Sequence[TierInfo],
    before: Learnt | None,
    config: TrainingConfig,
    *,
    default_tier: int | None = None,
    seed: int = 0,
    cancelled: Cancelled = _never,
) -> tuple[Learnt | None, Report]:
    """Return what a log teaches about `tiers`, None where the gate keeps `before`; the same for the same seed.

    Up to `NEWEST` questions are learnt from the start. Of a longer log the newest are learnt, going on from `before`,
    which is held by consolidation and by replay of the others.

    Args:
        logged: of the same tiers, in the same order.
        before: what is in force, also of other tiers; made for the same embedder.
        default_tier: place of the safe default; the largest when None.
        cancelled: asked every few milliseconds; True ends the training.
    """
    try:
        return _trained(logged, tuple(tiers), before, config, default_tier, np.random.default_rng(seed), cancelled)
    except _Stopped:
        return None, Report(len(logged), 0, None, None, accepted=False, reason="training was stopped")


def _trained(
    logged: LoggedOutcomes,
    tiers: tuple[TierInfo, ...],
    before: Learnt | None,
    config: TrainingConfig,
    default_tier: int | None,
    rng: np.random.Generator,
    cancelled: Cancelled,
) -> tuple[Learnt | None, Report]:
    if before is not None:
        known = {tier.name for tier in before.tiers}
        before = with_tiers(before, tiers) if any(tier.name in known for tier in tiers) else None
    rated = np.flatnonzero((~np.isnan(logged.quality)).any(axis=1))
    if len(rated) < 2:
        reason = "only one request was rated yet" if len(rated) else "nothing was rated yet"
        return None, Report(len(rated), len(rated), None, None, accepted=False, reason=reason)
    logged = rows_of(logged, rated)
    default_tier = len(tiers) - 1 if default_tier is None else default_tier
    log = _Log(logged, tiers, _evidence(logged, tiers, cancelled), default_tier, cancelled)
    sequences = _sequences(logged)
    nearest = np.asarray(log.evidence.nearest_similarity)
    newest, older = sequences[-NEWEST:], sequences[:-NEWEST]
    judges = np.array([is_kept(_first_of(logged, rows), GATE_SHARE) for rows in sequences], np.bool_)
    gate, older = judges[-NEWEST:], [rows for rows, is_judge in zip(older, judges, strict=False) if not is_judge]
    if before is None or not older:
        embedding_map = EmbeddingMap.fit(logged.vectors, rng)
        lessons = log.lessons(embedding_map, newest)
        in_force = None if before is None else (before, log.lessons(before.embedding_map, newest))
        return learn_gated(
            tiers, lessons, embedding_map, nearest, config, rng, gate=gate, in_force=in_force, cancelled=cancelled
        )
    lessons = log.lessons(before.embedding_map, newest)
    return learn_gated(
        tiers,
        lessons,
        before.embedding_map,
        nearest,
        config,
        rng,
        gate=gate,
        in_force=(before, lessons),
        older=log.lessons(before.embedding_map, older),
        cancelled=cancelled,
    )


def _first_of(logged: LoggedOutcomes, rows: Rows) -> str:
    """Return the name of a sequence: its session, or else its request."""
    first = int(rows[0])
    return logged.sessions[first] or logged.ids[first]


def _evidence(logged: LoggedOutcomes, tiers: tuple[TierInfo, ...], cancelled: Cancelled = _never) -> Evidence:
    """Return what all other rows say of each row."""
    count = len(logged)
    latency_ms = np.where(logged.latency_ms > 0.0, logged.latency_ms, np.float32(np.nan))
    memory = OutcomeMemory(tiers, logged.vectors.shape[1], capacity=max(100_000, count))
    for part in _parts(count, cancelled):
        keys = range(count)[part]
        memory.extend(keys, logged.texts[part], logged.vectors[part], logged.quality[part], latency_ms[part])
    rows = np.arange(count)
    found = [memory.near_rows(logged.texts[part], rows[part]) for part in _parts(count, cancelled)]
    return Evidence(*(np.concatenate([getattr(part, name) for part in found]) for name in Evidence.__slots__))


def _sequences(logged: LoggedOutcomes) -> list[Rows]:
    """Return the rows as turns of one session each, oldest first; a question without a session is alone."""
    by_session: dict[str, list[int]] = {}
    found: list[list[int]] = []
    for row, session in enumerate(logged.sessions):
        turns = by_session.get(session) if session is not None else None
        if turns is None or len(turns) == MAX_STEPS:
            turns = []
            found.append(turns)
            if session is not None:
                by_session[session] = turns
        turns.append(row)
    return [np.array(turns, np.int64) for turns in found]
