"""What each regime teaches of an answer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ruvllm.bench.answers import no_reader
from ruvllm.bench.evaluation import Asked
from ruvllm.bench.ratings import Attribution, corrected, fitted, flipped, is_good, labelled, marked, rated, shown
from ruvllm.bench.setup import ask_files, open_tools

from . import village

CHEESE = Attribution(lambda asked, places: "cheese")


@pytest.fixture
def everyone(tmp_path: Path) -> list[Asked]:
    corpus, questions = village.write(tmp_path)
    with open_tools(village.settings()) as tools:
        return ask_files(corpus, questions, village.settings(), tools.embedder)


@pytest.fixture
def one(everyone: list[Asked]) -> Asked:
    return everyone[0]


def test_a_good_rating_credits_the_shown_sources_and_a_bad_one_none(one: Asked) -> None:
    places = np.argsort(~one.labels, kind="stable")[:3]
    example = rated(one, places, True, CHEESE)
    assert example is not None and set(np.flatnonzero(example.credit)) <= set(places.tolist())
    assert example.credit.sum() == pytest.approx(1.0)
    assert example.credit[one.labels].sum() > 0.5
    assert rated(one, places, False, CHEESE) is None


def test_a_rating_says_nothing_about_turns_of_a_dialogue(one: Asked) -> None:
    spoken = replace(one, nodes=tuple(replace(node, metadata={"speaker": "Ann"}) for node in one.nodes))
    assert rated(spoken, np.arange(3), True, CHEESE) is None


def test_fitted_attribution_tells_evidence_from_the_rest(everyone: list[Asked]) -> None:
    attribution = fitted(everyone[:-1], no_reader)
    last = everyone[-1]
    credits = attribution.credits(last, np.arange(len(last.nodes)))
    assert credits[last.labels].min() > np.median(credits[~last.labels])


def test_marks_credit_the_evidence_that_was_shown(one: Asked) -> None:
    gold, other = np.flatnonzero(one.labels), np.flatnonzero(~one.labels)
    example = marked(one, np.array([gold[0], other[0]]))
    assert example is not None and example.credit[gold[0]] == 1.0
    assert marked(one, other[:2]) is None


def test_the_right_answer_credits_the_passage_that_says_it(one: Asked) -> None:
    says_it = [i for i in range(len(one.nodes)) if one.question.answers[0] in one.nodes[i].text]
    places = np.array([np.flatnonzero(~one.labels)[0], *says_it])
    wrong = Attribution(lambda asked, places: "of no use")
    example = corrected(one, places, wrong)
    assert example is not None and rated(one, places, False, wrong) is None
    assert example.credit.argmax() == says_it[0]
    assert corrected(one, places[:1], wrong) is None


def test_all_labels_share_the_credit(one: Asked) -> None:
    example = labelled(one)
    assert example is not None
    np.testing.assert_allclose(example.credit[one.labels], 0.5)


def test_an_answer_is_good_with_all_its_evidence(one: Asked) -> None:
    gold = np.flatnonzero(one.labels)
    assert is_good(one, gold) and not is_good(one, gold[:1])


def test_shown_are_the_five_best(one: Asked) -> None:
    scores = np.arange(len(one.nodes), dtype=np.float32)
    assert shown(one, lambda _: scores).tolist() == [len(scores) - 1 - i for i in range(5)]


def test_flips_turn_their_share_of_ratings_round() -> None:
    turned = flipped([True] * 1000, 0.2, np.random.default_rng(0))
    assert 150 < turned.count(False) < 250  # four standard deviations
