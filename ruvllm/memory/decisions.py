"""Which tier was sent which question, why, and what came of it: the log that the router learns from."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from operator import itemgetter
from typing import Any

import apsw
import numpy as np
import numpy.typing as npt

from ruvllm.memory.outcomes import Outcome
from ruvllm.memory.rows import checked_text, existing, vector_of
from ruvllm.memory.store import Store, fetch
from ruvllm.types import Decision, Feedback, Interaction, QualitySource, TierEstimate, TierOutcome

__all__ = [
    "LoggedDecision",
    "LoggedOutcomes",
    "SamplingDraw",
    "crowded_out",
    "insert_decision",
    "insert_outcomes",
    "judge",
    "rate",
    "read_draws",
    "read_log",
    "read_outcomes",
    "unlearn",
]

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

UNKNOWN = 0.5  # quality that is expected where nobody said one
MAX_ROWS = 100_000  # the newest that training looks at
PAUSE_ROWS = 256  # read between two pauses: a few milliseconds

_IS_DRAWN = "EXISTS (SELECT 1 FROM decisions d WHERE d.interaction = tier_outcomes.interaction AND d.calibrates)"

_DECISION_FIELDS = [field.name for field in fields(Decision)]
_DECISION = ", ".join(f"decisions.{name}" for name in _DECISION_FIELDS)
_OUTCOME_FIELDS = [field.name for field in fields(TierOutcome)]
_OUTCOME = ", ".join(_OUTCOME_FIELDS)


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """One answered request as the router's log has it.

    `query` is None when it was forgotten since, `decision` where there was no choice, and `outcomes` holds what each
    tier that answered did, the one first whose answer was shown.
    """

    id: str
    session: str | None
    created: float
    query: str | None
    decision: Decision | None
    outcomes: tuple[TierOutcome, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LoggedOutcomes:
    """What tiers did on `n` questions that still exist, oldest first; what is not known is NaN, never 0.

    Attributes:
        tiers: names of the T columns.
        ids: of the n answers.
        texts, vectors: the questions, and (n, native_dim) float32 unit rows.
        features, present: (n, F) float32 and bool; of a question that was not routed, or by another layout, nothing is
            present.
        quality, latency_ms, cost: (n, T) float32.
        propensity: (n, T) float32: the chance that the tier answered; 1 where every tier answers and where there was no
            choice, NaN for tiers that were no choice.
        sources: (n, T) who said the quality, "" where it is NaN.
        volunteered: (n, T) bool: somebody chose to say so, by feedback.
        shown: (n, T) bool: the tier whose answer the user saw.
        calibrates: (n,) bool: every tier answers, by a coin that fell before any answer.
        sessions, turns: the session of each, None without one, and (n,) int64 its place in there, from 0.
        created: (n,) float64 seconds since the epoch.
        used_chars: (n,) int64, characters of the sources that the answer used; -1 where it used none.
    """

    tiers: tuple[str, ...]
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    vectors: Floats
    features: Floats
    present: Bools
    quality: Floats
    latency_ms: Floats
    cost: Floats
    propensity: Floats
    sources: npt.NDArray[np.str_]
    volunteered: Bools
    shown: Bools
    calibrates: Bools
    sessions: tuple[str | None, ...]
    turns: npt.NDArray[np.int64]
    created: npt.NDArray[np.float64]
    used_chars: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class SamplingDraw:
    """Settings that were drawn with `chance`, and the quality that was expected of the answer."""

    temperature: float
    top_p: float
    chance: float
    expected: float


# -- writing ---------------------------------------------------------------------------------------------------------


def insert_decision(connection: apsw.Connection, interaction: Interaction) -> None:
    """Keep the decision behind an answered request, and what the tier that answered did."""
    one = interaction.decision
    if one is not None:
        estimates = [asdict(estimate) for estimate in one.estimates]
        values = {name: getattr(one, name) for name in _DECISION_FIELDS}
        values["estimates"] = json.dumps(estimates, ensure_ascii=False, allow_nan=False)
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        connection.execute(
            f"INSERT INTO decisions (interaction, {columns}) VALUES (?, {marks})", (interaction.id, *values.values())
        )
    if interaction.outcome is not None:
        _insert_outcome(connection, interaction.id, interaction.outcome, interaction.created, is_shown=True)


def insert_outcomes(
    connection: apsw.Connection, namespace: str, id: str, outcomes: Sequence[TierOutcome], now: float
) -> None:
    """Keep what tiers did whose answers were not shown; those that are known stay as they are.

    Of an answer whose source was forgotten meanwhile, the words are not kept.

    Raises:
        ValueError: the id is unknown, or its decision had no such tier.
    """
    _require_answer(connection, namespace, id)
    rows = fetch(connection, "SELECT estimates FROM decisions WHERE interaction = ?", (id,))
    known = {estimate["tier"] for (stored,) in rows for estimate in json.loads(stored)}
    for outcome in outcomes:
        if outcome.tier not in known:
            raise ValueError(f"outcomes: {id!r} had no choice of a tier {outcome.tier!r}")
        if len(existing(connection, outcome.source_ids)) < len(set(outcome.source_ids)):
            outcome = replace(outcome, answer=None, source_ids=())
        _insert_outcome(connection, id, outcome, now, is_shown=False)


def _insert_outcome(
    connection: apsw.Connection, interaction: str, one: TierOutcome, now: float, *, is_shown: bool
) -> None:
    connection.execute(
        "INSERT INTO tier_outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?) ON CONFLICT DO NOTHING",
        (
            interaction,
            one.tier,
            int(is_shown),
            one.quality,
            one.latency_ms,
            one.cost,
            one.tokens,
            one.answer,
            json.dumps(one.source_ids),
            one.source,
            now,
        ),
    )


def rate(
    connection: apsw.Connection, interaction: str, outcome: Outcome | None, feedback: Feedback, now: float
) -> None:
    """Let the tier whose answer was shown have the quality that feedback states, in the place of any before.

    Only on a request that a coin drew for calibration, what a judge or a task said stays: who rates, chose to.

    Feedback that states none, or whose quality and task success disagree, takes back what feedback said before.
    """
    if outcome is None or outcome.is_good is None:
        connection.execute(
            "UPDATE tier_outcomes SET quality = NULL, source = NULL, rater = NULL "
            "WHERE interaction = ? AND shown = 1 AND rater IS NOT NULL",
            (interaction,),
        )
        return
    is_task = feedback.quality is None and feedback.rating is None and feedback.task_success is not None
    source: QualitySource = "task" if is_task else "user"
    connection.execute(
        "UPDATE tier_outcomes SET quality = ?2, source = ?3, rater = ?4, at = ?5 WHERE interaction = ?1 AND shown = 1 "
        f"AND NOT (source IS NOT NULL AND rater IS NULL AND {_IS_DRAWN})",
        (interaction, outcome.quality, source, feedback.rater, now),
    )


def unlearn(connection: apsw.Connection, interactions: Sequence[str], nodes: Sequence[int]) -> None:
    """Forget how good the answers of requests were, and what tiers said that were shown `nodes`.

    How long it took and what it cost stays.
    """
    forgets = "UPDATE tier_outcomes SET quality = NULL, source = NULL, rater = NULL, answer = NULL, source_ids = '[]'"
    connection.executemany(f"{forgets} WHERE interaction = ?", [(one,) for one in interactions])
    connection.execute(
        f"{forgets} WHERE answer IS NOT NULL AND EXISTS (SELECT 1 FROM json_each(source_ids) shown "
        "WHERE shown.value IN (SELECT value FROM json_each(?)))",
        (json.dumps(list(nodes)),),
    )


def judge(
    connection: apsw.Connection,
    namespace: str,
    id: str,
    tier: str,
    quality: float,
    source: QualitySource,
    now: float,
) -> bool:
    """Say how good a tier's answer was; return whether that is what counts now: a judge's word yields to all others.

    On a request that a coin drew for calibration it takes the place of feedback, which somebody chose to give.

    Raises:
        ValueError: the id is unknown, the tier gave no answer to it, or the quality is not in [0, 1].
    """
    said = TierOutcome(tier, quality, source=source)
    _require_answer(connection, namespace, id)
    rows = fetch(
        connection,
        f"SELECT source, rater IS NOT NULL AND {_IS_DRAWN} FROM tier_outcomes WHERE interaction = ?1 AND tier = ?2",
        (id, tier),
    )
    if not rows:
        raise ValueError(f"tier: {tier!r} did not answer {id!r}")
    before, gives_way = rows[0]
    if source == "judge" and before in ("user", "task") and not gives_way:
        return False
    connection.execute(
        "UPDATE tier_outcomes SET quality = ?3, source = ?4, rater = NULL, at = ?5 "
        "WHERE interaction = ?1 AND tier = ?2",
        (id, tier, said.quality, said.source, now),
    )
    return True


def _require_answer(connection: apsw.Connection, namespace: str, id: str) -> None:
    checked_text(id, "id")
    if not connection.execute("SELECT 1 FROM interactions WHERE id = ? AND namespace = ?", (id, namespace)).get:
        raise ValueError(f"id: there is no answer {id!r} in this brain")


# -- reading ---------------------------------------------------------------------------------------------------------


def read_log(store: Store, namespace: str, limit: int, id: str | None = None) -> list[LoggedDecision]:
    """Return the newest `limit` requests of which something is logged, the newest first; or the one of `id` alone."""
    rows = store.rows(
        "WITH newest AS (SELECT rowid AS number, id, session, created, query_node FROM interactions i "
        "WHERE namespace = ?1 AND (?2 IS NULL OR id = ?2) "
        "AND EXISTS (SELECT 1 FROM decisions d WHERE d.interaction = i.id "
        "UNION ALL SELECT 1 FROM tier_outcomes o WHERE o.interaction = i.id) "
        "ORDER BY created DESC, rowid DESC LIMIT ?3) "
        f"SELECT i.id, i.session, i.created, q.text, {_DECISION} FROM newest i "
        "LEFT JOIN decisions ON decisions.interaction = i.id LEFT JOIN nodes q ON q.id = i.query_node "
        "ORDER BY i.created DESC, i.number DESC",
        (namespace, id, limit),
    )
    outcomes: dict[str, list[TierOutcome]] = {row[0]: [] for row in rows}
    for interaction, *values in store.rows(
        f"SELECT interaction, {_OUTCOME} FROM tier_outcomes WHERE interaction IN (SELECT value FROM json_each(?)) "
        "ORDER BY shown DESC, tier",
        (json.dumps(list(outcomes)),),
    ):
        found = dict(zip(_OUTCOME_FIELDS, values, strict=True))
        outcomes[interaction].append(TierOutcome(**found | {"source_ids": tuple(json.loads(found["source_ids"]))}))
    return [
        LoggedDecision(id_, session, created, query, _decision(values), tuple(outcomes[id_]))
        for id_, session, created, query, *values in rows
    ]


def _decision(row: Sequence[Any]) -> Decision | None:
    """Return what a row of _DECISION holds; None where the request was not routed."""
    if row[0] is None:
        return None
    values = dict(zip(_DECISION_FIELDS, row, strict=True))
    values["estimates"] = tuple(TierEstimate(**estimate) for estimate in json.loads(values["estimates"]))
    return Decision(**values | {name: bool(values[name]) for name in ("explored", "probed", "calibrates")})


_DRAWN = (
    "SELECT d.interaction, d.temperature, d.top_p, d.sampling_chance, d.tier, d.estimates FROM decisions d "
    "JOIN interactions i ON i.id = d.interaction WHERE i.namespace = ? AND d.sampling_chance IS NOT NULL "
    "AND json_extract(i.route, '$.temperature') = d.temperature AND json_extract(i.route, '$.top_p') = d.top_p"
)


def read_draws(store: Store, namespace: str) -> dict[str, SamplingDraw]:
    """Return by id the requests whose temperature and top_p were drawn, and held: a request may have stated its own."""
    found = {}
    for id, temperature, top_p, chance, tier, estimates in store.rows(_DRAWN, (namespace,)):
        quality = next((one["quality"] for one in json.loads(estimates) if one["tier"] == tier), None)
        found[id] = SamplingDraw(temperature, top_p, chance, UNKNOWN if quality is None else quality)
    return found


_ROUTED = (
    "WITH told AS (SELECT rowid AS number, id, session, created, query_node, used_ids, "
    "row_number() OVER (PARTITION BY session ORDER BY created, rowid) - 1 AS turn FROM interactions "
    "WHERE namespace = ?1 "
    "AND (?4 IS NULL OR id = ?4 OR session = (SELECT session FROM interactions WHERE id = ?4))), "
    "newest AS (SELECT * FROM told WHERE (?4 IS NULL OR id = ?4) AND EXISTS (SELECT 1 FROM tier_outcomes o "
    "WHERE o.interaction = told.id AND o.tier IN (SELECT value FROM json_each(?2))) "
    "ORDER BY created DESC, number DESC LIMIT ?3) "
    "SELECT newest.created, number, newest.id, newest.session, iif(newest.session IS NULL, 0, turn), q.text, v.vector, "
    "(SELECT sum(length(text)) FROM json_each(used_ids) u JOIN nodes ON nodes.id = u.value), "
    "features, present, feature_version, estimates, calibrates "
    "FROM newest JOIN nodes q ON q.id = query_node AND q.tier = 'hot' JOIN vectors v ON v.node = q.id "
    "LEFT JOIN decisions d ON d.interaction = newest.id"
)

_BY_CHANCE = "substr(o.interaction, -12), o.interaction"  # ids end in it

# A rater's qualities of one day beyond the cap are missing. Which these are, nobody but chance decides.
_TRIED = (
    "SELECT interaction, tier, shown, iif(place > ?3, NULL, quality), latency_ms, cost, rater IS NOT NULL, "
    "iif(place > ?3, NULL, source) "
    "FROM (SELECT o.*, iif(rater IS NULL, 0, row_number() OVER (PARTITION BY rater, cast(at / 86400.0 AS INTEGER) "
    f"ORDER BY {_BY_CHANCE})) AS place FROM tier_outcomes o JOIN interactions i ON i.id = o.interaction "
    "WHERE i.namespace = ?1 AND (?4 IS NULL OR o.interaction = ?4 OR (rater, cast(at / 86400.0 AS INTEGER)) IN "
    "(SELECT rater, cast(at / 86400.0 AS INTEGER) FROM tier_outcomes WHERE interaction = ?4))) "
    "WHERE tier IN (SELECT value FROM json_each(?2)) AND (?4 IS NULL OR interaction = ?4)"
)


# The one whose place in the draw of a rater's day the latest of them took.
_CROWDED_OUT = (
    "SELECT interaction FROM (SELECT o.interaction, row_number() OVER (PARTITION BY rater, "
    f"cast(at / 86400.0 AS INTEGER) ORDER BY {_BY_CHANCE}) AS place FROM tier_outcomes o "
    "JOIN interactions i ON i.id = o.interaction WHERE i.namespace = ?1 AND (rater, cast(at / 86400.0 AS INTEGER)) IN "
    "(SELECT rater, cast(at / 86400.0 AS INTEGER) FROM tier_outcomes WHERE interaction = ?2 AND rater IS NOT NULL)) "
    "WHERE place = ?3 + 1"
)


def crowded_out(store: Store, namespace: str, id: str, max_labels_per_day: int) -> list[str]:
    """Return the answers whose qualities `read_outcomes` has stopped to read because of what was said of `id`."""
    return [other for (other,) in store.rows(_CROWDED_OUT, (namespace, id, max_labels_per_day))]


def read_outcomes(
    store: Store,
    namespace: str,
    tiers: Sequence[str],
    *,
    num_features: int,
    feature_version: int,
    max_labels_per_day: int,
    limit: int = MAX_ROWS,
    id: str | None = None,
    pause: Callable[[], object] = lambda: None,
) -> LoggedOutcomes:
    """Return what `tiers` did on the newest `limit` questions; other tiers, and forgotten questions, are left out.

    Args:
        num_features: F, of the layout `feature_version`.
        max_labels_per_day: qualities of one rater and UTC day that are read.
        pause: called every few hundred rows; it may wait.
    """
    names = json.dumps(list(tiers))
    rows = sorted(store.rows(_ROUTED, (namespace, names, limit, id)), key=itemgetter(0, 1))  # oldest first
    place = {row[2]: i for i, row in enumerate(rows)}
    column = {tier: t for t, tier in enumerate(tiers)}
    n, shape = len(rows), (len(rows), len(tiers))
    quality, latency_ms, cost, propensity = (np.full(shape, np.nan, np.float32) for _ in range(4))
    sources, shown, volunteered = np.full(shape, "", "<U5"), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    features, present = np.zeros((n, num_features), np.float32), np.zeros((n, num_features), np.bool_)
    for i, (*_, values, mask, version, estimates, calibrates) in enumerate(rows):
        if i % PAUSE_ROWS == 0:
            pause()
        if version == feature_version and len(values) >= 4 * num_features:  # what follows is about the tiers of then
            features[i] = np.frombuffer(values, "<f4", count=num_features)
            present[i] = np.unpackbits(np.frombuffer(mask, np.uint8), count=num_features)
        for estimate in json.loads(estimates or "[]"):
            if estimate["tier"] in column:
                propensity[i, column[estimate["tier"]]] = 1.0 if calibrates else estimate["propensity"]
    tried = store.rows(_TRIED, (namespace, names, max_labels_per_day, id))
    for i, (interaction, tier, is_shown, *values, is_volunteered, source) in enumerate(tried):
        if i % PAUSE_ROWS == 0:
            pause()
        if interaction in place:
            at = place[interaction], column[tier]
            quality[at], latency_ms[at], cost[at] = (np.nan if value is None else value for value in values)
            sources[at], shown[at], volunteered[at] = source or "", is_shown, is_volunteered
            if np.isnan(propensity[at]):
                propensity[at] = 1.0  # there was no choice
    columns = list(zip(*rows, strict=True)) if rows else [()] * 13
    created, _, ids, sessions, turns, texts, vectors, used, *_, calibrate = columns
    return LoggedOutcomes(
        tiers=tuple(tiers),
        ids=ids,
        texts=texts,
        vectors=np.stack(list(map(vector_of, vectors))) if rows else np.empty((0, 0), np.float32),
        features=features,
        present=present,
        quality=quality,
        latency_ms=latency_ms,
        cost=cost,
        propensity=propensity,
        sources=sources,
        volunteered=volunteered,
        shown=shown,
        calibrates=np.array(calibrate, object).astype(np.bool_),  # NULL where there was no choice
        sessions=sessions,
        turns=np.array(turns, np.int64),
        created=np.array(created, np.float64),
        used_chars=np.array([-1 if chars is None else chars for chars in used], np.int64),
    )
