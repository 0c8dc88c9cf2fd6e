"""BM25 against a plain Python twin: random programs of adds and removes, real text, filters, snapshots, threads."""

from __future__ import annotations

import gzip
import json
import math
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.xxh64 import forged
from ruvllm import kernels
from ruvllm.kernels import Bm25

EPS = float(np.finfo(np.float32).eps)


class Twin:
    """The textbook, in float64."""

    def __init__(self, k1: float = 1.2, b: float = 0.75) -> None:
        self.k1, self.b = k1, b
        self.documents: dict[int, list[int]] = {}

    def scores(self, query: Sequence[int], outside: Sequence[Sequence[int]] | None = None) -> np.ndarray:
        """Return the score of every document, or of documents outside the index."""
        counts = list(map(Counter, self.documents.values() if outside is None else outside))
        n, lengths = len(self.documents), [counter.total() for counter in counts]
        average = sum(map(len, self.documents.values())) / max(n, 1)
        norms = np.array([self.k1 * (1 - self.b + self.b * (m / average if average else 0.0)) for m in lengths])
        scores = np.zeros(len(counts))
        for term in query:
            df = sum(term in document for document in self.documents.values())
            idf = math.log(1 + (n - df + 0.5) / (df + 0.5))
            tf = np.array([counter[term] for counter in counts], dtype=np.float64)
            scores += np.where(tf > 0, idf * tf * (self.k1 + 1) / np.where(tf > 0, tf + norms, 1.0), 0.0)
        return scores


def as_terms(terms: Iterable[int]) -> np.ndarray:
    return np.array(list(terms), dtype=np.uint64)


def csr(documents: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    indptr = np.cumsum([0, *map(len, documents)], dtype=np.int64)
    return as_terms(term for document in documents for term in document), indptr


def add(index: Bm25, documents: dict[int, list[int]]) -> None:
    index.add(np.array(list(documents), dtype=np.int64), *csr(list(documents.values())))


def remove(index: Bm25, ids: Iterable[int]) -> None:
    index.remove(np.array(list(ids), dtype=np.int64))


def assert_equal(index: Bm25, twin: Twin, query: Sequence[int], among: Sequence[int] | None = None) -> None:
    """All that holds a term comes back with the textbook's score; fewer wanted are the first of these."""
    kept = None if among is None else np.array(among, dtype=np.int64)
    ids, scores = index.search(as_terms(query), 10**9, among=kept)
    allowed = None if among is None else set(among)
    truth = {
        id_: score
        for id_, score in zip(twin.documents, twin.scores(query).tolist(), strict=True)
        if score > 0 and (allowed is None or id_ in allowed)
    }
    assert sorted(ids.tolist()) == sorted(truth)
    # n rounded terms and their rounded sum: (n + 4) eps each, the terms being positive
    expected = np.array([truth[i] for i in ids.tolist()])
    assert np.all(np.abs(scores - expected) <= (len(query) + 4) * EPS * expected)
    assert sorted(zip(-scores, ids, strict=True)) == list(zip(-scores, ids, strict=True))  # ties by the lower id
    for k in (1, 2, 7, 20):
        first_ids, first_scores = index.search(as_terms(query), k, among=kept)
        np.testing.assert_array_equal(first_ids, ids[:k])
        np.testing.assert_array_equal(first_scores, scores[:k])


def zipf_documents(n: int, seed: int, *, words: int = 30, vocabulary: int = 3000) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, vocabulary + 1)
    lengths = rng.integers(0, 2 * words, n)
    return [rng.choice(vocabulary, length, p=weights / weights.sum()).tolist() for length in lengths]


TERMS = st.integers(0, 7)
DOCUMENT = st.lists(TERMS, max_size=12)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.dictionaries(st.integers(-4, 12), DOCUMENT, max_size=6)),
        st.tuples(st.just("remove"), st.sets(st.integers(-4, 12), max_size=4)),
        st.tuples(st.just("reopen"), st.none()),
    ),
    max_size=8,
)


@settings(max_examples=200, deadline=None)
@given(
    steps=STEPS,
    query=st.lists(st.integers(0, 9), max_size=6),
    among=st.one_of(st.none(), st.lists(st.integers(-5, 14), max_size=8)),
    k1=st.sampled_from([0.0, 0.9, 1.2, 3.0]),
    b=st.sampled_from([0.0, 0.4, 0.75, 1.0]),
)
def test_any_program_gives_the_textbooks_scores(
    steps: list[tuple[str, object]], query: list[int], among: list[int] | None, k1: float, b: float
) -> None:
    index, twin = Bm25(k1=k1, b=b), Twin(k1, b)
    for step, what in steps:
        if step == "add":
            new = {i: document for i, document in what.items() if i not in twin.documents}  # type: ignore[attr-defined]
            add(index, new)
            twin.documents |= new
        elif step == "remove":
            gone = [i for i in what if i in twin.documents]  # type: ignore[attr-defined]
            remove(index, gone)
            for i in gone:
                del twin.documents[i]
        else:
            index = Bm25.restore(index.snapshot(), k1=k1, b=b)
        assert len(index) == len(twin.documents)
        assert index.contains(np.arange(-5, 14)).tolist() == [i in twin.documents for i in range(-5, 14)]
        assert index.num_postings == sum(len(set(document)) for document in twin.documents.values())
    assert index.ids().tolist() == sorted(twin.documents)
    assert_equal(index, twin, query, among)


def grown_index(seed: int = 0) -> tuple[Bm25, Twin]:
    """Several windows, lists and frequent terms, removed documents, ids that are not in the order of adding."""
    documents = zipf_documents(6000, seed)
    ids = np.random.default_rng(seed).permutation(20_000)[:6000].tolist()
    index, twin = Bm25(), Twin()
    twin.documents = dict(zip(ids, documents, strict=True))
    for start in range(0, 6000, 1500):
        add(index, {i: twin.documents[i] for i in ids[start : start + 1500]})
    gone = ids[::5][:900]  # too few for a compaction
    remove(index, gone)
    for i in gone:
        del twin.documents[i]
    back = {i: [2 * term for term in documents[j]] for j, i in enumerate(gone[:100])}  # re-added, and they changed
    add(index, back)
    twin.documents |= back
    return index, twin


QUERIES = ([0], [0, 1, 2, 3, 5], [0, 1, 700, 2500], [2999], [100, 100, 40, 0], [10**12], [1, 9, 80, 300, 301, 302])


def test_a_large_index_gives_the_textbooks_scores(isa: str) -> None:
    index, twin = grown_index()
    for query in QUERIES:
        assert_equal(index, twin, query)


@pytest.mark.parametrize("share", [0.002, 0.05, 0.3, 0.9])
def test_a_filter_keeps_scores_and_order(isa: str, share: float) -> None:
    index, twin = grown_index()
    rng = np.random.default_rng(1)
    among = rng.permutation(20_000)[: int(20_000 * share)].tolist()
    for query in QUERIES[:5]:
        assert_equal(index, twin, query, [*among, *among[:5], -7, 10**15])


def test_every_instruction_set_gives_the_same_bits(isa: str) -> None:
    index, _ = grown_index()
    for query in QUERIES:
        ids, scores = index.search(as_terms(query), 50)
        kernels._use_isa("scalar")
        reference_ids, reference_scores = index.search(as_terms(query), 50)
        kernels._use_isa(isa)
        np.testing.assert_array_equal(ids, reference_ids)
        np.testing.assert_array_equal(scores, reference_scores)


def test_scores_do_not_depend_on_how_the_index_came_to_be(isa: str) -> None:
    index, twin = grown_index()
    fresh = Bm25()
    add(fresh, dict(sorted(twin.documents.items())))
    for query in QUERIES:
        for one, other in zip(index.search(as_terms(query), 40), fresh.search(as_terms(query), 40), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("length", [*range(0, 70), 500])
def test_lists_of_every_length_are_added_up(isa: str, length: int) -> None:
    documents = {i: [7] * (i % 5 + 1) + [8] * (i % 3) for i in range(length)} | {10**6: [9]}
    index, twin = Bm25(), Twin()
    add(index, documents)
    twin.documents = documents
    assert_equal(index, twin, [7, 8])


@pytest.mark.parametrize("count", [254, 255, 256, 70_000])
def test_a_term_may_repeat_as_often_as_it_likes(isa: str, count: int) -> None:
    documents = {i: [1, 2] for i in range(3000)} | {5000: [1] * count + [3], 5001: [1] * 300}
    index, twin = Bm25(), Twin()
    add(index, documents)
    twin.documents = documents
    assert_equal(index, twin, [1])  # frequent: one count a row
    assert_equal(index, twin, [1, 3])
    remove(index, [5001])
    del twin.documents[5001]
    assert_equal(Bm25.restore(index.snapshot()), twin, [1, 3])


def test_bounds_hold_when_the_average_length_moves(isa: str) -> None:
    index, twin = Bm25(), Twin()
    twin.documents = dict(enumerate(zipf_documents(3000, 3)))
    add(index, twin.documents)
    long = {10_000 + i: [3, 17, *range(5000, 5000 + 40 * (i + 1))] for i in range(30)}
    for i, document in long.items():
        add(index, {i: document})
        twin.documents[i] = document
        if i % 10 == 0:
            assert_equal(index, twin, [3, 17, 120])
    remove(index, long)
    for i in long:
        del twin.documents[i]
    assert_equal(index, twin, [3, 17, 120])


def test_what_is_removed_is_cleared_away_in_time() -> None:
    index, twin = Bm25(), Twin()
    for generation in range(8):
        twin.documents = {i + 4000 * generation: d for i, d in enumerate(zipf_documents(2000, generation))}
        add(index, twin.documents)
        remove(index, [i for i in index.ids().tolist() if i not in twin.documents])
    fresh = Bm25()
    add(fresh, twin.documents)
    assert index.nbytes < 2 * fresh.nbytes
    assert_equal(index, twin, [0, 5, 200])


def test_documents_outside_the_index_are_scored_under_its_statistics(isa: str) -> None:
    index, twin = grown_index()
    query, outside = [0, 5, 5, 200, 10**9], [*zipf_documents(20, 9), [], [5] * 300, [10**9, 10**9]]
    scores = index.scores_of(as_terms(query), *csr(outside))
    expected = twin.scores(query, outside)
    assert np.all(np.abs(scores - expected) <= (len(query) + 4) * EPS * expected)
    ids, inside = index.search(as_terms(query), 20)
    again = index.scores_of(as_terms(query), *csr([twin.documents[i] for i in ids.tolist()]))
    np.testing.assert_array_equal(again, inside)


def read_lines(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def test_real_text_gives_the_textbooks_scores(isa: str, shared_dir: Path) -> None:
    folder = shared_dir / "data" / "multihop"
    numbers: dict[str, int] = {}

    def words(text: str) -> list[int]:
        return [numbers.setdefault(word, len(numbers)) for word in text.lower().split()]

    corpus = read_lines(folder / "hotpotqa_corpus.jsonl.gz")
    index, twin = Bm25(), Twin()
    twin.documents = {i: words(f"{line['title']} {line['text']}") for i, line in enumerate(corpus)}
    add(index, twin.documents)
    for line in read_lines(folder / "hotpotqa_questions.jsonl.gz")[:6]:
        assert_equal(index, twin, words(line["question"]))


def test_nothing_finds_nothing() -> None:
    index = Bm25()
    assert len(index) == index.num_postings == 0
    assert index.search(as_terms([1]), 3)[0].shape == (0,)
    assert index.scores_of(as_terms([1]), *csr([[2], []])).tolist() == [0.0, 0.0]
    assert index.ids().tolist() == []
    add(index, {4: [], 5: [1, 2]})
    for query, among in (([], None), ([3], None), ([1], []), ([1], [4, 6])):
        ids, scores = index.search(as_terms(query), 3, among=None if among is None else np.array(among, np.int64))
        assert (ids.dtype, scores.dtype, ids.shape, scores.shape) == (np.int64, np.float32, (0,), (0,))
    remove(index, [4, 5])
    assert index.search(as_terms([1]), 3)[0].shape == (0,)
    assert len(Bm25.restore(Bm25().snapshot())) == 0


GOOD = {"ids": np.array([7]), "terms": as_terms([1, 2]), "indptr": np.array([0, 2])}


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"ids": [7]}, TypeError, r"ids must be a numpy array \(list\)"),
        ({"ids": np.array([7], np.int32)}, ValueError, r"ids must have dtype int64 \(int32\)"),
        ({"ids": np.array([7, 8])}, ValueError, r"ids must have 1 entries \(2\)"),
        ({"ids": np.array([5])}, ValueError, r"ids must be new and differ \(ids\[0\] = 5\)"),
        ({"ids": np.array([7, 7]), "indptr": np.array([0, 1, 2])}, ValueError, r"ids must be .*ids\[1\] = 7"),
        ({"terms": np.array([1, 2])}, ValueError, r"terms must have dtype uint64 \(int64\)"),
        ({"terms": as_terms([1, 2, 3, 4])[::2]}, ValueError, "terms must be C-contiguous"),
        ({"terms": as_terms([1])}, ValueError, r"indptr must end with 1, the number of terms \(2\)"),
        ({"indptr": np.array([], np.int64)}, ValueError, "indptr must start with 0"),
        ({"indptr": np.array([1, 2])}, ValueError, "indptr must start with 0"),
        ({"ids": np.array([7, 8]), "indptr": np.array([0, 3, 2])}, ValueError, r"indptr must ascend.*entry 2"),
        ({"indptr": np.array([0, 2.0])}, ValueError, "indptr must have dtype int64"),
        ({"indptr": np.array([0, 2**63 - 1])}, ValueError, "indptr must ascend, by less than"),
    ],
)
def test_bad_documents_are_refused_by_name_and_change_nothing(
    change: dict[str, object], error: type[Exception], says: str
) -> None:
    index = Bm25()
    add(index, {5: [1, 1]})
    before = index.snapshot()
    with pytest.raises(error, match=says):
        index.add(**(GOOD | change))  # type: ignore[arg-type]
    assert index.snapshot() == before


@pytest.mark.parametrize("ids", [[6], [5, 6], [5, 5], [-1]])
def test_removing_what_is_not_there_is_refused_and_changes_nothing(ids: list[int]) -> None:
    index = Bm25()
    add(index, {5: [1, 1]})
    with pytest.raises(ValueError, match="ids must be in the index and differ"):
        remove(index, ids)
    assert index.ids().tolist() == [5]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"query": [1]}, TypeError, "query must be a numpy array"),
        ({"query": np.array([1])}, ValueError, r"query must have dtype uint64 \(int64\)"),
        ({"query": as_terms([1]).reshape(1, 1)}, ValueError, r"query must have 1 dimensions \(2\)"),
        ({"k": 0}, ValueError, r"k must be >= 1 \(0\)"),
        ({"k": -3}, ValueError, r"k must be >= 1 \(-3\)"),
        ({"k": 1.5}, TypeError, "incompatible function arguments"),
        ({"among": [1]}, TypeError, "among must be a numpy array"),
        ({"among": np.array([1], np.int32)}, ValueError, "among must have dtype int64"),
    ],
)
def test_bad_searches_are_refused_by_name(change: dict[str, object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Bm25().search(**({"query": as_terms([1]), "k": 1} | change))  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [{"k1": math.nan}, {"k1": -0.1}, {"k1": math.inf}, {"b": math.nan}, {"b": 1.1}])
def test_bad_parameters_are_refused_by_name(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(bad))} must be in \[0, "):
        Bm25(**bad)


def test_every_changed_byte_of_a_snapshot_is_noticed() -> None:
    index = Bm25()
    add(index, {5: [1, 1, 2], -9: [3], 8: []})
    good = index.snapshot()
    for i in range(len(good)):
        for mask in (0x01, 0x80, 0xFF):
            with pytest.raises(ValueError, match="snapshot must"):
                Bm25.restore(good[:i] + bytes([good[i] ^ mask]) + good[i + 1 :])
        with pytest.raises(ValueError, match="snapshot must"):
            Bm25.restore(good[:i])
    with pytest.raises(ValueError, match="snapshot must"):
        Bm25.restore(good + b"\0")
    with pytest.raises(TypeError):
        Bm25.restore("text")  # type: ignore[arg-type]


@pytest.mark.parametrize("i", [1, 2])
def test_a_snapshot_with_a_term_twice_is_refused(i: int) -> None:
    index = Bm25()
    add(index, {5: [1, 2, 900]})
    snapshot = index.snapshot()
    before = snapshot[32 + 8 * i : 40 + 8 * i]  # the term before; terms stand behind five words
    with pytest.raises(ValueError, match="snapshot must name each term once"):
        Bm25.restore(forged(snapshot, (40 + 8 * i, before)))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=1)), min_size=1, max_size=3))
def test_even_a_forged_snapshot_is_refused_or_sound(changes: list[tuple[int, bytes]]) -> None:
    index = Bm25()
    add(index, {5: [1, 1, 2, 900], -9: [3] * 300, 8: []})
    snapshot = index.snapshot()
    assert forged(snapshot) == snapshot
    try:
        restored = Bm25.restore(forged(snapshot, *((at % (len(snapshot) - 8), byte) for at, byte in changes)))
    except ValueError as error:
        assert str(error).startswith("snapshot must ")
    else:
        restored.search(as_terms([1, 2, 3]), 5)
        assert Bm25.restore(restored.snapshot()).ids().tolist() == restored.ids().tolist()


def test_a_failed_restore_leaves_no_index_behind_and_a_good_one_all() -> None:
    index, twin = grown_index()
    again = Bm25.restore(index.snapshot())
    assert again.snapshot() == Bm25.restore(again.snapshot()).snapshot()
    assert again.ids().tolist() == index.ids().tolist()
    for query in QUERIES:
        assert_equal(again, twin, query)


def test_searches_beside_changes_see_sound_states() -> None:
    """Documents of the base stay and always come back; those that come and go hold a term of their own."""
    index = Bm25()
    add(index, {i: [1, 2, i % 7 + 10] for i in range(3000)})
    stop, failures = threading.Event(), list[str]()

    def search() -> None:
        while not stop.is_set():
            ids, scores = index.search(as_terms([1, 2, 12]), 50)
            if len(ids) != 50 or not np.all(np.isfinite(scores)) or np.any(np.diff(scores) > 0):
                failures.append(f"{ids} {scores}")
            found = index.search(as_terms([99]), 10)[0]
            if np.any(found < 10_000):
                failures.append(f"{found}")

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for round_ in range(12):
        add(index, {10_000 + round_ * 1000 + i: [99, i] for i in range(500)})
        remove(index, range(10_000 + round_ * 1000, 10_000 + round_ * 1000 + 500))
        index.snapshot()
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert index.ids().tolist() == list(range(3000))
