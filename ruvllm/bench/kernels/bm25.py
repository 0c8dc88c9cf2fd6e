"""The best 20 of 100 000 passages for a question, all of its words counting; peers get the same words.

Passages are made of real sentences when the evaluation data lies beside this checkout, else of words by Zipf's law.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ruvllm.bench.kernels.machine import ceilings
from ruvllm.bench.report import Row
from ruvllm.bench.timing import Call, peer, race
from ruvllm.kernels import Bm25
from ruvllm.text import STOP_WORDS

__all__ = ["Corpus", "K", "NumpyPostings", "corpus", "in_turn", "index_of", "peers_of", "rows"]

K = 20
PEERS = ("NumPy", "tantivy", "bm25s", "FTS5")
WORDS = 95  # of a passage, on average
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "multihop"
STOPS = 120  # most frequent words of made-up text


@dataclass(frozen=True, slots=True)
class Corpus:
    """Passages and questions as numbers of words; those below `num_stops` are stop words."""

    passages: Sequence[np.ndarray]
    questions: Sequence[np.ndarray]
    num_stops: int

    def csr(self) -> tuple[np.ndarray, np.ndarray]:
        """Return terms (m,) uint64 and indptr (n + 1,) int64."""
        indptr = np.cumsum([0, *map(len, self.passages)], dtype=np.int64)
        return np.concatenate(self.passages).astype(np.uint64), indptr

    def content(self) -> list[np.ndarray]:
        """Return the questions without stop words."""
        return [question[question >= self.num_stops] for question in self.questions]


def corpus(n: int, num_questions: int = 200, seed: int = 0) -> Corpus:
    """Return `n` passages and questions, the same for the same arguments."""
    rng = np.random.default_rng(seed)
    return _real(n, num_questions, rng) if SHARED.is_dir() else _made_up(n, num_questions, rng)


def _real(n: int, num_questions: int, rng: np.random.Generator) -> Corpus:
    """Each passage is sentences drawn from three real ones, as many as one of them has words."""
    numbers = {word: i for i, word in enumerate(sorted(STOP_WORDS))}

    def words(text: str) -> np.ndarray:
        found = re.findall(r"[^\W_]+", text.lower())
        return np.array([numbers.setdefault(word, len(numbers)) for word in found], np.int64)

    lines = [line for name in ("2wiki", "hotpotqa") for line in _lines(SHARED / f"{name}_corpus.jsonl.gz")]
    sentences = [[words(part) for part in re.split(r"(?<=[.!?]) ", line["text"])] for line in lines]
    asked = [
        words(line["question"])
        for name in ("2wiki", "hotpotqa")
        for line in _lines(SHARED / f"{name}_questions.jsonl.gz")
    ]
    passages = []
    for three in rng.integers(0, len(lines), (n, 3)):
        pool = [sentence for i in three for sentence in sentences[i]]
        order = rng.permutation(len(pool))
        passages.append(np.concatenate([pool[i] for i in order])[: max(int(rng.normal(WORDS, WORDS / 3)), 10)])
    return Corpus(passages, [asked[i] for i in rng.permutation(len(asked))[:num_questions]], len(STOP_WORDS))


def _made_up(n: int, num_questions: int, rng: np.random.Generator) -> Corpus:
    """Words by Zipf's law over 100 000; a question is 14 words of a passage."""
    weights = 1.0 / np.arange(2.0, 100_002.0)
    lengths = np.maximum(rng.normal(WORDS, WORDS / 3, n).astype(np.int64), 10)
    drawn = rng.choice(len(weights), int(lengths.sum()), p=weights / weights.sum())
    passages = np.split(drawn, np.cumsum(lengths)[:-1])
    questions = [rng.choice(passages[i], 14) for i in rng.integers(0, n, num_questions)]
    return Corpus(passages, questions, STOPS)


def _lines(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def index_of(corpus: Corpus) -> Bm25:
    """Return ours."""
    index = Bm25()
    index.add(np.arange(len(corpus.passages)), *corpus.csr())
    return index


class NumpyPostings:
    """The peer: every term's rows and finished scores; a question adds them up and takes the K largest."""

    def __init__(self, corpus: Corpus, *, k1: float = 1.2, b: float = 0.75) -> None:
        terms, indptr = corpus.csr()
        self.n = len(indptr) - 1
        lengths = np.diff(indptr)
        pairs, counts = np.unique(
            terms.astype(np.int64) * self.n + np.repeat(np.arange(self.n), lengths), return_counts=True
        )
        term, row = pairs // self.n, pairs % self.n
        df = np.bincount(term)
        idf = np.log1p((self.n - df + 0.5) / (df + 0.5))
        norm = k1 * (1 - b + b * lengths / lengths.mean())
        scores = (idf[term] * counts * (k1 + 1) / (counts + norm[row])).astype(np.float32)
        starts = np.concatenate([[0], np.cumsum(df)])
        self.rows = [row[i:j] for i, j in itertools.pairwise(starts)]
        self.scores = [scores[i:j] for i, j in itertools.pairwise(starts)]

    def all_scores(self, question: np.ndarray) -> np.ndarray:
        scores = np.zeros(self.n, np.float32)
        for term in question.tolist():
            if term < len(self.rows):
                scores[self.rows[term]] += self.scores[term]
        return scores

    def search(self, question: np.ndarray) -> np.ndarray:
        scores = self.all_scores(question)
        best = np.argpartition(-scores, K)[:K]
        return best[np.argsort(-scores[best])]


def in_turn(search: Callable[..., object], questions: Sequence[object]) -> Call:
    """Return a call that asks the next of `questions`, round and round."""
    turn = itertools.cycle(questions)
    return lambda: search(next(turn))


def peers_of(
    corpus: Corpus, names: Sequence[str] = ("NumPy", "tantivy", "bm25s", "FTS5")
) -> dict[str, Callable[[np.ndarray], object]]:
    """Return each installed peer's search of one question, built over the same passages."""
    builders = {"NumPy": lambda c: NumpyPostings(c).search, "tantivy": _tantivy, "bm25s": _bm25s, "FTS5": _fts5}
    built = {name: builders[name](corpus) for name in names}
    return {name: search for name, search in built.items() if search is not None}


def _text(words: np.ndarray) -> str:
    return " ".join(f"w{word}" for word in words.tolist())


def _tantivy(corpus: Corpus) -> Callable[[np.ndarray], object] | None:
    tantivy = peer("tantivy")
    if tantivy is None:
        return None
    schema = tantivy.SchemaBuilder().add_text_field("text", stored=False, tokenizer_name="whitespace").build()
    index = tantivy.Index(schema)
    writer = index.writer(200_000_000, 1)
    for passage in corpus.passages:
        writer.add_document(tantivy.Document(text=_text(passage)))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()
    parsed: dict[int, object] = {}

    def search(question: np.ndarray) -> object:
        query = parsed.get(id(question))
        if query is None:
            query = parsed[id(question)] = index.parse_query(_text(question), ["text"])
        return searcher.search(query, K, count=False).hits

    return search


def _bm25s(corpus: Corpus) -> Callable[[np.ndarray], object] | None:
    bm25s = peer("bm25s")
    if bm25s is None:
        return None
    size = int(max(map(np.max, corpus.passages))) + 1
    retriever = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
    tokens = bm25s.tokenization.Tokenized(
        ids=[passage.tolist() for passage in corpus.passages], vocab={f"w{i}": i for i in range(size)}
    )
    retriever.index(tokens, show_progress=False)

    def search(question: np.ndarray) -> object:
        ids = [word for word in question.tolist() if word < size]
        return retriever.retrieve([ids], k=K, show_progress=False, n_threads=0)

    return search


def _fts5(corpus: Corpus) -> Callable[[np.ndarray], object]:
    import apsw

    connection = apsw.Connection(":memory:")
    connection.execute("CREATE VIRTUAL TABLE passages USING fts5 (body, content = '', tokenize = 'unicode61')")
    with connection:
        rows = ((i, _text(passage)) for i, passage in enumerate(corpus.passages))
        connection.executemany("INSERT INTO passages (rowid, body) VALUES (?, ?)", rows)
    connection.execute("INSERT INTO passages (passages) VALUES ('optimize')")
    sql = f"SELECT rowid FROM passages WHERE passages MATCH ? ORDER BY rank LIMIT {K}"
    return lambda question: list(connection.execute(sql, (" OR ".join(_text(np.unique(question)).split()),)))


def _postings_of_content(corpus: Corpus) -> float:
    """Return how many postings the content words of a question have, the median: what even pruning has to look at."""
    df = np.bincount(np.concatenate([np.unique(passage) for passage in corpus.passages]))
    return float(np.median([df[question[question < len(df)]].sum() for question in corpus.content()]))


def rows() -> Iterator[Row]:
    """Yield times of a search with and without stop words, of building, and the memory a posting takes."""
    passages = corpus(100_000)
    index, others = index_of(passages), peers_of(passages)
    floor_s = ceilings().floor_s(cached_bytes=4.0 * _postings_of_content(passages))
    for name, questions, target in (
        ("all words", passages.questions, 0.4),
        ("without stop words", passages.content(), None),
    ):
        ours = in_turn(lambda query: index.search(query, K), [question.astype(np.uint64) for question in questions])
        peers = {label: in_turn(search, questions) for label, search in others.items()}
        yield race(
            f"BM25, best {K} of 100 000 passages, {name}",
            ours,
            peers,
            unit="ms",
            target=target,
            floor_s=floor_s,
        )
    yield race("BM25, 100 000 passages indexed", lambda: index_of(passages), {}, unit="s", rounds=1)
    yield Row("BM25, memory of a posting", index.nbytes / index.num_postings, "bytes")
    restored = index.snapshot()
    yield race("BM25, 100 000 passages from a snapshot", lambda: Bm25.restore(restored), {}, unit="s", rounds=1)
