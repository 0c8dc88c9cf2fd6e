"""The reservoir keeps what it must, with the probability it must, and the same for the same seed."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from kernels.chi_square import chi_square, critical_value
from kernels.xxh64 import forged
from ruvllm.kernels import Reservoir

TRIALS = 20_000


def inclusion_chi_square(counts: np.ndarray, trials: int, k: int) -> float:
    """Of how often each of n items is among the k kept; n - 1 degrees of freedom.

    One trial has variance p (1 - p) and covariance -p (1 - p) / (n - 1) between items, hence the factor.
    """
    n, p = len(counts), k / len(counts)
    return (n - 1) / n * float(((counts - trials * p) ** 2).sum()) / (trials * p * (1 - p))


def kept_subsets(draws: Iterator[np.ndarray]) -> Counter[tuple[int, ...]]:
    return Counter(tuple(sorted(items.tolist())) for items in draws)


def subset_probabilities(weights: list[float], k: int) -> dict[tuple[int, ...], float]:
    """The exact distribution of k draws without replacement, each in proportion to the weights that are left."""
    found: dict[tuple[int, ...], float] = {}
    for order in itertools.permutations(range(len(weights)), k):
        p, left = 1.0, sum(weights)
        for i in order:
            p, left = p * weights[i] / left, left - weights[i]
        key = tuple(sorted(order))
        found[key] = found.get(key, 0.0) + p
    return found


def assert_subsets_match(found: Counter[tuple[int, ...]], probabilities: dict[tuple[int, ...], float]) -> None:
    assert set(found) <= set(probabilities)
    counts = np.array([found[subset] for subset in probabilities])
    expected = TRIALS * np.array(list(probabilities.values()))
    assert chi_square(counts, expected) < critical_value(len(probabilities) - 1)


def add_one_by_one(reservoir: Reservoir, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Follow `add` as a caller would; return the buffer."""
    buffer = np.full(reservoir.capacity, -1)
    for i, (label, weight) in enumerate(zip(labels.tolist(), weights.tolist(), strict=True)):
        slot = reservoir.add(label, weight)
        if slot >= 0:
            buffer[slot] = i
    return buffer[: len(reservoir)]


def stream(n: int, seed: int, *, weighted: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(5, n, p=[0.6, 0.3, 0.08, 0.015, 0.005]).astype(np.int64)
    return labels, np.exp(rng.standard_normal(n)) if weighted else np.ones(n)


@pytest.mark.parametrize(("n", "k"), [(50, 10), (50, 1), (50, 49), (400, 20)])
def test_replay_buffer_reservoir_sampling(n: int, k: int) -> None:
    counts = np.zeros(n)
    for seed in range(TRIALS):
        reservoir = Reservoir(k, seed=seed)
        reservoir.add_many(n)
        counts[reservoir.items] += 1
    assert counts.sum() == TRIALS * k
    assert inclusion_chi_square(counts, TRIALS, k) < critical_value(n - 1)


def test_every_subset_is_equally_likely() -> None:
    def draw(seed: int) -> np.ndarray:
        reservoir = Reservoir(3, seed=seed)
        for _ in range(7):
            reservoir.add()
        return reservoir.items

    found = kept_subsets(draw(seed) for seed in range(TRIALS))
    assert_subsets_match(found, subset_probabilities([1.0] * 7, 3))


@pytest.mark.parametrize("weights", [[1.0, 5.0, 0.5, 2.0, 0.1, 3.0], [9.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0] * 6])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_weighted_subsets_have_their_exact_probability(weights: list[float], k: int) -> None:
    def draw(seed: int) -> np.ndarray:
        reservoir = Reservoir(k, seed=seed, weighted=True)
        reservoir.add_many(len(weights), weights=np.array(weights))
        return reservoir.items

    found = kept_subsets(draw(seed) for seed in range(TRIALS))
    assert_subsets_match(found, subset_probabilities(weights, k))


A, B = 0, 1
INTERLEAVED = np.array([A, A, A, A, A, A, A, B, A, B, B, B, A, A, B], np.int64)  # A fills the 6 slots, then B arrives


@pytest.mark.parametrize("label", [A, B])
def test_every_item_of_a_class_is_equally_likely_to_be_kept(label: int) -> None:
    counts = np.zeros(len(INTERLEAVED))
    for seed in range(TRIALS):
        reservoir = Reservoir(6, seed=seed)
        reservoir.add_many(len(INTERLEAVED), labels=INTERLEAVED)
        counts[reservoir.items] += 1
        assert reservoir.class_sizes == {A: 3, B: 3}
    own = counts[label == INTERLEAVED]
    assert inclusion_chi_square(own, TRIALS, 3) < critical_value(len(own) - 1)


@pytest.mark.parametrize("label", [A, B])
def test_a_class_that_gave_slots_up_is_still_sampled_by_weight(label: int) -> None:
    labels = np.array([A, A, A, A, A, B, A, B, B, B], np.int64)
    weights = np.array([1.0, 4.0, 0.3, 2.0, 1.5, 1.0, 0.7, 3.0, 0.2, 2.0])

    def draw(seed: int) -> np.ndarray:
        reservoir = Reservoir(4, seed=seed, weighted=True)
        reservoir.add_many(len(labels), labels=labels, weights=weights)
        return np.flatnonzero(np.isin(np.flatnonzero(labels == label), reservoir.items))

    found = kept_subsets(draw(seed) for seed in range(TRIALS))
    assert_subsets_match(found, subset_probabilities(weights[labels == label].tolist(), 2))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("place", [0, 5000, 9950])
def test_stratification_never_starves_a_class(weighted: bool, place: int) -> None:
    labels = np.zeros(10_000, np.int64)
    labels[place : place + 50] = np.arange(1, 51)
    reservoir = Reservoir(60, seed=1, weighted=weighted)
    reservoir.add_many(len(labels), labels=labels)
    assert reservoir.class_sizes == {0: 10} | dict.fromkeys(range(1, 51), 1)
    assert set(range(place, place + 50)) <= set(reservoir.items.tolist())


@pytest.mark.parametrize("weighted", [False, True])
def test_rare_classes_are_whole_and_the_others_hold_equal_shares(weighted: bool) -> None:
    for seed in range(50):
        labels, weights = stream(700, seed, weighted=weighted)
        reservoir = Reservoir(100, seed=seed, weighted=weighted)
        for start in range(0, 700, 70):
            part = slice(start, start + 70)
            reservoir.add_many(70, labels=labels[part], weights=weights[part] if weighted else None)
            seen, sizes = Counter(labels[: start + 70].tolist()), reservoir.class_sizes
            assert sum(sizes.values()) == min(start + 70, 100) == len(reservoir)
            assert Counter(labels[reservoir.items].tolist()) == sizes
            share = max(sizes.values())
            assert all(size == seen[label] or size >= share - 1 for label, size in sizes.items())


@pytest.mark.parametrize("weighted", [False, True])
def test_items_together_or_alone_give_the_same_content(weighted: bool) -> None:
    for seed, sizes in enumerate([[3000], [1, 2999], [100] * 30, [0, 700, 1, 1, 0, 2298]]):
        labels, weights = stream(3000, seed, weighted=weighted)
        alone, together = (Reservoir(40, seed=seed, weighted=weighted) for _ in range(2))
        expected, buffer, start = add_one_by_one(alone, labels, weights), np.full(40, -1), 0
        for size in sizes:
            part = slice(start, start + size)
            chosen = weights[part] if weighted else None
            kept, slots = together.add_many(size, labels=labels[part], weights=chosen)
            buffer[slots] = start + kept
            start += size
        np.testing.assert_array_equal(buffer, expected)
        np.testing.assert_array_equal(together.items, expected)
        assert together.snapshot() == alone.snapshot()


def test_a_batch_names_each_slot_once_and_in_order() -> None:
    kept, slots = Reservoir(10, seed=3).add_many(5000)
    assert kept.dtype == slots.dtype == np.int64
    assert np.all(np.diff(kept) > 0)
    assert sorted(slots.tolist()) == list(range(10))


def test_one_class_equals_no_classes() -> None:
    plain, labelled = Reservoir(20, seed=4), Reservoir(20, seed=4)
    plain.add_many(2000)
    labelled.add_many(2000, labels=np.zeros(2000, np.int64))
    assert plain.snapshot() == labelled.snapshot()


@pytest.mark.parametrize("weighted", [False, True])
def test_a_shorter_stream_is_kept_whole(weighted: bool) -> None:
    reservoir = Reservoir(100, weighted=weighted)
    reservoir.add_many(99, labels=np.arange(99) % 7)
    assert reservoir.items.tolist() == list(range(99))
    assert reservoir.add(3) == 99
    assert len(reservoir) == reservoir.num_seen == 100


def test_the_seed_decides_the_content() -> None:
    first, same, other = (Reservoir(10, seed=seed) for seed in (7, 7, 8))
    for reservoir in (first, same, other):
        reservoir.add_many(1000)
    assert first.items.tolist() == same.items.tolist() != other.items.tolist()


def test_the_content_of_a_seed_never_changes() -> None:
    reservoir, weighted = Reservoir(5, seed=2026), Reservoir(5, seed=2026, weighted=True)
    reservoir.add_many(1000)
    weighted.add_many(1000, weights=np.arange(1.0, 1001.0))
    assert reservoir.items.tolist() == [341, 892, 862, 923, 197]
    assert weighted.items.tolist() == [372, 982, 990, 321, 801]


def test_a_stream_beyond_all_counting_is_sampled_evenly() -> None:
    reservoir = Reservoir(1000, seed=5)
    reservoir.add_many(10**15)
    counts = np.bincount(reservoir.items // 10**14, minlength=10)
    assert chi_square(counts, np.full(10, 100.0)) < critical_value(9)


def test_weights_of_one_are_passed_over_as_fast() -> None:
    together, alone = Reservoir(10, seed=5, weighted=True), Reservoir(10, seed=5, weighted=True)
    together.add_many(3000)
    for _ in range(3000):
        alone.add()
    assert together.snapshot() == alone.snapshot()
    together.add_many(10**15)
    assert together.items.max() > 10**14


@pytest.mark.parametrize("weight", [1e-300, 5e-324, 1e300])
def test_extreme_weights_are_weights(weight: float) -> None:
    reservoir = Reservoir(3, seed=0, weighted=True)
    reservoir.add_many(100, weights=np.full(100, weight))
    for _ in range(3):
        reservoir.add(weight=weight)
    assert len(set(reservoir.items.tolist())) == 3


def test_an_overwhelming_weight_is_always_kept() -> None:
    for seed in range(100):
        reservoir = Reservoir(2, seed=seed, weighted=True)
        weights = np.full(200, 1e-9)
        weights[seed] = 1e9
        reservoir.add_many(200, weights=weights)
        assert seed in reservoir.items


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("cut", [0, 1, 29, 30, 31, 500])
def test_a_restored_reservoir_goes_on_as_if_nothing_had_happened(weighted: bool, cut: int) -> None:
    labels, weights = stream(1000, cut, weighted=weighted)
    whole = Reservoir(30, seed=cut, weighted=weighted)
    add_one_by_one(whole, labels[:cut], weights[:cut])
    restored = Reservoir.restore(whole.snapshot())
    assert (restored.capacity, restored.weighted, restored.num_seen) == (30, weighted, cut)
    assert restored.class_sizes == whole.class_sizes
    for reservoir in (whole, restored):
        reservoir.add_many(1000 - cut, labels=labels[cut:], weights=weights[cut:] if weighted else None)
    assert restored.snapshot() == whole.snapshot()


def saved(weighted: bool = False) -> bytes:
    reservoir = Reservoir(4, seed=1, weighted=weighted)
    reservoir.add_many(20, labels=np.arange(20) % 2)
    return reservoir.snapshot()


def test_damage_anywhere_is_found() -> None:
    data = saved()
    for i in range(len(data)):
        with pytest.raises(ValueError, match="snapshot must"):
            Reservoir.restore(data[:i] + bytes([data[i] ^ 0x10]) + data[i + 1 :])
    for length in [*range(len(data)), len(data) + 8]:
        with pytest.raises(ValueError, match="snapshot must"):
            Reservoir.restore(data.ljust(length, b"\0")[:length])


def with_word(snapshot: bytes, word: int, value: int) -> bytes:
    """Replace a 64-bit word behind magic and version."""
    return forged(snapshot, (16 + 8 * word, value.to_bytes(8, "little")))


NAN, HUGE = 0x7FF8 << 48, 2**63
# 0 capacity, 1 weighted, 2-5 random state, 6 seen, 7 number of items, 8-11 items, 12 classes; then a class: 13 label,
# 14 sampled, 15 log w, 16 skip, 17 size, 18-19 slots (with weights 18-21: slot, key, slot, key)


@pytest.mark.parametrize(
    ("weighted", "word", "value"),
    [(False, word, HUGE) for word in (0, 1, 6, 7, 8, 12, 14, 17, 18)]
    + [(False, 0, 0), (False, 0, 3), (False, 6, 3), (False, 15, NAN), (False, 16, NAN), (False, 19, 0), (False, 17, 0)]
    + [(False, 13, 1), (True, 1, 0), (True, 18, 4), (True, 19, NAN), (True, 19, 0), (False, 7, 2**61), (False, 12, 3)],
)
def test_bytes_with_impossible_content_are_refused(weighted: bool, word: int, value: int) -> None:
    with pytest.raises(ValueError, match="snapshot must"):
        Reservoir.restore(with_word(saved(weighted), word, value))


def test_forging_nothing_is_accepted() -> None:
    assert Reservoir.restore(with_word(saved(), 0, 4)).snapshot() == saved()


def test_threads_may_share_a_reservoir() -> None:
    reservoir = Reservoir(50, seed=0)

    def work() -> None:
        for _ in range(200):
            reservoir.add(1)
            reservoir.add_many(1000)
            assert len(reservoir.items) == len(reservoir) == 50

    reservoir.add_many(50)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reservoir.num_seen == 50 + 4 * 200 * 1001
    assert len(set(reservoir.items.tolist())) == 50


LABELS, WEIGHTS = np.zeros(3, np.int64), np.ones(3)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"capacity": 0}, ValueError, r"capacity must be in \[1, 2147483647\] \(0\)"),
        ({"capacity": -1}, ValueError, r"capacity must be .* \(-1\)"),
        ({"capacity": 2**31}, ValueError, "capacity must be"),
        ({"capacity": 2**64}, ValueError, "capacity must fit 64 bits"),
        ({"capacity": 1.5}, TypeError, r"capacity must be an integer \(float\)"),
        ({"capacity": 1, "seed": -1}, ValueError, r"seed must be >= 0 \(-1\)"),
        ({"capacity": 1, "seed": None}, TypeError, r"seed must be an integer \(NoneType\)"),
    ],
)
def test_a_bad_reservoir_is_refused_by_name(arguments: dict[str, object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Reservoir(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"weight": 0.0}, ValueError, r"weight must be finite and above 0 \(0.0\)"),
        ({"weight": -1.0}, ValueError, "weight must be finite and above 0"),
        ({"weight": np.nan}, ValueError, "weight must be finite and above 0"),
        ({"weight": np.inf}, ValueError, "weight must be finite and above 0"),
        ({"weight": 10**400}, ValueError, "weight must be finite"),
        ({"weight": "1"}, TypeError, r"weight must be a number \(str\)"),
        ({"label": 0.5}, TypeError, r"label must be an integer \(float\)"),
        ({"label": 2**63}, ValueError, "label must fit 64 bits"),
        ({"label": 7}, ValueError, r"label must be one of at most 2 classes, the capacity \(7 is one more\)"),
        ({"n": -1}, ValueError, r"n must be >= 0 \(-1\)"),
        ({"n": 2**53 - 8}, ValueError, "n must keep the stream within 9007199254740992 items"),
        ({"n": 3.0}, TypeError, "n must be an integer"),
        ({"n": 3, "labels": [0, 0, 0]}, TypeError, r"labels must be a numpy array \(list\)"),
        ({"n": 3, "labels": LABELS.astype(np.int32)}, ValueError, r"labels must have dtype int64 \(int32\)"),
        ({"n": 2, "labels": LABELS}, ValueError, r"labels must have shape \(2,\) \(\(3,\)\)"),
        ({"n": 3, "labels": np.zeros(6, np.int64)[::2]}, ValueError, "labels must be C-contiguous"),
        ({"n": 3, "labels": np.array([5, 6, 7])}, ValueError, r"label must be one of at most 2 classes"),
        ({"n": 0, "labels": LABELS}, ValueError, "labels must have shape"),
        ({"n": 3, "weights": WEIGHTS.astype(np.float32)}, ValueError, r"weights must have dtype float64 \(float32\)"),
        ({"n": 3, "weights": np.array([1.0, np.nan, 1.0])}, ValueError, r"weights\[1\] must be finite and above 0"),
        ({"n": 3, "weights": np.array([1.0, 1.0, 0.0])}, ValueError, r"weights\[2\] must be finite and above 0"),
        ({"n": 3, "weights": -WEIGHTS}, ValueError, r"weights\[0\] must be finite and above 0 \(-1.0\)"),
    ],
)
def test_bad_input_is_refused_by_name_and_changes_nothing(
    arguments: dict[str, object], error: type[Exception], says: str
) -> None:
    reservoir = Reservoir(2, seed=0, weighted=True)
    reservoir.add_many(9, labels=np.array([5, 6, 5, 6, 5, 6, 5, 6, 5]))
    before = reservoir.snapshot()
    with pytest.raises(error, match=says):
        (reservoir.add_many if "n" in arguments else reservoir.add)(**arguments)  # type: ignore[arg-type, operator]
    assert reservoir.snapshot() == before
    reservoir.add(5)


def test_a_reservoir_without_weights_takes_none() -> None:
    with pytest.raises(ValueError, match="weight must be left out"):
        Reservoir(2).add(0, 2.0)
    with pytest.raises(ValueError, match="weights must be left out"):
        Reservoir(2).add_many(3, weights=WEIGHTS)


def test_only_bytes_are_restored() -> None:
    with pytest.raises(TypeError, match=r"snapshot must be bytes \(str\)"):
        Reservoir.restore("")  # type: ignore[arg-type]
