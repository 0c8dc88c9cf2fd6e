"""The router's network: a FastGRNN over the turns of a session, and heads that judge any number of tiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ruvllm.kernels import FastGrnn, Head
from ruvllm.router.outcomes import TierInfo

__all__ = [
    "CONTEXT_BINS",
    "NUM_EVIDENCE",
    "Judgement",
    "RouterModel",
    "TierInputs",
    "descriptors",
    "prior_quality",
    "sigmoid",
]

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

CONTEXT_BINS = (256, 512, 1024, 2048, 4096)  # prompt tokens
NUM_EVIDENCE = 5  # numbers of `TierInputs.evidence`
NUM_STATIC = 4  # of a descriptor: 1, size, cost, whether it is local
HIDDEN_SIZE = 64
U_RANK = 8
MIN_P, MAX_P = 0.02, 0.98  # of what evidence says: it never silences the network


@dataclass(frozen=True, slots=True, eq=False)
class TierInputs:
    """What is known of each tier before the network looks: (..., T) and (..., T, NUM_EVIDENCE), float32.

    Attributes:
        quality: expected quality in (0, 1), from the nearest logged questions, shrunk to what its size promises.
        latency_ms: expected, > 0.
        evidence: what corrects it, each about [-2, 2]: how the nearest, and the lexically nearest, questions differ
            from `quality` in logits, how many there are, how they spread, and how near they lie.
    """

    quality: Floats
    latency_ms: Floats
    evidence: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """The heads, (..., T) where they speak of tiers. Nothing is calibrated yet.

    Attributes:
        quality_logit: of the expected quality.
        log_latency: natural log of the latency in ms that `LATENCY_QUANTILE` of the answers keep.
        tier_logit: of the policy trained on the routing loss.
        context_logit: (..., 5), of the smallest of `CONTEXT_BINS` that holds what is used.
        confidence: that the chosen tier meets the floor, in (0, 1).
    """

    quality_logit: Floats
    log_latency: Floats
    tier_logit: Floats
    context_logit: Floats
    confidence: Floats


def sigmoid(x: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return the logistic function, by the sign of x so that nothing overflows."""
    e = np.exp(-np.abs(x))
    out: npt.NDArray[np.floating] = np.where(x >= 0.0, 1.0, e) / (1.0 + e)
    return out


def logit(p: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return log(p / (1 - p)) with p kept in [MIN_P, MAX_P]."""
    p = np.minimum(np.maximum(p, MIN_P), MAX_P)
    out: npt.NDArray[np.floating] = np.log(p) - np.log1p(-p)
    return out


def prior_quality(tier: TierInfo) -> float:
    """Return what a model of this size is thought to reach before anything is known of it, in (0, 1).

    A straight line in the logarithm of its parameters: 0.35 at 100 M, 0.5 at 1 B, 0.65 at 10 B, within [0.3, 0.8].
    """
    if tier.parameters is None:
        return 0.6  # an endpoint: it is there because it is large
    return float(np.clip(0.5 + 0.15 * (np.log10(tier.parameters) - 9.0), 0.3, 0.8))


def descriptors(tiers: Sequence[TierInfo], among: Sequence[TierInfo] | None = None) -> Floats:
    """Return (T, NUM_STATIC + T): 1, size and cost against the others, whether it is local, and which one it is.

    Args:
        among: that sizes and costs are seen against; `tiers` when None.
    """
    among = tiers if among is None else among
    known = [np.log10(tier.parameters) for tier in among if tier.parameters is not None]
    middle = float(np.mean(known)) if known else 0.0
    dearest = max(max(t.cost for t in among), 1e-12)
    cost, costs = (np.log1p([tier.cost / dearest * 9.0 for tier in those]) for those in (tiers, among))
    rows = np.zeros((len(tiers), NUM_STATIC + len(tiers)), np.float32)
    rows[:, 0] = 1.0
    rows[:, 1] = [0.0 if tier.parameters is None else np.log10(tier.parameters) - middle for tier in tiers]
    rows[:, 2] = cost - costs.mean()
    rows[:, 3] = [tier.is_local for tier in tiers]
    rows[:, NUM_STATIC:] = np.eye(len(tiers), dtype=np.float32)
    return rows


class RouterModel:
    """Judges `tiers` on feature vectors. Parameters are one flat vector, zero heads at the start.

    A tier is scored by one head for all of them: e = V h + b, score_k = e . d_k, where d_k is the tier's descriptor
    (`descriptors` and its evidence). The score of quality is added to the logit of what the evidence says, so an
    untrained network repeats the evidence, and a tier that joins is judged by its size and its evidence at once.

    Args:
        tiers: the cheapest first; at least one.
        w_support: (64, 128) bool, where the input matrix is not zero; dense when None.
        among: the tiers of the training, so that what is expected of a tier stays when others join or leave.
    """

    def __init__(
        self,
        tiers: Sequence[TierInfo],
        *,
        num_features: int = 128,
        w_support: Mask | None = None,
        among: Sequence[TierInfo] | None = None,
    ) -> None:
        if not tiers:
            raise ValueError("tiers must hold at least one tier")
        self.tiers = tuple(tiers)
        self.w_support = w_support
        self.static = descriptors(self.tiers, among)
        self.num_descriptors = self.static.shape[1] + NUM_EVIDENCE
        heads = (
            Head("quality", self.num_descriptors, "linear"),
            Head("latency", self.num_descriptors, "linear"),
            Head("tier", self.num_descriptors, "linear"),
            Head("context", len(CONTEXT_BINS), "linear"),
            Head("confidence", 1, "sigmoid"),
        )
        self.cell = FastGrnn(num_features, HIDDEN_SIZE, u_rank=U_RANK, w_support=w_support, heads=heads)
        ends = np.cumsum([head.size for head in heads]).tolist()
        self._slices = {head.name: slice(end - head.size, end) for head, end in zip(heads, ends, strict=True)}

    def rows(self, head: str) -> list[int]:
        """Return which outputs of the cell belong to a head."""
        return list(range(self.cell.num_outputs))[self._slices[head]]

    def initial_params(self, rng: np.random.Generator) -> Floats:
        """Return parameters to start from: the cell's own, heads of zeros."""
        flat: Floats = self.cell.initial_params(rng)
        self.cell.views(flat)["head_weight"][:] = 0.0
        return flat

    def initial_state(self) -> Floats:
        """Return the state before the first turn, (64,) zeros."""
        return np.zeros(HIDDEN_SIZE, np.float32)

    def describe(self, inputs: TierInputs) -> Floats:
        """Return the descriptors d_k, (..., T, num_descriptors), of the tiers on given questions."""
        static = np.broadcast_to(self.static, (*inputs.evidence.shape[:-1], self.static.shape[1]))
        return np.concatenate([static, inputs.evidence], axis=-1)

    def read(self, outputs: Floats, inputs: TierInputs) -> Judgement:
        """Return what the cell's `outputs`, (..., num_outputs), say of the tiers."""
        d = self.describe(inputs)
        s = self._slices
        return Judgement(
            quality_logit=logit(inputs.quality) + _scores(d, outputs[..., s["quality"]]),
            log_latency=np.log(inputs.latency_ms) + _scores(d, outputs[..., s["latency"]]),
            tier_logit=_scores(d, outputs[..., s["tier"]]),
            context_logit=outputs[..., s["context"]],
            confidence=outputs[..., s["confidence"]][..., 0],
        )

    def step(self, features: Floats, state: Floats, inputs: TierInputs) -> tuple[Floats, Judgement]:
        """Return the next state and the judgement of one question: features (128,), state (64,), inputs (T,)."""
        state, outputs = self.cell.step(features, state)
        return state, self.read(outputs, inputs)

    def d_outputs(self, gradients: dict[str, Floats], inputs: TierInputs) -> Floats:
        """Return dL/d outputs of the cell before its activations, (n, steps, num_outputs).

        Args:
            gradients: by head. Of quality, latency and tier (n, steps, T) by their scores; of the others (n, steps,
                size) before the activation. A head that is missing got no gradient.
        """
        d = self.describe(inputs)
        out = np.zeros((*d.shape[:2], self.cell.num_outputs), np.float32)
        for name, gradient in gradients.items():
            is_scored = name in ("quality", "latency", "tier")
            out[..., self._slices[name]] = np.einsum("nst,nstd->nsd", gradient, d) if is_scored else gradient
        return out


def _scores(d: Floats, e: Floats) -> Floats:
    """Return e . d_k: d (..., T, D) and e (..., D) to (..., T)."""
    scores: Floats = np.matmul(d, e[..., np.newaxis])[..., 0]
    return scores
