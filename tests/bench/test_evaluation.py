"""Questions put to a brain, the figures of a ranking, and splits without leaks."""

import json
from pathlib import Path

import numpy as np
import pytest

from ruvllm.bench.evaluation import Asked, attention, bm25, dense, measure, ranking, rrf, split
from ruvllm.bench.setup import ask_files, open_tools

from . import village


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[Asked]:
    corpus, questions = village.write(tmp_path_factory.mktemp("village"))
    with open_tools(village.settings()) as tools:
        return ask_files(corpus, questions, village.settings(), tools.embedder)


def test_recall_and_ndcg_are_those_of_the_ranking(asked: list[Asked]) -> None:
    one = asked[0]
    wanted = ["p1", "p0", "p2", "v0"]  # evidence at ranks 2 and 4
    scores = np.array([-wanted.index(name) if name in wanted else -99.0 for name in one.names])
    (figures,) = measure(lambda _: scores, [one], (2, 5))
    ideal = 1.0 + 1.0 / np.log2(3)
    assert figures == pytest.approx([0.5, 1.0, (1.0 / np.log2(3) + 1.0 / np.log2(5)) / ideal])


def test_the_graph_finds_what_words_and_vectors_miss(asked: list[Asked]) -> None:
    plain = max(measure(scorer, asked, (2,))[:, 0].mean() for scorer in (dense, bm25, rrf))
    assert measure(attention(), asked, (2,))[:, 0].mean() > plain


def test_fusion_prefers_what_both_rank_high(asked: list[Asked]) -> None:
    one = asked[0]
    assert ranking(one, dense(one))[0] == ranking(one, bm25(one))[0] == ranking(one, rrf(one))[0] == "p0"


def test_held_out_questions_share_no_passage_with_the_stream(asked: list[Asked]) -> None:
    twice = [*asked, *asked]
    parts = split(twice, 6, np.random.default_rng(0))
    used = set().union(*(twice[i].gold for i in parts.stream))
    assert len(parts.stream) == 6 and parts.held_out
    assert not any(used & twice[i].gold for i in parts.held_out)


def test_too_few_questions_with_evidence_are_named(tmp_path: Path) -> None:
    corpus, questions = village.write(tmp_path)
    questions.write_text('{"id": 1, "question": "q?", "answer": "a", "gold_pids": ["elsewhere"]}\n')
    with open_tools(village.settings()) as tools, pytest.raises(ValueError, match="0 questions with gold passages"):
        ask_files(corpus, questions, village.settings(), tools.embedder)


def test_what_is_done_before_asking_is_asked_about(tmp_path: Path) -> None:
    corpus, questions = village.write(tmp_path)
    first = json.loads(questions.read_text().splitlines()[0])["question"]
    with open_tools(village.settings()) as tools:
        asked = ask_files(
            corpus,
            questions,
            village.settings(),
            tools.embedder,
            before=lambda memory: memory.insert_node(f"{first} Nobody knows."),
        )
    assert asked[0].names[int(np.argmax(dense(asked[0])))].startswith("node ")
