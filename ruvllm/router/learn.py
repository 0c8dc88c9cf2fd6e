"""From lessons to a router: trained on most of them, calibrated on others, and judged on those it never saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ruvllm.router.calibration import Calibration
from ruvllm.router.embedding_map import EmbeddingMap
from ruvllm.router.ewc import consolidate, fisher_diagonal
from ruvllm.router.learnt import Learnt
from ruvllm.router.model import NUM_EVIDENCE, NUM_STATIC, RouterModel, logit, prior_quality, sigmoid
from ruvllm.router.outcomes import TierInfo
from ruvllm.router.replay import replayed
from ruvllm.router.training import (
    Lessons,
    Trained,
    TrainingConfig,
    cheapest_good,
    held_out_loss,
    judge,
    quality_loss,
    train,
)

__all__ = ["Report", "learn", "learn_gated", "with_tiers"]

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

HELD_OUT = 0.15  # share of the sequences that stops training and calibrates
NUM_QUANTILES = 200
MIN_SEQUENCES = 40  # fewer teach nothing
EVIDENCE_ALONE = "like questions alone decide; the network is no better on requests it never saw"

Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Report:
    """What a training did. Losses are means over the gate's turns, which no training saw; None without any.

    `reason` says why it was not accepted, or what was accepted in the place of a whole router; "" where that was.
    """

    turns: int
    labels: int
    before_loss: float | None
    loss: float | None
    accepted: bool
    reason: str = ""


def learn(
    tiers: Sequence[TierInfo],
    lessons: Lessons,
    embedding_map: EmbeddingMap,
    nearest: Floats,
    config: TrainingConfig,
    rng: np.random.Generator,
    *,
    before: Learnt | None = None,
    older: Lessons | None = None,
    cancelled: Cancelled = lambda: False,
) -> Learnt:
    """Return what the lessons teach; a share of them stops training and calibrates.

    Args:
        nearest: (m,) cosine of each question's nearest other one.
        before: of the same tiers: what to go on from. It is held by consolidation and replay of `older` lessons.
        older: what `before` had learnt from and `lessons` does not hold.
    """
    held_out, others = _parted(lessons, rng)
    model = RouterModel(tiers)
    start = consolidation = replay = None
    if before is not None:
        start = before.trained
        if older is not None:
            judged = judge(model, start.params, older)
            replay = replayed(older, judged.quality_logit, judged.tier_logit)
            kept = replay.lessons
            turns = kept.last_turns()
            fisher = fisher_diagonal(model, start.params, kept.features, kept.inputs, rng, turns=turns)
            consolidation = consolidate(None, start.params, fisher)
    trained = train(
        model,
        others,
        held_out,
        config,
        rng,
        start=start,
        consolidation=consolidation,
        replay=replay,
        cancelled=cancelled,
    )
    return _learnt(model, trained, lessons, held_out, embedding_map, nearest, config)


def _parted(lessons: Lessons, rng: np.random.Generator) -> tuple[Lessons, Lessons]:
    """Return the share that stops training and calibrates, and the others."""
    order = rng.permutation(len(lessons))
    cut = max(1, round(HELD_OUT * len(order)))
    return lessons.take(order[:cut]), lessons.take(order[cut:])


def _learnt(
    model: RouterModel,
    trained: Trained,
    lessons: Lessons,
    held_out: Lessons,
    embedding_map: EmbeddingMap,
    nearest: Floats,
    config: TrainingConfig,
) -> Learnt:
    """Return the router of a network, calibrated on `held_out`."""
    tiers = model.tiers
    each, confidence = _calibrated(model, trained.params, held_out, config.quality_floor)
    known = ~np.isnan(lessons.quality)
    prior = np.array([prior_quality(tier) for tier in tiers])
    mean = (np.nansum(lessons.quality, axis=(0, 1)) + prior) / (known.sum(axis=(0, 1)) + 1.0)
    quantiles = np.quantile(nearest, np.linspace(0.0, 1.0, NUM_QUANTILES)).astype(np.float32)
    labels = int((lessons.context_label >= 0).sum())
    return Learnt(tuple(tiers), trained, embedding_map, each, confidence, mean.astype(np.float32), quantiles, labels)


def _means_loss(lessons: Lessons, held_out: Lessons, config: TrainingConfig) -> float:
    """Return the loss on `held_out` of who expects of each tier its mean quality in `lessons`, whatever is asked."""
    known = ~np.isnan(lessons.quality)
    mean = (np.nansum(lessons.quality, axis=(0, 1)) + 0.5) / (known.sum(axis=(0, 1)) + 1.0)
    logits = np.broadcast_to(logit(mean.astype(np.float32)), held_out.quality.shape)
    return quality_loss(logits, held_out, config)


def learn_gated(
    tiers: Sequence[TierInfo],
    lessons: Lessons,
    embedding_map: EmbeddingMap,
    nearest: Floats,
    config: TrainingConfig,
    rng: np.random.Generator,
    *,
    gate: Mask,
    in_force: tuple[Learnt, Lessons] | None = None,
    older: Lessons | None = None,
    cancelled: Cancelled = lambda: False,
) -> tuple[Learnt | None, Report]:
    """Return what `learn` does, None when it judges lessons it never saw no better than what is in force.

    The first time the evidence alone is in force, which an untrained network repeats. Where the training is no better
    than that, it is what comes back, if it is better than each tier's mean.

    Args:
        gate: (n,) bool, the lessons that decide. They must be the same for every training, since what is in force must
            not have learnt from them either.
        in_force: what is, and the same lessons with the features of its own embedding map; None the first time.
        older: given, training goes on from what is in force; see `learn`.
    """
    turns, labels = int((~np.isnan(lessons.quality)).any(axis=-1).sum()), int((~np.isnan(lessons.quality)).sum())
    if len(lessons) < MIN_SEQUENCES or not gate.any():
        reason = f"fewer than {MIN_SEQUENCES} rated requests or sessions"
        return None, Report(turns, labels, None, None, accepted=False, reason=reason)
    judges, others = np.flatnonzero(gate), lessons.take(np.flatnonzero(~gate))
    before, seen = (None, lessons) if in_force is None else in_force
    model = RouterModel(tiers, among=None if before is None else before.among)
    params = model.initial_params(rng) if before is None else before.trained.params
    before_loss = held_out_loss(model, params, seen.take(judges), config)
    going_on = before if before is not None and before.trained.step and older is not None else None
    learnt = learn(
        tiers, others, embedding_map, nearest, config, rng, before=going_on, older=older, cancelled=cancelled
    )
    loss = held_out_loss(RouterModel(tiers), learnt.trained.params, lessons.take(judges), config)
    if cancelled():
        return None, Report(turns, labels, before_loss, loss, accepted=False, reason="training was stopped")
    if loss < before_loss:
        return learnt, Report(turns, labels, before_loss, loss, accepted=True)
    means_loss = _means_loss(others, lessons.take(judges), config)
    if in_force is None and before_loss < means_loss:
        alone = _learnt(
            model, Trained.untrained(params, model), others, _parted(others, rng)[0], embedding_map, nearest, config
        )
        return alone, Report(turns, labels, means_loss, before_loss, accepted=True, reason=EVIDENCE_ALONE)
    reason = "it is no better on requests it never saw"
    return None, Report(turns, labels, before_loss, loss, accepted=False, reason=reason)


def with_tiers(learnt: Learnt, tiers: Sequence[TierInfo]) -> Learnt:
    """Return the router for other tiers: those it knows keep what it learnt, new ones start from priors and evidence.

    Raises:
        ValueError: it knows none of them.
    """
    old = {tier.name: place for place, tier in enumerate(learnt.tiers)}
    places = [old.get(tier.name) for tier in tiers]
    if all(place is None for place in places):
        raise ValueError(f"tiers must hold one that the router knows ({', '.join(old)})")
    if learnt.tiers == tuple(tiers):
        return learnt
    narrow, wide = RouterModel(learnt.tiers), RouterModel(tiers)
    moved = [_moved(flat, narrow, wide, places) for flat in learnt.trained.vectors()]
    params, first, second = moved
    prior = [prior_quality(tier) for tier in tiers]
    mean = [prior[i] if place is None else learnt.mean_quality[place] for i, place in enumerate(places)]
    return replace(
        learnt,
        tiers=tuple(tiers),
        trained=replace(learnt.trained, params=params, first_moment=first, second_moment=second),
        calibrations=tuple(Calibration.identity() if p is None else learnt.calibrations[p] for p in places),
        mean_quality=np.array(mean, np.float32),
    )


def _moved(flat: Floats, narrow: RouterModel, wide: RouterModel, places: Sequence[int | None]) -> Floats:
    """Return parameters for the tiers of `wide`: heads by the meaning of their rows, zeros where a tier is new."""
    out = np.zeros(wide.cell.num_params, np.float32)
    before, after = narrow.cell.views(flat), wide.cell.views(out)
    for name, view in after.items():
        if not name.startswith("head_"):
            view[:] = before[name]
            continue
        for head in ("quality", "latency", "tier"):
            rows, old_rows = wide.rows(head), narrow.rows(head)
            known = [(i, p) for i, p in enumerate(places) if p is not None]
            kept = [*((i, i) for i in range(NUM_STATIC)), *((NUM_STATIC + i, NUM_STATIC + p) for i, p in known)]
            kept += [(i - len(rows), i - len(rows)) for i in range(len(rows) - NUM_EVIDENCE, len(rows))]
            for new_row, old_row in kept:
                view[rows[new_row]] = before[name][old_rows[old_row]]
        for head in ("context", "confidence"):
            view[wide.rows(head)] = before[name][narrow.rows(head)]
    return out


def _calibrated(
    model: RouterModel, params: Floats, held_out: Lessons, quality_floor: float
) -> tuple[tuple[Calibration, ...], Calibration]:
    """Return calibrations of each tier's quality, and of the confidence."""
    judged = judge(model, params, held_out)
    raw = sigmoid(judged.quality_logit)
    each = tuple(_platt(raw[..., i], held_out.quality[..., i]) for i in range(len(model.tiers)))
    chosen = cheapest_good(judged.quality_logit, quality_floor)[..., np.newaxis]
    reached = np.take_along_axis(held_out.quality, chosen, axis=-1)[..., 0]
    met = np.where(np.isnan(reached), np.nan, reached >= quality_floor)
    return each, _platt(judged.confidence, met)


def _platt(confidence: npt.NDArray[np.floating], outcome: npt.NDArray[np.floating]) -> Calibration:
    known = ~np.isnan(outcome)
    if not known.any():
        return Calibration.identity()
    return Calibration.fit(confidence[known].astype(np.float64), outcome[known].astype(np.float64), "platt")
