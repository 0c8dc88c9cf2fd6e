"""The bench of a brain's costs runs on a tiny corpus and shows its rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from ruvllm.bench import scale
from ruvllm.bench.corpora import Passage

from . import village


def test_every_cost_has_its_row(tmp_path: Path) -> None:
    corpus, questions = village.write(tmp_path)
    report = scale.run([corpus], questions, village.settings(), nodes=20)
    found = {row.name: row.value for row in report.rows}
    assert found["chunks"] == 20 and found["links"] > 0
    assert found["hnswlib, recall@10 against exact search"] == 1.0
    assert found["search without embedding, p50"] <= found["search without embedding, p95"]
    assert found["opening until the first answer"] > 0.0 and found["memory after the first answer"] > 10.0


def test_a_corpus_grows_by_its_sentences_and_their_pairs() -> None:
    sentences = [f"This is sentence number {i} of a passage that is long enough to be cut." for i in range(3)]
    grown = list(scale.grown([Passage("p", "T", " ".join(sentences))], 6, seed=0))
    assert [one.text for one in grown[1:4]] == sentences
    assert len({one.text for one in grown}) == 6 and grown[5].text.count("sentence") == 2


def test_a_corpus_without_sentences_cannot_grow() -> None:
    with pytest.raises(ValueError, match="do not hold enough for 3 documents"):
        list(scale.grown([Passage("p", "T", "Short.")], 3, seed=0))
