"""The matrix of forgetting: versions by spans of the log."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from router.questions import TIERS

from learning.test_router_training import CONFIG, log_of
from ruvllm.learning.forgetting import forgetting
from ruvllm.learning.router_training import train_router


def test_every_version_is_judged_on_every_span() -> None:
    logged = log_of(600, one_tier_each=False)
    learnt, _ = train_router(log_of(600), TIERS, None, CONFIG)
    assert learnt is not None
    worse = replace(learnt, mean_quality=1.0 - learnt.mean_quality, nearest=np.full(200, 2.0, np.float32))
    found = forgetting(logged, {1: learnt, 2: worse}, quality_floor=0.5, default_tier=1)
    assert found is not None and found.versions == (1, 2) and sum(found.requests) == 600
    assert len(found.right) == 2 and all(len(row) == 5 for row in found.right)
    assert min(found.right[0]) > 0.7
    assert found.forgotten is not None and found.forgotten > 0.1  # version 2 takes everything for unknown


def test_one_version_has_nothing_to_forget() -> None:
    logged = log_of(600)
    learnt, _ = train_router(logged, TIERS, None, CONFIG)
    assert learnt is not None
    found = forgetting(logged, {1: learnt}, quality_floor=0.5, default_tier=1)
    assert found is not None and found.forgotten is None


def test_too_short_a_log_is_not_judged() -> None:
    assert forgetting(log_of(20), {}, quality_floor=0.5, default_tier=1) is None
