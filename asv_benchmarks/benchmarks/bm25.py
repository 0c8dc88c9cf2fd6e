"""BM25 over passages of 95 words: time of a search per instruction set, peers beside it, and what an index costs."""

from __future__ import annotations

import os

import numpy as np

from ruvllm.bench.kernels.bm25 import PEERS, Corpus, K, NumpyPostings, corpus, in_turn, index_of, peers_of
from ruvllm.kernels import Bm25

from . import use_isa

N = 5_000 if os.environ.get("RUVLLM_BENCH_SMALL") else 100_000


class Bm25Search:
    """Questions with all their words, and without stop words."""

    param_names = ("words", "engine")
    params = (["all", "content"], ["scalar", "avx2", "avx512", *PEERS])
    timeout = 600

    def setup_cache(self) -> Corpus:
        return corpus(N)

    def setup(self, passages: Corpus, words: str, engine: str) -> None:
        questions = passages.questions if words == "all" else passages.content()
        if engine in PEERS:
            searches = peers_of(passages, [engine])
            if engine not in searches:
                raise NotImplementedError  # asv's way to skip a combination
            self.ask = in_turn(searches[engine], questions)
            return
        use_isa(engine)
        index = index_of(passages)
        self.ask = in_turn(lambda query: index.search(query, K), [question.astype(np.uint64) for question in questions])

    def time_search(self, passages: Corpus, words: str, engine: str) -> None:
        self.ask()


class Bm25Index:
    """Building, saving and loading; whether pruned searches find what plain addition finds."""

    timeout = 600

    def setup_cache(self) -> Corpus:
        return corpus(N)

    def setup(self, passages: Corpus) -> None:
        self.ids, self.documents = np.arange(N), passages.csr()
        self.index = index_of(passages)
        self.saved = self.index.snapshot()

    def time_add(self, passages: Corpus) -> None:
        Bm25().add(self.ids, *self.documents)

    def time_restore(self, passages: Corpus) -> None:
        Bm25.restore(self.saved)

    def time_remove_and_add_one(self, passages: Corpus) -> None:
        self.index.remove(self.ids[7:8])
        self.index.add(self.ids[7:8], passages.passages[7].astype(np.uint64), np.array([0, len(passages.passages[7])]))

    def track_bytes_of_a_posting(self, passages: Corpus) -> float:
        return self.index.nbytes / self.index.num_postings

    def track_equal_scores(self, passages: Corpus) -> float:
        plain = NumpyPostings(passages)
        return float(np.mean([self._finds_the_same(plain, question) for question in passages.questions[:50]]))

    def _finds_the_same(self, plain: NumpyPostings, question: np.ndarray) -> bool:
        _, scores = self.index.search(question.astype(np.uint64), K)
        return np.allclose(np.sort(plain.all_scores(question))[::-1][:K], scores, rtol=1e-5)

    track_bytes_of_a_posting.unit = "bytes"  # type: ignore[attr-defined]
    track_equal_scores.unit = "fraction of questions"  # type: ignore[attr-defined]
