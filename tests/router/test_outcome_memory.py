from __future__ import annotations

import threading

import numpy as np
import pytest

from ruvllm.router import outcome_memory
from ruvllm.router.outcome_memory import Evidence, OutcomeMemory

from .outcome_sets import DIM, TIERS, outcomes

NAMES = Evidence.__slots__


def unit(i: int) -> np.ndarray:
    return np.eye(DIM, dtype=np.float32)[i]


@pytest.fixture
def memory() -> OutcomeMemory:
    return OutcomeMemory(TIERS, DIM)


def test_what_neighbours_by_meaning_did_is_told() -> None:
    log = outcomes(400)
    topic = log.vectors[:, :4].argmax(axis=1)

    found = OutcomeMemory.from_outcomes(log).near(unit(0), "")

    seen = np.nanmean(log.quality[topic == 0], axis=0)
    assert np.abs(found.near_quality - seen).max() < 0.25
    assert found.near_quality[2] - found.near_quality[0] > 0.4


def test_what_neighbours_by_words_did_is_told(memory: OutcomeMemory) -> None:
    for i in range(20):
        about = "enzyme kinetics" if i % 2 else "contract law"
        memory.add(i, f"{about} of case {i}", unit(i % 5), np.full(3, i % 2, np.float32))

    found = memory.near(unit(9), "which enzyme kinetics apply?")

    assert found.lexical_quality.min() > 0.8
    assert np.abs(found.broad_quality - 0.5).max() < 0.1
    assert found.nearest_lexical > 0.1


@pytest.mark.parametrize("row", [0, 17, 299])
def test_a_row_left_out_is_as_if_it_had_never_been_there(row: int) -> None:
    log = outcomes(300)
    others = OutcomeMemory.from_outcomes(log.take(np.delete(np.arange(300), row)))

    found = OutcomeMemory.from_outcomes(log).near(log.vectors[row], log.texts[row], without=row)

    expected = others.near(log.vectors[row], log.texts[row])
    for name in set(NAMES) - {"lexical_quality", "nearest_lexical"}:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=2e-5, atol=1e-5, err_msg=name)
    # one row of 300 more counts for how rare a word is: idf moves by at most log(2.5 / 1.5) of log(300)
    np.testing.assert_allclose(found.lexical_quality, expected.lexical_quality, atol=0.03)


def test_all_rows_at_once_are_told_the_same_as_one_by_one() -> None:
    log = outcomes(600)
    memory = OutcomeMemory.from_outcomes(log)

    found = memory.near_rows(log.texts)

    for row in (0, 255, 256, 599):
        one = memory.near(log.vectors[row], log.texts[row], without=row)
        for name in NAMES:  # the memory's own vectors are float16: 2^-11 of a cosine
            np.testing.assert_allclose(getattr(found.row(row), name), getattr(one, name), rtol=0.02, err_msg=name)


def test_foreign_questions_at_once_are_told_the_same_as_one_by_one() -> None:
    memory, asked = OutcomeMemory.from_outcomes(outcomes(300)), outcomes(7, seed=1)

    found = memory.near_many(asked.vectors, asked.texts)

    one = memory.near(asked.vectors[5], asked.texts[5])
    for name in NAMES:
        np.testing.assert_allclose(getattr(found.row(5), name), getattr(one, name), rtol=1e-5, err_msg=name)


def test_a_missing_outcome_is_not_a_bad_one(memory: OutcomeMemory) -> None:
    for i in range(10):
        memory.add(i, f"comet {i}", unit(1), {"large": 1.0, **({"small": 1.0} if i < 2 else {})})

    found = memory.near(unit(1), "comet")

    assert found.near_quality[0] == found.lexical_quality[0] == found.success[0] == 1.0
    assert found.count[0] == pytest.approx(2.0, rel=1e-3)
    assert np.isnan(found.broad_quality[1])
    assert found.count[1] == 0.0


def test_far_neighbours_say_little(memory: OutcomeMemory) -> None:
    for i in range(40):
        memory.add(i, f"comet {i}", unit(i % 2), np.full(3, i % 2, np.float32))
    towards = unit(1) + 0.0 * unit(5)
    away = 0.3 * unit(1) + unit(5)

    near, far = memory.near(towards, ""), memory.near(away, "")

    assert near.broad_quality[0] > far.broad_quality[0] + 0.2 > 0.7


@pytest.mark.parametrize("n", [0, 1])
def test_a_memory_of_none_or_one_knows_nothing_about_another(memory: OutcomeMemory, n: int) -> None:
    if n:
        memory.add("only", "comet", unit(0), np.ones(3, np.float32))

    found = memory.near(unit(0), "comet", without=0 if n else None)

    assert np.isnan(found.near_quality).all()
    assert np.isnan(found.latency_ms).all()
    assert not found.count.any()
    assert found.nearest_similarity == found.nearest_lexical == 0.0
    assert memory.near_rows([] if not n else ["comet"]).count.shape == (n, 3)


def test_the_only_row_is_what_others_are_told(memory: OutcomeMemory) -> None:
    memory.add("only", "comet", unit(0), np.array([0.0, 0.5, 1.0], np.float32), np.array([10.0, np.nan, 30.0]))

    found = memory.near(unit(0), "comet")

    np.testing.assert_allclose(found.near_quality, [0.0, 0.5, 1.0])
    np.testing.assert_allclose(found.latency_ms, [10.0, np.nan, 30.0], rtol=1e-5)
    assert found.nearest_similarity == pytest.approx(1.0, abs=1e-3)
    assert found.nearest_lexical == pytest.approx(1.0, abs=1e-3)


def test_later_feedback_replaces_what_it_knows(memory: OutcomeMemory) -> None:
    memory.add("a", "comet", unit(0), {"small": 0.0, "large": 1.0})

    memory.add("a", "comet", unit(0), {"small": 1.0})

    assert len(memory) == 1
    np.testing.assert_array_equal(memory.near(unit(0), "comet").near_quality, [1.0, np.nan, 1.0])


def test_what_is_taken_back_is_unknown_again(memory: OutcomeMemory) -> None:
    for i in range(3):
        memory.add(i, "a question", unit(i), np.array([1.0, 0.0, np.nan], np.float32))
    memory.correct(1, np.array([np.nan, 1.0, np.nan], np.float32), np.full(3, np.nan, np.float32))
    memory.correct("nobody", np.ones(3, np.float32), np.ones(3, np.float32))
    numbers, sums = memory.totals()
    assert (len(memory), numbers.tolist(), sums.tolist()) == (3, [2.0, 3.0, 0.0], [2.0, 1.0, 0.0])


def test_feedback_that_comes_twice_counts_once(memory: OutcomeMemory) -> None:
    memory.extend(["a", "a"], ["comet"] * 2, np.stack([unit(0)] * 2), np.ones((2, 3)), np.ones((2, 3)))

    assert len(memory) == 1
    assert memory.near(unit(0), "comet").count[0] == pytest.approx(1.0, rel=1e-3)


def test_what_is_in_cells_is_found_as_by_comparing_all(monkeypatch: pytest.MonkeyPatch) -> None:
    log, asked = outcomes(3000), outcomes(50, seed=1)
    exact = OutcomeMemory.from_outcomes(log).near_many(asked.vectors, asked.texts)
    monkeypatch.setattr(outcome_memory, "CELLS_FROM", 500)
    monkeypatch.setattr(outcome_memory, "COMPARED", 800)

    found = OutcomeMemory.from_outcomes(log).near_many(asked.vectors, asked.texts)

    assert np.mean(found.nearest_similarity == exact.nearest_similarity) > 0.9
    assert np.abs(found.broad_quality - exact.broad_quality).mean() < 0.02


def test_rows_that_come_later_join_the_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_memory, "CELLS_FROM", 100)
    monkeypatch.setattr(outcome_memory, "MAX_TAIL", 20)
    log = outcomes(500)
    memory = OutcomeMemory.from_outcomes(log.take(range(150)))

    for i in range(150, 500):
        memory.add(i, log.texts[i], log.vectors[i], log.quality[i], log.latency_ms[i])

    found = [memory.near(log.vectors[i], log.texts[i]).nearest_similarity for i in range(0, 500, 7)]
    assert np.min(found) > 0.999


def test_the_oldest_go_when_it_is_full() -> None:
    log = outcomes(120)
    memory = OutcomeMemory(TIERS, DIM, capacity=100)
    memory.extend(range(120), log.texts, log.vectors, log.quality, log.latency_ms)

    memory.add("new", "glacier", log.vectors[0], log.quality[0])

    assert 90 <= len(memory) <= 100
    kept = OutcomeMemory.from_outcomes(log.take(range(121 - len(memory), 120)))
    kept.add("new", "glacier", log.vectors[0], log.quality[0])
    found, expected = memory.near(unit(0), ""), kept.near(unit(0), "")
    np.testing.assert_allclose(found.broad_quality, expected.broad_quality, rtol=1e-5)


def test_feedback_for_a_row_that_is_gone_starts_a_new_one() -> None:
    memory = OutcomeMemory(TIERS, DIM, capacity=10)
    for i in range(20):
        memory.add(i, f"comet {i}", unit(i % DIM), np.ones(3, np.float32))

    memory.add(5, "comet 5", unit(5), np.zeros(3, np.float32))

    assert memory.near(unit(5), "comet 5").near_quality[0] < 0.5


def test_lookups_run_beside_changes() -> None:
    log = outcomes(2000)
    memory = OutcomeMemory(TIERS, DIM, capacity=500)
    failures: list[BaseException] = []
    done = threading.Event()

    def look() -> None:
        try:
            while not done.is_set():
                found = memory.near(log.vectors[0], log.texts[0])
                known = found.broad_quality[~np.isnan(found.broad_quality)]
                assert ((known >= 0.0) & (known <= 1.0)).all()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(2000):
        memory.add(i, log.texts[i], log.vectors[i], log.quality[i], log.latency_ms[i])
    done.set()
    for thread in threads:
        thread.join()

    assert not failures
    assert 450 <= len(memory) <= 500


def test_the_same_outcomes_give_the_same_evidence() -> None:
    log, asked = outcomes(300), outcomes(20, seed=1)

    first, second = (OutcomeMemory.from_outcomes(log).near_many(asked.vectors, asked.texts) for _ in range(2))

    for name in NAMES:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


NOT_FINITE = np.full(DIM, np.nan, np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vector": NOT_FINITE}, "NaN"),
        ({"vector": np.zeros(DIM, np.float32)}, "zero"),
        ({"vector": np.ones(DIM + 1, np.float32)}, f"{DIM} dimensions"),
        ({"quality": np.array([0.0, 1.5, 0.0])}, r"quality must be in \[0, 1\]"),
        ({"quality": np.zeros(2)}, "one entry a tier"),
        ({"quality": {"huge": 1.0}}, "names a tier that is not one of small, middle, large"),
        ({"latency_ms": {"small": 0.0}}, "latency_ms must be finite and > 0"),
        ({"latency_ms": {"small": float("inf")}}, "latency_ms must be finite and > 0"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    memory: OutcomeMemory, change: dict[str, object], message: str
) -> None:
    sound: dict[str, object] = {"vector": unit(0), "quality": np.ones(3, np.float32)}

    with pytest.raises(ValueError, match=message):
        memory.add("a", "comet", **(sound | change))  # type: ignore[arg-type]

    assert len(memory) == 0


def test_asking_wrongly_is_refused(memory: OutcomeMemory) -> None:
    memory.add("a", "comet", unit(0), np.ones(3, np.float32))

    with pytest.raises(ValueError, match="NaN"):
        memory.near(NOT_FINITE, "comet")
    with pytest.raises(ValueError, match="without must be a row"):
        memory.near(unit(0), "comet", without=1)
    with pytest.raises(ValueError, match="texts must have one entry a row"):
        memory.near_rows([])
    with pytest.raises(ValueError, match="rows must be in"):
        memory.near_rows(["comet"], np.array([3]))
