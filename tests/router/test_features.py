from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pytest

from ruvllm.router.embedding_map import EmbeddingMap
from ruvllm.router.features import (
    FEATURES,
    GROUPS,
    NUM_FEATURES,
    ROLES,
    Machine,
    ProbeView,
    Retrieved,
    RouterInputs,
    feature_rows,
    features,
)
from ruvllm.router.outcome_memory import OutcomeMemory

from .outcome_sets import DIM, outcomes

SLOT = {feature.name: slot for slot, feature in enumerate(FEATURES)}
LOW, HIGH = (np.array([getattr(feature, end) for feature in FEATURES]) for end in ("low", "high"))


@dataclass(frozen=True)
class Limits:
    max_latency_ms: float | None = None
    max_cost: float | None = None
    privacy: Literal["any", "local"] = "any"
    min_quality: float | None = None


TEXTS = (
    'Which of these is not the most likely cause, if it rains?\nA. electromagnetic induction\nB. "x + y" = 3\n',
    "Is it so? How many apples (3 or 4) are there? WHO says?",
    "Why? Explain. Write f(x[0]); in 20 words. Что такое Москва?",
    "Suppose Paris is in ____.",
)


def retrieved(rng: np.random.Generator) -> Retrieved:
    m = int(rng.integers(4, 12))
    vectors = (rng.standard_normal((m, DIM)) + rng.random()).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Retrieved(
        rng.random(m, np.float32),
        rng.integers(3, size=m),
        rng.random(m, np.float32),
        rng.random(m) < 0.3,
        m // 2,
        vectors,
    )


@pytest.fixture(scope="module")
def memory() -> OutcomeMemory:
    return OutcomeMemory.from_outcomes(outcomes(300))


@pytest.fixture(scope="module")
def embedding_map() -> EmbeddingMap:
    return EmbeddingMap.fit(outcomes(300).vectors, np.random.default_rng(0))


def some_inputs(n: int, memory: OutcomeMemory) -> list[RouterInputs]:
    """Return n requests with all inputs, all of them varied."""
    rng, asked = np.random.default_rng(0), outcomes(n, seed=1)
    found = memory.near_many(asked.vectors, asked.texts)
    return [
        RouterInputs(
            text=TEXTS[i % 4] + asked.texts[i],
            turn_index=i % 3,
            user_questions=i,
            vector=asked.vectors[i],
            retrieved=retrieved(rng),
            evidence=found.row(i),
            default_tier=1,
            probe=ProbeView(*rng.random(3), -4.0 * rng.random(), int(rng.integers(64))),
            constraints=Limits(1e4 * rng.random(), rng.random(), "local" if i % 2 else "any", rng.random()),
            machine=Machine(rng.random(), rng.random(), 1 + i % 8, i % 3 == 0),
        )
        for i in range(n)
    ]


def test_there_are_128_slots_with_names_of_their_own_and_a_source() -> None:
    assert len(FEATURES) == len(SLOT) == NUM_FEATURES == 128
    assert all(feature.source and feature.low < feature.high and feature.scale > 0.0 for feature in FEATURES)


def test_groups_are_where_the_log_says_they_are() -> None:
    for name, slots in GROUPS.items():
        assert {feature.group for feature in FEATURES[slots]} == {name}
    assert sum(slots.stop - slots.start for slots in GROUPS.values()) == NUM_FEATURES


def test_every_slot_is_filled_and_moves_when_its_input_exists(
    memory: OutcomeMemory, embedding_map: EmbeddingMap
) -> None:
    found = [features(inputs, embedding_map) for inputs in some_inputs(60, memory)]

    values, present = np.stack([one.values for one in found]), np.stack([one.present for one in found])

    assert present.all()
    # the 16 dimensions of these vectors span no more than 16 components
    still = {FEATURES[slot].name for slot in np.flatnonzero(np.ptp(values, axis=0) == 0.0)}
    assert still == {f"component_{i}" for i in range(DIM, 20)}


def test_every_value_is_finite_and_in_its_range(memory: OutcomeMemory, embedding_map: EmbeddingMap) -> None:
    for inputs in some_inputs(20, memory):
        extreme = replace(
            inputs,
            text="9" * 10_000,
            turn_index=10**9,
            probe=ProbeView(1.0, 1.0, float("inf"), float("-inf"), 0),
            constraints=Limits(1e30, 0.0, "local", 1.0),
        )
        found = features(extreme, embedding_map)
        assert ((found.values >= LOW) & (found.values <= HIGH)).all()


def test_what_is_not_there_is_absent_and_zero() -> None:
    found = features(RouterInputs("Why?"))

    assert found.present[GROUPS["query"]].all()
    assert not found.present[32:].any()
    assert not found.values[32:].any()


@pytest.mark.parametrize("name", ["vector", "retrieved", "evidence", "probe"])
def test_an_input_fills_its_own_group_only(memory: OutcomeMemory, embedding_map: EmbeddingMap, name: str) -> None:
    inputs = some_inputs(1, memory)[0]
    group = {"vector": "embedding", "retrieved": "retrieval", "evidence": "outcomes"}.get(name, name)

    with_it, without = features(inputs, embedding_map), features(replace(inputs, **{name: None}), embedding_map)

    changed = np.zeros(NUM_FEATURES, np.bool_)
    changed[GROUPS[group]] = True
    np.testing.assert_array_equal(with_it.present != without.present, changed)
    np.testing.assert_array_equal(with_it.values[~changed], without.values[~changed])


def test_each_limit_is_present_by_itself() -> None:
    found = features(RouterInputs("Why?", constraints=Limits(max_latency_ms=200.0)))

    named = {FEATURES[slot].name for slot in np.flatnonzero(found.present[GROUPS["constraints"]]) + 120}
    assert named == {"log_latency_budget", "is_private"}


def test_the_same_request_has_the_same_features(memory: OutcomeMemory, embedding_map: EmbeddingMap) -> None:
    first, second = (features(some_inputs(1, memory)[0], embedding_map) for _ in range(2))

    np.testing.assert_array_equal(first.values, second.values)


def test_many_rows_are_those_of_one_by_one(memory: OutcomeMemory, embedding_map: EmbeddingMap) -> None:
    asked = outcomes(9, seed=1)
    evidence = memory.near_many(asked.vectors, asked.texts)

    values, present = feature_rows(asked.texts, asked.vectors, evidence, embedding_map, default_tier=1)

    one = features(
        RouterInputs(asked.texts[4], vector=asked.vectors[4], evidence=evidence.row(4), default_tier=1), embedding_map
    )
    np.testing.assert_allclose(values[4], one.values, atol=1e-5)
    np.testing.assert_array_equal(present[4], one.present)


def test_roles_are_the_tiers_they_name(memory: OutcomeMemory) -> None:
    inputs = some_inputs(1, memory)[0]
    evidence = inputs.evidence
    assert evidence is not None

    found = features(inputs)

    best = int(np.mean([evidence.near_quality, evidence.broad_quality, evidence.lexical_quality], axis=0).argmax())
    for role, tier in zip(ROLES, (0, 1, best, 2), strict=True):
        slot = SLOT[f"{role}_near_quality"]
        raw = found.values[slot] * FEATURES[slot].scale + FEATURES[slot].centre
        assert raw == pytest.approx(evidence.near_quality[tier], abs=1e-5)


def test_with_two_tiers_roles_coincide(memory: OutcomeMemory) -> None:
    log = outcomes(100)
    both = OutcomeMemory(log.tiers[:2], DIM)
    both.extend(range(100), log.texts, log.vectors, log.quality[:, :2], log.latency_ms[:, :2])

    found = features(RouterInputs("Why?", evidence=both.near(log.vectors[0], log.texts[0])))

    assert found.present[GROUPS["outcomes"]].all()
    assert found.values[SLOT["default_near_quality"]] == found.values[SLOT["largest_near_quality"]]


def test_an_empty_memory_leaves_outcomes_absent() -> None:
    empty = OutcomeMemory(outcomes(1).tiers, DIM)

    found = features(RouterInputs("Why?", evidence=empty.near(np.ones(DIM, np.float32), "Why?")))

    assert not found.present[GROUPS["outcomes"]].any()


@pytest.mark.parametrize("m", [0, 1])
def test_few_nodes_fill_what_they_can(m: int) -> None:
    few = Retrieved(np.full(m, 0.5, np.float32), np.zeros(m, np.int64), np.zeros(m, np.float32), np.zeros(m, np.bool_))

    found = features(RouterInputs("Why?", retrieved=few))

    present = {FEATURES[slot].name for slot in np.flatnonzero(found.present[GROUPS["retrieval"]]) + 60}
    assert "log_retrieved" in present
    assert ("similarity_max" in present) == (m == 1)
    assert "similarity_gap" not in present


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vector": np.full(DIM, np.nan, np.float32)}, "NaN"),
        ({"vector": np.ones(3, np.float32)}, f"{DIM} dimensions"),
        ({"default_tier": 3}, "default_tier must be a tier"),
    ],
)
def test_bad_inputs_are_refused(
    memory: OutcomeMemory, embedding_map: EmbeddingMap, change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        features(replace(some_inputs(1, memory)[0], **change), embedding_map)


def test_nodes_must_have_all_their_numbers() -> None:
    lacking = Retrieved(np.ones(3, np.float32), np.zeros(2, np.int64), np.ones(3, np.float32), np.zeros(3, np.bool_))

    with pytest.raises(ValueError, match="hops must have one entry a node"):
        features(RouterInputs("Why?", retrieved=lacking))
