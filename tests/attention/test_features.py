"""The prior walks along links from what the question names and resembles; features say what ranking looks at."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.attention.features import FEATURES, node_features, pagerank_prior, type_weights
from ruvllm.types import EdgeType

from .cases import candidates, named


def test_prior_sums_to_one() -> None:
    assert pagerank_prior(candidates()[0]).sum() == pytest.approx(1.0, abs=1e-5)


def test_what_a_named_node_cites_comes_before_what_resembles_the_question_as_much() -> None:
    even = np.full(4, 0.3, np.float32)
    prior = pagerank_prior(candidates(named=named(4, 0), similarity=even)[0])
    assert prior[0] > prior[1] > prior[2]


def test_an_edge_is_rather_followed_in_its_own_direction() -> None:
    even = np.full(3, 0.3, np.float32)
    edges = [(0, 1, EdgeType.CITES), (2, 0, EdgeType.CITES)]
    prior = pagerank_prior(candidates(3, edges, named=named(3, 0), similarity=even)[0])
    assert prior[1] > prior[2]


def test_a_hub_gets_less_than_a_node_that_few_mention() -> None:
    even = np.full(12, 0.3, np.float32)
    edges = [(0, 1, EdgeType.CITES), (0, 2, EdgeType.CITES), *((i, 2, EdgeType.CITES) for i in range(3, 12))]
    made, _ = candidates(12, edges, named=named(12, 0), similarity=even)
    assert pagerank_prior(made)[1] > pagerank_prior(made)[2]


def test_who_is_named_as_a_speaker_comes_first_among_equals() -> None:
    even = np.full(4, 0.3, np.float32)
    prior = pagerank_prior(candidates(4, [], similarity=even, speaker=named(4, 2))[0])
    assert prior.argmax() == 2


def test_what_has_the_date_that_is_asked_for_comes_first_among_equals() -> None:
    even = np.full(4, 0.3, np.float32)
    assert pagerank_prior(candidates(4, [], similarity=even, dated=named(4, 2))[0]).argmax() == 2


def test_of_texts_as_near_the_longer_comes_first_up_to_some_length() -> None:
    even, lengths = np.full(4, 0.3, np.float32), np.array([20, 200, 2000, 20_000], np.float32)
    prior = pagerank_prior(candidates(4, [], similarity=even, length=lengths)[0])
    assert prior[0] < prior[1] < prior[2] == prior[3]


def test_links_of_one_topic_lead_less_from_turn_to_turn_than_from_text_to_text() -> None:
    edges = [(0, 1, EdgeType.SAME_TOPIC)]
    among = {
        length: pagerank_prior(candidates(3, edges, named=named(3, 0), length=np.full(3, length, np.float32))[0])
        for length in (400.0, np.inf)
    }
    assert among[np.inf][1] > among[400.0][1] > among[400.0][2]


def test_a_brief_text_that_says_nearly_the_same_loses_nothing() -> None:
    similarity, lengths = np.array([0.95, 0.93], np.float32), np.array([5, 400], np.float32)
    assert pagerank_prior(candidates(2, [], similarity=similarity, length=lengths)[0]).argmax() == 0


def test_a_text_counts_with_what_stands_beside_it_as_far_as_that_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    def advantage(trust: float) -> float:
        """Of 1, which stands after what is as near, over 2, before which stands what is far and trusted so much."""
        similarity, trusted = np.array([0.5, 0.5, 0.5, 0.1], np.float32), np.array([1.0, 1.0, 1.0, trust], np.float32)
        edges = [(0, 1, EdgeType.FOLLOWS), (3, 2, EdgeType.FOLLOWS)]
        prior = pagerank_prior(candidates(4, edges, similarity=similarity, trust=trusted)[0])
        return float(prior[1] / prior[2])

    trusted, untrusted = advantage(1.0), advantage(0.0)
    monkeypatch.setattr("ruvllm.attention.features.BESIDE", np.zeros(len(EdgeType), np.float32))
    assert trusted > 1.5 * advantage(1.0)
    assert untrusted == pytest.approx(advantage(0.0))


def best_of(shared_by: int, nearest: float) -> int:
    """The first place: node 0 is nearest, node 1 has the question's words, and the next ones nearly as many of them."""
    similarity, keyword = np.full(40, nearest - 0.3, np.float32), np.zeros(40, np.float32)
    similarity[:2] = nearest, nearest - 0.2
    keyword[1], keyword[2 : 1 + shared_by] = 1.0, 0.7
    return int(pagerank_prior(candidates(40, [], similarity=similarity, keyword=keyword)[0]).argmax())


def test_words_that_many_share_tell_less_and_less_still_where_a_text_says_nearly_the_same() -> None:
    assert [best_of(shared_by, nearest=0.6) for shared_by in (1, 15, 39)] == [1, 1, 1]
    assert [best_of(shared_by, nearest=0.85) for shared_by in (1, 2, 15, 39)] == [1, 1, 0, 0]
    assert best_of(1, nearest=0.99) == 1  # a word that only one text has counts in full


@pytest.mark.parametrize(("nearest", "first"), [(0.6, 0), (0.95, 2)])
def test_what_is_named_gives_way_to_what_says_nearly_the_same(nearest: float, first: int) -> None:
    similarity = np.array([nearest - 0.1, 0.1, nearest, 0.1], np.float32)
    assert pagerank_prior(candidates(4, [], named=named(4, 0), similarity=similarity)[0]).argmax() == first


def test_bias_of_a_type_moves_the_walk() -> None:
    even = np.full(3, 0.3, np.float32)
    edges = [(0, 1, EdgeType.CITES), (0, 2, EdgeType.FOLLOWS)]
    made, _ = candidates(3, edges, named=named(3, 0), similarity=even)
    bias = np.zeros(len(EdgeType), np.float32)
    bias[list(EdgeType).index(EdgeType.FOLLOWS)] = 1.0
    before, after = pagerank_prior(made), pagerank_prior(made, type_weights(bias))
    assert after[2] > before[2]
    assert after[1] < before[1]


def test_features_are_finite_for_a_lone_candidate() -> None:
    made, _ = candidates(1, [])
    features = node_features(made, pagerank_prior(made))
    assert features.shape == (1, len(FEATURES))
    assert np.isfinite(features).all()


def test_what_the_citing_of_the_citing_resembles_is_seen() -> None:
    edges = [(0, 1, EdgeType.CITES), (1, 2, EdgeType.CITES), (3, 2, EdgeType.FOLLOWS)]
    made, _ = candidates(4, edges, similarity=np.array([0.9, 0.1, 0.1, 0.5], np.float32))
    features = node_features(made, pagerank_prior(made))
    assert features[2, FEATURES.index("cites_in_twice")] == features[1, FEATURES.index("cites_in_score")] == 1.0
    assert features[2, FEATURES.index("order_in_score")] == pytest.approx(0.6)
    assert features[3, FEATURES.index("order_twice")] == pytest.approx(0.6)  # itself, by way of 2


def test_neighbours_that_are_named_are_seen_by_direction() -> None:
    made, _ = candidates(3, [(0, 1, EdgeType.CITES)], named=named(3, 0))
    features = node_features(made, pagerank_prior(made))
    column = features[:, FEATURES.index("cites_in_named")]
    assert column[1] > 0.0
    assert column[0] == column[2] == 0.0
    assert not features[:, FEATURES.index("cites_out_named")].any()
