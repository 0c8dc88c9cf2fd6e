"""One training step of a small model, fused over flat buffers: EWC, clipping, Adam with decoupled weight decay."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy.typing as npt

from ruvllm.kernels.loaded import core

__all__ = ["TrainingStep", "adamw_step"]

Floats = npt.NDArray[Any]  # float32; float64 runs the plain definition in double


class TrainingStep(NamedTuple):
    """Of one step: the EWC penalty before it, and the norm of the total gradient before clipping."""

    penalty: float
    gradient_norm: float


def adamw_step(
    params: Floats,
    gradient: Floats,
    first_moment: Floats,
    second_moment: Floats,
    *,
    step: int,
    learning_rate: float = 1e-3,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.01,
    max_norm: float = math.inf,
    anchor_params: Floats | None = None,
    fisher_diagonal: Floats | None = None,
    ewc_lambda: float = 0.0,
) -> TrainingStep:
    """Take one step in place over `params` and both moments; return the penalty and the gradient's norm.

    1. Consolidation: the penalty (ewc_lambda / 2) sum F (theta - theta*)^2, with the 1/2 outside lambda, adds
       ewc_lambda F (theta - theta*) to the gradient. F should be scaled to mean 1, so that lambda keeps its meaning.
    2. Clipping, of the total: when its norm exceeds `max_norm` it is scaled to `max_norm`.
    3. AdamW: m = beta_1 m + (1 - beta_1) g, v = beta_2 v + (1 - beta_2) g^2, both corrected for their start by `step`,
       theta = (1 - learning_rate weight_decay) theta - learning_rate m / (sqrt(v) + epsilon).

    Args:
        params: (n,) float32, written. All arrays are finite and share no memory with each other: an anchor that
            aliases the parameters would make every penalty 0.
        gradient: (n,) of the loss without the penalty; only read.
        first_moment, second_moment: (n,) m and v, written; zeros before step 1.
        step: number of this step, from 1.
        epsilon: > 0, also in float32.
        max_norm: > 0; infinity clips nothing.
        anchor_params, fisher_diagonal: (n,) theta* and F >= 0, both or neither.

    Raises:
        TypeError, ValueError: a wrong dtype, shape or order; a NaN or an infinity; shared memory; a negative Fisher
            value or second moment; a hyperparameter out of range; a gradient whose squares overflow. Nothing is
            written then.

    Source: Kirkpatrick et al. 2017 (arXiv:1612.00796); Loshchilov and Hutter 2019 (arXiv:1711.05101), Algorithm 2.
    """
    return TrainingStep(
        *core.adamw_step(
            params,
            gradient,
            first_moment,
            second_moment,
            anchor_params,
            fisher_diagonal,
            step,
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            weight_decay,
            max_norm,
            ewc_lambda,
        )
    )
