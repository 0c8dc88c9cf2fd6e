"""Training the router's network: one loop over three phases (dense, iterative hard thresholding, frozen support)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from ruvllm.kernels import adamw_step, keep_largest
from ruvllm.router.ewc import Consolidation
from ruvllm.router.losses import (
    LATENCY_QUANTILE,
    binary_loss,
    class_loss,
    difference_loss,
    doubly_robust,
    policy_loss,
    quantile_loss,
    softmax,
)
from ruvllm.router.model import Judgement, RouterModel, TierInputs, sigmoid
from ruvllm.router.replay import Replayed

__all__ = ["Lessons", "Trained", "TrainingConfig", "cheapest_good", "held_out_loss", "judge", "quality_loss", "train"]

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """`n` sequences of up to `steps` turns with their outcomes. What is not known is NaN, an unknown label -1.

    A sequence that is shorter ends with turns whose outcomes are all missing.

    Attributes:
        features: (n, steps, 128) float32. inputs: (n, steps, T).
        quality, latency_ms, cost, propensity: (n, steps, T) float32; cost as a share of the dearest tier's.
        context_label: (n, steps) int64, of the smallest of `CONTEXT_BINS` that held all used sources.
    """

    features: Floats
    inputs: TierInputs
    quality: Floats
    latency_ms: Floats
    cost: Floats
    propensity: Floats
    context_label: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.features)

    def is_turn(self) -> Mask:
        """Return which turns have an outcome, (n, steps)."""
        return np.asarray((~np.isnan(self.quality)).any(axis=-1))

    def last_turns(self) -> npt.NDArray[np.int64]:
        """Return the place of each sequence's last turn with an outcome, (n,); the last one where there is none."""
        steps = self.quality.shape[1]
        return np.asarray(steps - 1 - self.is_turn()[:, ::-1].argmax(axis=1))

    def take(self, rows: npt.NDArray[np.int64]) -> Lessons:
        """Return the chosen sequences, in that order."""
        chosen = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "inputs"}
        inputs = TierInputs(*(getattr(self.inputs, f.name)[rows] for f in fields(self.inputs)))
        return replace(self, inputs=inputs, **chosen)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How the network is trained. The routing loss is L = -quality + cost_weight cost + latency_weight overrun.

    Two dual variables rise while the policy breaks a limit: rho, which is added to the weight of quality, while its
    mean quality is below the floor; sigma, which is added to that of overrun, while more than 1 - LATENCY_QUANTILE of
    its answers would be late.

    Attributes:
        epochs: of all three phases together, a third each.
        feature_dropout: share of the features that are 0 in a batch, drawn anew for each (Srivastava et al. 2014): few
            ratings teach 8,000 weights. The evidence, which the network corrects, is never dropped.
        w_density: share of the input matrix that stays; 1 trains dense throughout.
        quality_floor: theta_min.
        latency_sla_ms: above it an answer is late and its latency counts as overrun, latency / SLA - 1; 0 = none.
        ewc_lambda: see `ewc`. replay_logits, replay_labels: alpha and beta of DER++ (Buzzega et al. 2020).
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 5e-4
    weight_decay: float = 0.5
    feature_dropout: float = 0.2
    w_density: float = 0.3
    threshold_every: int = 15
    patience: int = 6
    cost_weight: float = 0.1
    latency_weight: float = 0.1
    quality_floor: float = 0.5
    latency_sla_ms: float = 0.0
    dual_rate: float = 0.05
    difference_weight: float = 1.0
    entropy_weight: float = 0.01
    ewc_lambda: float = 0.0
    replay_logits: float = 1.0
    replay_labels: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What training arrived at: all that is needed to go on.

    Attributes:
        params: (num_params,) of the dense layout; zero outside `w_support`.
        w_support: (64, 128) bool.
        first_moment, second_moment: of Adam. step: steps taken in all.
        rho, sigma: the dual variables of the floor of quality and of the limit of latency.
        losses: held-out loss after each epoch; the first is that of the start.
    """

    params: Floats
    w_support: Mask
    first_moment: Floats
    second_moment: Floats
    step: int
    rho: float
    sigma: float
    losses: tuple[float, ...]

    @classmethod
    def untrained(cls, params: Floats, model: RouterModel) -> Trained:
        """Return parameters that no step was taken from, dense."""
        support = np.ones(model.cell.layout["w"][1], np.bool_)
        return cls(params, support, np.zeros_like(params), np.zeros_like(params), 0, 0.0, 0.0, ())

    def vectors(self) -> tuple[Floats, Floats, Floats]:
        """Return what has the layout of the parameters: them, and both moments."""
        return self.params, self.first_moment, self.second_moment


def judge(model: RouterModel, params: Floats, lessons: Lessons) -> Judgement:
    """Return the judgements of every turn under these parameters, (n, steps, ...)."""
    model.cell.set_params(params)
    h_0 = np.zeros((len(lessons), model.cell.hidden_size), np.float32)
    _, outputs = model.cell.forward(lessons.features, h_0)
    return model.read(outputs, lessons.inputs)


def cheapest_good(quality_logit: Floats, quality_floor: float) -> npt.NDArray[np.int64]:
    """Return the tier that the policy takes, (...): the cheapest expected to reach the floor, else the best."""
    enough = sigmoid(quality_logit) >= quality_floor
    tiers: npt.NDArray[np.int64] = np.where(enough.any(axis=-1), enough.argmax(axis=-1), quality_logit.argmax(axis=-1))
    return tiers


def held_out_loss(model: RouterModel, params: Floats, lessons: Lessons, config: TrainingConfig) -> float:
    """Return the `quality_loss` of what these parameters expect."""
    return quality_loss(judge(model, params, lessons).quality_logit, lessons, config)


def quality_loss(quality_logit: Floats, lessons: Lessons, config: TrainingConfig) -> float:
    """Return the mean loss of quality and its differences a known outcome: what early stopping and gates look at."""
    known = max(int((~np.isnan(lessons.quality)).sum()), 1)
    loss = binary_loss(quality_logit, lessons.quality)[0]
    return (loss + config.difference_weight * difference_loss(quality_logit, lessons.quality)[0]) / known


def train(
    model: RouterModel,
    lessons: Lessons,
    held_out: Lessons,
    config: TrainingConfig,
    rng: np.random.Generator,
    *,
    start: Trained | None = None,
    consolidation: Consolidation | None = None,
    replay: Replayed | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Trained:
    """Return what the lessons teach; the parameters of the epoch that judged `held_out` best once W is sparse.

    Args:
        model: a dense one (`w_support` None); its parameters are used as scratch.
        start: what to go on from; untrained when None. A start that is sparse keeps its support: then all epochs are
            of the third phase.
        consolidation: what must not be forgotten, weighted by `config.ewc_lambda`.
        replay: examples of earlier training, mixed into every batch.
        cancelled: asked between batches; the best so far comes back.
    """
    layout = model.cell.layout
    shape = layout["w"][1]
    start = start or Trained.untrained(model.initial_params(rng), model)
    params, first, second = start.params.copy(), start.first_moment.copy(), start.second_moment.copy()
    step, rho, sigma, support = start.step, start.rho, start.sigma, start.w_support.copy()
    is_dense = bool(support.all()) and config.w_density < 1.0
    thirds = (config.epochs // 3, 2 * config.epochs // 3) if is_dense else (0, 0)
    losses = [held_out_loss(model, params, held_out, config)]
    best, best_loss = params.copy(), np.inf if is_dense else losses[0]
    since_best = 0
    for epoch in range(config.epochs):
        order = rng.permutation(len(lessons))
        for first_row in range(0, len(order), config.batch_size):
            if cancelled():
                break
            batch = lessons.take(order[first_row : first_row + config.batch_size])
            step += 1
            batch = replace(batch, features=_dropped(batch.features, config.feature_dropout, rng))
            gradient, mean_quality, late_share = _gradient(model, params, batch, config, rho, sigma)
            if replay is not None:
                gradient = gradient + _replay_gradient(model, params, replay, config, rng)
            rho = max(0.0, rho + config.dual_rate * (config.quality_floor - mean_quality))
            sigma = max(0.0, sigma + config.dual_rate * (late_share - (1.0 - LATENCY_QUANTILE)))
            _adam(params, gradient, first, second, step, config, consolidation)
            if thirds[0] <= epoch < thirds[1] and step % config.threshold_every == 0:
                support = keep_largest(params[layout["w"][0]].reshape(shape), config.w_density)
            if epoch >= thirds[0]:
                params[layout["w"][0]] *= support.ravel()
        if is_dense and epoch == thirds[1] - 1:
            support = keep_largest(params[layout["w"][0]].reshape(shape), config.w_density)
            params[layout["w"][0]] *= support.ravel()
        losses.append(held_out_loss(model, params, held_out, config))
        if epoch >= thirds[1] - 1:
            since_best += 1
            if losses[-1] < best_loss:
                best, best_loss, since_best = params.copy(), losses[-1], 0
        if cancelled() or since_best >= config.patience:
            break
    return Trained(best, support, first, second, step, rho, sigma, tuple(losses))


def _dropped(features: Floats, share: float, rng: np.random.Generator) -> Floats:
    """Return the features with a share of them 0 and the others larger by as much, so that sums keep their mean."""
    if share == 0.0:
        return features
    kept = rng.random(features.shape, np.float32) >= share
    return np.where(kept, features / np.float32(1.0 - share), np.float32(0.0))


def _adam(
    params: Floats,
    gradient: Floats,
    first: Floats,
    second: Floats,
    step: int,
    config: TrainingConfig,
    consolidation: Consolidation | None,
) -> None:
    is_held = consolidation is not None and config.ewc_lambda > 0.0
    adamw_step(
        params,
        gradient,
        first,
        second,
        step=step,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        max_norm=1.0,
        anchor_params=consolidation.anchor_params if consolidation and is_held else None,
        fisher_diagonal=consolidation.fisher_diagonal if consolidation and is_held else None,
        ewc_lambda=config.ewc_lambda if is_held else 0.0,
    )


def _gradient(
    model: RouterModel, params: Floats, batch: Lessons, config: TrainingConfig, rho: float, sigma: float
) -> tuple[Floats, float, float]:
    """Return the gradient of the mean loss of a batch, and the policy's mean quality and share of late answers."""
    model.cell.set_params(params)
    h_0 = np.zeros((len(batch), model.cell.hidden_size), np.float32)
    _, outputs, tape = model.cell.forward_with_tape(batch.features, h_0)
    judged = model.read(outputs, batch.inputs)
    is_turn = batch.is_turn()
    weight = np.float32(1.0 / max(int(is_turn.sum()), 1))

    by_quality = binary_loss(judged.quality_logit, batch.quality)[1]
    by_quality = by_quality + config.difference_weight * difference_loss(judged.quality_logit, batch.quality)[1]
    losses, expected, is_late = _losses(judged, batch, config, rho, sigma)
    by_tier = policy_loss(judged.tier_logit, losses, entropy_weight=config.entropy_weight)[1]
    chosen = cheapest_good(judged.quality_logit, config.quality_floor)[..., np.newaxis]
    reached = np.take_along_axis(batch.quality, chosen, axis=-1)
    met = np.where(np.isnan(reached), np.nan, reached >= config.quality_floor)
    raw = judged.confidence[..., np.newaxis]
    gradients = {
        "quality": by_quality,
        "latency": quantile_loss(judged.log_latency, batch.latency_ms)[1],
        "tier": by_tier * is_turn[..., np.newaxis],
        "context": class_loss(judged.context_logit, batch.context_label)[1],
        "confidence": np.where(np.isnan(met), 0.0, raw - np.nan_to_num(met)).astype(np.float32),
    }
    d_outputs = model.d_outputs({name: weight * g for name, g in gradients.items()}, batch.inputs)
    params_gradient: Floats = tape.backward(d_logits=d_outputs).params
    if not is_turn.any():
        return params_gradient, config.quality_floor, 1.0 - LATENCY_QUANTILE
    p = softmax(judged.tier_logit)[is_turn]
    mean_quality, late_share = (float((p * of_tier[is_turn]).sum(axis=-1).mean()) for of_tier in (expected, is_late))
    return params_gradient, mean_quality, late_share


def _losses(
    judged: Judgement, batch: Lessons, config: TrainingConfig, rho: float, sigma: float
) -> tuple[Floats, Floats, Mask]:
    """Return L_k, doubly robust, of every tier, the doubly robust quality in it, and whether it would be late,
    (n, steps, T) each."""
    expected = doubly_robust(
        sigmoid(judged.quality_logit).astype(np.float32),
        batch.quality,
        np.where(np.isnan(batch.quality), 1.0, batch.propensity),
    )
    losses = -(1.0 + rho) * expected + config.cost_weight * batch.cost
    overrun = np.zeros_like(expected)
    if config.latency_sla_ms > 0.0:
        latency = np.where(np.isnan(batch.latency_ms), np.exp(judged.log_latency), batch.latency_ms)
        overrun = np.maximum(latency / config.latency_sla_ms - 1.0, 0.0)
        losses = losses + (config.latency_weight + sigma) * overrun
    return losses.astype(np.float32), expected, overrun > 0.0


def _replay_gradient(
    model: RouterModel, params: Floats, replay: Replayed, config: TrainingConfig, rng: np.random.Generator
) -> Floats:
    """Return the gradient of alpha MSE(logits, stored) + beta CE(labels) on a batch of replayed examples."""
    rows = rng.integers(0, len(replay.lessons), config.batch_size)
    batch, stored = replay.lessons.take(rows), replay.quality_logit[rows]
    model.cell.set_params(params)
    h_0 = np.zeros((len(batch), model.cell.hidden_size), np.float32)
    features = _dropped(batch.features, config.feature_dropout, rng)
    _, outputs, tape = model.cell.forward_with_tape(features, h_0)
    judged = model.read(outputs, batch.inputs)
    by_quality = config.replay_logits * (judged.quality_logit - stored)
    by_quality = by_quality + config.replay_labels * binary_loss(judged.quality_logit, batch.quality)[1]
    by_tier = config.replay_logits * (judged.tier_logit - replay.tier_logit[rows])
    is_turn = batch.is_turn()[..., np.newaxis]
    by_quality, by_tier = by_quality * is_turn, by_tier * is_turn
    weight = np.float32(1.0 / max(int(is_turn.sum()), 1))
    gradients = {"quality": (weight * by_quality).astype(np.float32), "tier": (weight * by_tier).astype(np.float32)}
    return tape.backward(d_logits=model.d_outputs(gradients, batch.inputs)).params
