"""Training the attention engine from outcomes: a listwise loss over candidates, and a gate before anything counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ruvllm import kernels
from ruvllm.attention.engine import AttentionEngine, Example

__all__ = ["TrainingReport", "listwise_loss", "train", "train_gated"]

Floats = npt.NDArray[np.float32]

STEPS = 60  # of Adam, each over all examples
LEARNING_RATE = 0.02
PULL = 10.0  # towards the untrained parameters, in examples: so many must agree before a parameter moves far
PROJECTION_PULL = 2.0  # how much more projections are pulled, of which there are many
LEAST_SPREAD = 0.2  # of a feature: what hardly varies is not to gain a large weight, which would count elsewhere
HELD_OUT = 5  # every so manieth example decides whether what the others taught is kept
MIN_EXAMPLES = 10  # fewer teach nothing
SMALLEST_WEIGHT = 1e-9

Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a training pass did. Losses are means over the held-out examples, None without any.

    Both are of what a search finds at that time: only those of one pass compare, since candidates come and go.
    `reason` says why it was not accepted, "" where it was.
    """

    examples: int
    held_out: int
    untrained_loss: float | None
    loss: float | None
    accepted: bool
    reason: str = ""


def listwise_loss(
    weights: Floats, credit: Floats, ignored: npt.NDArray[np.bool_] | None = None
) -> tuple[float, Floats]:
    """Return -sum_i c_i log (w_i / W), the cross-entropy of a ranking to the credits, and its gradient by the weights.

    W is the sum of all weights but those of `ignored`, so that these are neither praised nor blamed. Source: Cao et
    al. 2007, ListNet, with the top-one probabilities of attention.
    """
    safe = np.maximum(weights, SMALLEST_WEIGHT)
    counts = np.ones_like(safe) if ignored is None else (~ignored).astype(safe.dtype)
    credit = credit * counts
    total, shared = float((safe * counts).sum()), float(credit.sum())
    loss = shared * np.log(total) - float((credit * np.log(safe)).sum())
    return loss, (counts * (shared / total) - credit / safe).astype(np.float32)


def train(examples: Sequence[Example], *, cancelled: Cancelled = lambda: False) -> Floats:
    """Return parameters that rank what had credit higher; the untrained ones without examples.

    What is trained is x = (theta - theta_0) / s, theta_0 the untrained parameters and s one over the spread of a
    feature for its weights, 1 for all else, so that all features learn alike. The pull towards theta_0,
    PULL / (2 total weight) sum F x^2 with F = 1 for biases and PROJECTION_PULL for projections, lets few examples move
    little.

    Args:
        cancelled: asked before each example; the parameters so far come back.
    """
    engine = AttentionEngine()
    untrained = engine.untrained()
    scale, stiffness = _scale(engine, examples), np.full_like(untrained, PROJECTION_PULL)
    for name, view in engine.kernel.views(stiffness).items():
        if name.endswith("_bias"):
            view[...] = 1.0
    moved, origin, first, second = (np.zeros_like(untrained) for _ in range(4))
    total = sum(example.weight for example in examples)
    for step in range(1, STEPS + 1 if total > 0.0 else 1):
        gradient = np.zeros_like(moved)
        for example in examples:
            if cancelled():
                return engine.params()
            gradient += _gradient(engine, example) * np.float32(example.weight / total)
        kernels.adamw_step(
            moved,
            gradient * scale,
            first,
            second,
            step=step,
            learning_rate=LEARNING_RATE,
            weight_decay=0.0,
            max_norm=5.0,
            anchor_params=origin,
            fisher_diagonal=stiffness,
            ewc_lambda=PULL / total,
        )
        engine.set_params(untrained + scale * moved)
    return engine.params()


def _scale(engine: AttentionEngine, examples: Sequence[Example]) -> Floats:
    """Return how much each parameter moves for one unit of what is trained."""
    scale = np.ones_like(engine.untrained())
    if examples:
        spread = np.concatenate([example.inputs.node_features for example in examples]).std(axis=0)
        weights = engine.kernel.views(scale)["readout.node_bias"]
        weights[...] = (1.0 / np.maximum(spread, LEAST_SPREAD))[:, np.newaxis]
    return scale


def _gradient(engine: AttentionEngine, example: Example) -> Floats:
    attention = engine.kernel.forward(*example.inputs.arrays(), keep=True)  # type: ignore[arg-type]
    if attention.tape is None:
        raise AssertionError("a pass with keep=True has a tape")
    _, grad_weights = listwise_loss(attention.weights, example.credit, example.ignored)
    gradient: Floats = engine.kernel.backward(attention.tape, grad_weights=grad_weights).params
    return gradient


def mean_loss(params: Floats, examples: Sequence[Example], *, cancelled: Cancelled = lambda: False) -> float:
    """Return the mean loss of the examples under these parameters, by their weights; NaN when cancelled."""
    engine = AttentionEngine(params)
    losses = []
    for example in examples:
        if cancelled():
            return float("nan")
        weights = engine.kernel.forward(*example.inputs.arrays()).weights  # type: ignore[arg-type]
        losses.append(listwise_loss(weights, example.credit, example.ignored)[0])
    return float(np.average(losses, weights=[example.weight for example in examples]))


def train_gated(
    examples: Sequence[Example], *, cancelled: Cancelled = lambda: False
) -> tuple[Floats | None, TrainingReport]:
    """Return what all examples teach, None when it is not kept: too few of them, or no better than the untrained.

    The decision is taken on a held-out fifth: parameters learnt from the others must rank it better than the untrained
    engine does. Only then is the whole used.
    """
    if cancelled():
        return None, _refused(examples, "training was stopped")
    if len(examples) < MIN_EXAMPLES:
        return None, _refused(examples, f"fewer than {MIN_EXAMPLES} good answers")
    held_out = list(examples[::HELD_OUT])
    others = [example for i, example in enumerate(examples) if i % HELD_OUT]
    untrained = mean_loss(AttentionEngine().untrained(), held_out, cancelled=cancelled)
    loss = mean_loss(train(others, cancelled=cancelled), held_out, cancelled=cancelled)
    params = train(examples, cancelled=cancelled) if loss < untrained else None
    if cancelled():
        return None, _refused(examples, "training was stopped")
    reason = "" if params is not None else "it ranks answers it never saw no better than the untrained"
    return params, TrainingReport(len(examples), len(held_out), untrained, loss, params is not None, reason)


def _refused(examples: Sequence[Example], reason: str) -> TrainingReport:
    return TrainingReport(len(examples), 0, None, None, accepted=False, reason=reason)
