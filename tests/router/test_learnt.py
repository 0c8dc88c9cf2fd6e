"""What the network is told of each tier: what all views of the neighbours say, and the tier's size beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.outcome_sets import TIERS
from ruvllm.router.learnt import VIEWS, tier_inputs
from ruvllm.router.model import prior_quality
from ruvllm.router.outcome_memory import Evidence

HALF = np.full(3, 0.5, np.float32)
KNOWN = replace(
    Evidence.nothing(3),
    near_quality=HALF,
    broad_quality=HALF,
    lexical_quality=HALF,
    count=np.full(3, 1e6, np.float32),
    spread=np.zeros(3, np.float32),
)


@pytest.mark.parametrize(
    ("view", "share"), list(zip(("near_quality", "broad_quality", "lexical_quality"), VIEWS, strict=True))
)
def test_each_view_of_the_neighbours_has_its_share(view: str, share: float) -> None:
    told = tier_inputs(replace(KNOWN, **{view: HALF + np.array([0.0, 0.0, 0.4], np.float32)}), TIERS)
    np.testing.assert_allclose(told.quality, [0.5, 0.5, 0.5 + 0.4 * share], atol=1e-4)


def test_views_that_agree_correct_nothing() -> None:
    assert not tier_inputs(KNOWN, TIERS).evidence[:, :2].any()


def test_of_an_unknown_tier_its_size_is_told() -> None:
    told = tier_inputs(Evidence.nothing(3), TIERS)
    np.testing.assert_allclose(told.quality, [prior_quality(tier) for tier in TIERS], atol=1e-6)
    assert not told.evidence[:, :2].any()
