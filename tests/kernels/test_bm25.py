"""BM25 gives the scores of a plain Python twin, on every instruction set."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from kernels.bm25_twin import EPS, QUERIES, Twin, add, as_terms, assert_equal, csr, grown_index, remove, zipf_documents
from ruvllm import kernels
from ruvllm.kernels import Bm25


def test_a_large_index_gives_the_textbooks_scores(isa: str) -> None:
    index, twin = grown_index()
    for query in QUERIES:
        assert_equal(index, twin, query)


def test_every_instruction_set_gives_the_same_bits(isa: str) -> None:
    index, _ = grown_index()
    for query in QUERIES:
        ids, scores = index.search(as_terms(query), 50)
        kernels._use_isa("scalar")
        reference_ids, reference_scores = index.search(as_terms(query), 50)
        kernels._use_isa(isa)
        np.testing.assert_array_equal(ids, reference_ids)
        np.testing.assert_array_equal(scores, reference_scores)


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


@functools.cache
def real_text(folder: Path) -> tuple[Bm25, Twin, list[list[int]]]:
    """Return an index of real passages, its twin, and real questions."""
    numbers: dict[str, int] = {}

    def words(text: str) -> list[int]:
        return [numbers.setdefault(word, len(numbers)) for word in text.lower().split()]

    corpus = read_lines(folder / "hotpotqa_corpus.jsonl.gz")
    index, twin = Bm25(), Twin()
    twin.documents = {i: words(f"{line['title']} {line['text']}") for i, line in enumerate(corpus)}
    add(index, twin.documents)
    return index, twin, [words(line["question"]) for line in read_lines(folder / "hotpotqa_questions.jsonl.gz")[:6]]


def test_real_text_gives_the_textbooks_scores(isa: str, shared_dir: Path) -> None:
    index, twin, questions = real_text(shared_dir / "data" / "multihop")
    for question in questions:
        assert_equal(index, twin, question)


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
