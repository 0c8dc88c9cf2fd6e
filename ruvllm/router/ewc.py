"""Elastic weight consolidation: how much each parameter matters for what was learnt before.

Convention: L = L_new + (ewc_lambda / 2) sum_i F_i (theta_i - theta*_i)^2, the 1/2 outside lambda; F is per example, of
exact label probabilities, then scaled to mean 1, so that lambda keeps its meaning for other sizes and losses.

Source: Kirkpatrick et al. 2017 (arXiv:1612.00796), Schwarz et al. 2018 (arXiv:1805.06370), van de Ven 2025
(arXiv:2502.11756).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ruvllm.kernels.fastgrnn import FastGrnnTape
from ruvllm.router.losses import softmax
from ruvllm.router.model import RouterModel, TierInputs, sigmoid

__all__ = ["Consolidation", "consolidate", "ewc_penalty", "fisher_diagonal"]

Floats = npt.NDArray[np.float32]

FISHER_EXAMPLES = 300  # more change little
DECAY = 0.95  # gamma of the online form: how much of the earlier Fisher stays when a task is added


@dataclass(frozen=True, slots=True, eq=False)
class Consolidation:
    """Where parameters were good, and how much each matters there; both (num_params,) float32."""

    anchor_params: Floats
    fisher_diagonal: Floats


def ewc_penalty(params: Floats, anchor_params: Floats, fisher_diagonal: Floats, ewc_lambda: float) -> float:
    """Return (ewc_lambda / 2) sum F (theta - theta*)^2; its gradient is ewc_lambda F (theta - theta*)."""
    away = params.astype(np.float64) - anchor_params
    return float(0.5 * ewc_lambda * (fisher_diagonal * away * away).sum())


def fisher_diagonal(
    model: RouterModel,
    params: Floats,
    features: Floats,
    inputs: TierInputs,
    rng: np.random.Generator,
    *,
    turns: npt.NDArray[np.int64] | None = None,
) -> Floats:
    """Return the diagonal of the Fisher matrix at `params`, (num_params,), scaled to mean 1.

    The heads of quality are Bernoulli, F = sum_k p_k (1 - p_k) (dlogit_k / dtheta)^2; that of the tier is a softmax,
    F = sum_k p_k (J_k - sum_j p_j J_j)^2 with the Jacobian J of its logits. Independent heads add.

    Args:
        features: (n, steps, 128). inputs: (n, steps, T). At most `FISHER_EXAMPLES` of them are drawn.
        turns: (n,), the turn of each that counts; the last one when None.
    """
    chosen = rng.permutation(len(features))[:FISHER_EXAMPLES]
    model.cell.set_params(params)
    total = np.zeros(len(params), np.float64)
    for i in chosen:
        x = np.ascontiguousarray(features[i : i + 1])
        one = TierInputs(inputs.quality[i : i + 1], inputs.latency_ms[i : i + 1], inputs.evidence[i : i + 1])
        _, outputs, tape = model.cell.forward_with_tape(x, np.zeros((1, model.cell.hidden_size), np.float32))
        judged = model.read(outputs, one)
        turn = -1 if turns is None else int(turns[i])

        p = sigmoid(judged.quality_logit[0, turn].astype(np.float64))
        total += ((p * (1.0 - p))[:, np.newaxis] * _jacobian(model, tape, one, "quality", turn) ** 2).sum(axis=0)
        p = softmax(judged.tier_logit[0, turn]).astype(np.float64)
        by_tier = _jacobian(model, tape, one, "tier", turn)
        total += (p[:, np.newaxis] * (by_tier - p @ by_tier) ** 2).sum(axis=0)
    mean = total.mean()
    scaled: Floats = (total / mean if mean > 0.0 else np.ones_like(total)).astype(np.float32)
    return scaled


def _jacobian(model: RouterModel, tape: FastGrnnTape, one: TierInputs, head: str, turn: int) -> npt.NDArray[np.float64]:
    """Return the gradients of one head's scores at one turn of a sequence, (T, num_params)."""
    rows = []
    for tier in range(len(model.tiers)):
        pick = np.zeros(one.quality.shape, np.float32)
        pick[0, turn, tier] = 1.0
        rows.append(tape.backward(d_logits=model.d_outputs({head: pick}, one)).params.astype(np.float64))
    return np.stack(rows)


def consolidate(before: Consolidation | None, params: Floats, fisher: Floats, *, decay: float = DECAY) -> Consolidation:
    """Return the online form: F = decay F_before + F_task, scaled to mean 1, anchored at the latest parameters."""
    if before is not None:
        fisher = decay * before.fisher_diagonal + fisher
        fisher = fisher / fisher.mean()
    return Consolidation(params.copy(), fisher.astype(np.float32))
