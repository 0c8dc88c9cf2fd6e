"""The engine starts as the prior, and its edge biases can be read and trained."""

from __future__ import annotations

import numpy as np
import pytest

from ruvllm.attention import AttentionEngine, Pattern
from ruvllm.types import EdgeType

from .cases import candidates, named


def test_untrained_ranks_as_the_prior() -> None:
    made, edge_features = candidates(named=named(4, 0))
    ranked = AttentionEngine().rank(made, edge_features)
    assert np.argsort(-ranked.weights).tolist() == np.argsort(-ranked.prior).tolist()
    assert ranked.weights.sum() == pytest.approx(1.0, abs=1e-5)


def test_untrained_parameters_are_the_same_every_time() -> None:
    assert np.array_equal(AttentionEngine().untrained(), AttentionEngine().params())


def test_attention_weights_update_from_success_patterns() -> None:
    engine = AttentionEngine()
    before = engine.get_edge_bias_weights()
    patterns = [
        Pattern((EdgeType.CITES, EdgeType.FOLLOWS), 0.95),
        Pattern((EdgeType.CITES,), 0.90),
        Pattern((EdgeType.FOLLOWS,), 0.05),
    ]
    after = engine.train_on_patterns(patterns)
    assert after[EdgeType.CITES] > before[EdgeType.CITES]
    assert after[EdgeType.FOLLOWS] == pytest.approx(before[EdgeType.FOLLOWS], abs=1e-6)
    assert after[EdgeType.SAME_TOPIC] == before[EdgeType.SAME_TOPIC] == 0.0


def test_a_trained_type_lifts_what_its_edges_lead_to() -> None:
    edges = [(0, 1, EdgeType.CITES), (0, 2, EdgeType.FOLLOWS)]
    made, edge_features = candidates(3, edges, named=named(3, 0), similarity=np.full(3, 0.3, np.float32))
    engine = AttentionEngine()
    before = engine.rank(made, edge_features).weights
    engine.train_on_patterns([Pattern((EdgeType.FOLLOWS,), 1.0)] * 5)
    assert engine.rank(made, edge_features).weights[2] > before[2]


@pytest.mark.parametrize("quality", [-0.1, 1.1, float("nan")])
def test_quality_of_a_pattern_is_a_share(quality: float) -> None:
    with pytest.raises(ValueError, match="quality"):
        AttentionEngine().train_on_patterns([Pattern((EdgeType.CITES,), quality)])


def test_parameters_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="params"):
        AttentionEngine(np.zeros(3, np.float32))
