"""One training step of the default router: consolidation, clipping, AdamW."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ruvllm.bench.report import Row
from ruvllm.bench.timing import Call, peer, race
from ruvllm.kernels import FastGrnn, adamw_step

__all__ = ["adamw_peers", "make_call", "rows"]

LEARNING_RATE, WEIGHT_DECAY, MAX_NORM, EWC_LAMBDA = 1e-3, 0.01, 1.0, 0.4


def rows() -> Iterator[Row]:
    """Yield the time of one step over the parameters of the default router, and over a million."""
    for label, n in (("the router", FastGrnn().num_params), ("1 M parameters", 1_000_000)):
        yield race(f"optimiser step with EWC and clipping, {label}", make_call(n), adamw_peers(n))


def make_arrays(n: int) -> dict[str, np.ndarray]:
    """Return everything a step takes, (n,) each; the moments are zeros."""
    rng = np.random.default_rng(0)
    names = ("params", "gradient", "anchor_params", "fisher_diagonal")
    arrays = {name: rng.random(n, np.float32) for name in names}
    return arrays | {name: np.zeros(n, np.float32) for name in ("first_moment", "second_moment")}


def make_call(n: int) -> Call:
    """Return our step over n parameters."""
    a = make_arrays(n)
    return lambda: adamw_step(
        a["params"],
        a["gradient"],
        a["first_moment"],
        a["second_moment"],
        step=1,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        max_norm=MAX_NORM,
        anchor_params=a["anchor_params"],
        fisher_diagonal=a["fisher_diagonal"],
        ewc_lambda=EWC_LAMBDA,
    )


def adamw_peers(n: int) -> dict[str, Call]:
    """Return the same step in torch, its optimiser fused and not, on one thread."""
    if (torch := peer("torch")) is None:
        return {}
    torch.set_num_threads(1)

    def call(**kind: bool) -> Call:
        arrays = {name: torch.tensor(array) for name, array in make_arrays(n).items()}
        theta = torch.nn.Parameter(arrays["params"])
        adamw = torch.optim.AdamW([theta], lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, **kind)

        def step() -> float:
            with torch.no_grad():
                distance = theta - arrays["anchor_params"]
                force = EWC_LAMBDA * arrays["fisher_diagonal"] * distance
                theta.grad = arrays["gradient"] + force
                torch.nn.utils.clip_grad_norm_([theta], MAX_NORM)
                adamw.step()
                return float(force @ distance) / 2

        return step

    return {"torch AdamW, fused": call(fused=True), "torch AdamW, foreach": call(foreach=True)}
