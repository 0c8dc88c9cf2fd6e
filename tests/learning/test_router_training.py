"""What a brain's log teaches its router, and what keeps a worse one out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from router.cases import TIERS as ROUTED
from router.cases import lessons
from router.questions import TIERS, outcomes

from ruvllm.learning.router_training import train_router
from ruvllm.memory import LoggedOutcomes
from ruvllm.router.embedding_map import EmbeddingMap
from ruvllm.router.features import NUM_FEATURES
from ruvllm.router.learn import EVIDENCE_ALONE, learn_gated, with_tiers
from ruvllm.router.learnt import Learnt
from ruvllm.router.outcomes import TierInfo
from ruvllm.router.training import TrainingConfig

CONFIG = TrainingConfig(epochs=20, learning_rate=2e-3)


def log_of(n: int = 400, *, seed: int = 0, sessions: int = 0, one_tier_each: bool = True) -> LoggedOutcomes:
    """Return a log of `n` questions, of which one tier each was tried."""
    known, rng = outcomes(n, seed=seed), np.random.default_rng(seed)
    tried = np.arange(2) == rng.integers(0, 2, n)[:, np.newaxis]
    hidden = np.where(tried | (not one_tier_each), 1.0, np.nan).astype(np.float32)
    return LoggedOutcomes(
        tiers=tuple(tier.name for tier in TIERS),
        ids=tuple(map(str, range(n))),
        texts=known.texts,
        vectors=known.vectors,
        features=np.zeros((n, NUM_FEATURES), np.float32),
        present=np.zeros((n, NUM_FEATURES), np.bool_),
        quality=known.quality * hidden,
        latency_ms=known.latency_ms * hidden,
        cost=known.cost * hidden,
        propensity=np.full((n, 2), 0.5, np.float32),
        volunteered=~np.isnan(hidden),
        sources=np.where(np.isnan(hidden), "", "user"),
        shown=tried,
        calibrates=np.zeros(n, np.bool_),
        sessions=tuple(f"s{i % sessions}" if sessions else None for i in range(n)),
        turns=np.arange(n, dtype=np.int64) // max(sessions, 1),
        created=np.arange(n, dtype=np.float64),
        used_chars=np.full(n, -1, np.int64),
    )


def test_a_log_of_single_tries_teaches_and_passes_the_gate() -> None:
    learnt, report = train_router(log_of(), TIERS, None, CONFIG)
    assert learnt is not None and report.accepted and report.turns == report.labels == 400
    assert report.loss is not None and report.before_loss is not None and report.loss < report.before_loss


def test_sessions_are_learnt_as_sequences() -> None:
    learnt, report = train_router(log_of(1200, sessions=240), TIERS, None, CONFIG)
    assert report.turns == 1200 and learnt is not None


def test_the_same_log_and_seed_give_the_same_router() -> None:
    both = [train_router(log_of(200), TIERS, None, CONFIG, seed=3)[1] for _ in range(2)]
    assert both[0] == both[1]


def test_what_is_no_better_than_what_is_in_force_is_kept_out() -> None:
    before, _ = train_router(log_of(600, seed=1), TIERS, None, CONFIG)
    known = log_of(200)
    noise = np.random.default_rng(0).permuted(known.quality, axis=0)
    learnt, report = train_router(replace(known, quality=noise), TIERS, before, replace(CONFIG, epochs=1))
    assert before is not None and (learnt is None) == (not report.accepted)
    assert report.accepted or report.reason


def test_where_no_training_betters_the_evidence_it_is_in_force_alone_and_is_trained_from_the_start_later() -> None:
    known = log_of(300)
    learnt, report = train_router(known, TIERS, None, replace(CONFIG, epochs=0))
    assert learnt is not None and report.accepted and report.reason == EVIDENCE_ALONE
    assert report.loss is not None and report.before_loss is not None and report.loss < report.before_loss
    assert learnt.trained.step == 0
    again = Learnt.restored(learnt.trained.params, learnt.arrays(), learnt.about())
    assert again.trained.step == 0 and again.about() == learnt.about()
    later, report = train_router(log_of(), TIERS, learnt, CONFIG)
    assert later is not None and report.accepted and not report.reason and later.trained.step > 0
    assert later.trained.w_support.mean() == pytest.approx(CONFIG.w_density, abs=0.01)


def test_evidence_that_expects_less_well_than_each_tiers_mean_is_kept_out() -> None:
    known = lessons(200)
    wrong = replace(known, inputs=replace(known.inputs, quality=np.clip(1.0 - known.quality, 0.1, 0.9)))
    vectors = np.random.default_rng(0).standard_normal((60, 384)).astype(np.float32)
    learnt, report = learn_gated(
        ROUTED,
        wrong,
        EmbeddingMap.fit(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.random.default_rng(0)),
        np.full(200, 0.9, np.float32),
        replace(CONFIG, epochs=0),
        np.random.default_rng(0),
        gate=np.arange(200) % 7 == 0,
    )
    assert learnt is None and not report.accepted and report.reason == "it is no better on requests it never saw"


def test_nothing_rated_teaches_nothing() -> None:
    known = log_of(100)
    learnt, report = train_router(replace(known, quality=np.full_like(known.quality, np.nan)), TIERS, None, CONFIG)
    assert learnt is None and report.reason == "nothing was rated yet"


def test_a_stopped_training_changes_nothing() -> None:
    learnt, report = train_router(log_of(), TIERS, None, CONFIG, cancelled=lambda: True)
    assert learnt is None and report.reason == "training was stopped"


def test_a_tier_that_joined_is_trained_beside_the_others() -> None:
    before, _ = train_router(log_of(), TIERS, None, CONFIG)
    assert before is not None
    joined = (*TIERS, TierInfo("huge", 7_000_000_000, 4.0))
    assert with_tiers(before, joined).tiers == joined
    known = log_of(seed=2)
    wider = {
        name: np.concatenate([getattr(known, name), np.full((400, 1), np.nan, np.float32)], axis=1)
        for name in ("quality", "latency_ms", "cost", "propensity")
    }
    _, report = train_router(replace(known, **wider), joined, before, CONFIG)
    assert report.turns == 400 and report.loss is not None


def test_the_context_that_holds_what_was_used_is_learnt() -> None:
    known = log_of(1200)
    long = np.array(["step by step" in text for text in known.texts])
    used = np.where(long, 6000, 300).astype(np.int64)
    learnt, _ = train_router(replace(known, used_chars=used), TIERS, None, CONFIG)
    assert learnt is not None and 900 < learnt.context_labels < 1200  # but for those that judge
