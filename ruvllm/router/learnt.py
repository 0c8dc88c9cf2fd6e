"""What a trained router is: network, calibration, and how unlike what it saw a question may be; frozen, with bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ruvllm.router.calibration import Calibration
from ruvllm.router.embedding_map import EmbeddingMap
from ruvllm.router.features import FEATURE_VERSION
from ruvllm.router.judge import NOVEL, Judge
from ruvllm.router.model import NUM_EVIDENCE, Judgement, RouterModel, TierInputs, logit, prior_quality, sigmoid
from ruvllm.router.outcome_memory import Evidence
from ruvllm.router.outcomes import TierInfo
from ruvllm.router.training import Trained

__all__ = ["Estimates", "Learnt", "estimates", "familiarity", "tier_inputs"]

Floats = npt.NDArray[np.float32]

# Shares of the few nearest, the many near, and those that share rare words in what is expected of a tier before the
# network looks. Shares fitted on each of nine sets scatter around these, and do no better.
VIEWS = (0.2, 0.45, 0.35)
PRIOR_COUNT = 2.0  # outcomes that a model's size counts as
MAX_NUDGE = 2.0  # of one number of evidence
SPEED_MS = 1e-6  # prior latency of a local tier: milliseconds a parameter, at some ten tokens a second for 1 B
UNKNOWN_MS = 2000.0


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """What is expected of T tiers, for one question or with a first axis of n.

    Attributes:
        quality: (T,) in [0, 1], calibrated. latency_ms: (T,), kept by `LATENCY_QUANTILE` of the answers.
        confidence: (), that the chosen tier meets the floor, before familiarity is counted.
        familiarity: () in [0, 1]: 0 for a question unlike any that is known.
    """

    quality: Floats
    latency_ms: Floats
    confidence: Floats
    familiarity: Floats


def tier_inputs(evidence: Evidence, tiers: Sequence[TierInfo]) -> TierInputs:
    """Return what the network is told of each tier, (..., T): evidence, with the tier's size as a prior beside it."""
    prior, prior_ms = _priors(tuple(tiers))
    known = ~np.isnan(evidence.broad_quality)
    by_near, by_broad, by_words = VIEWS
    told = by_near * evidence.near_quality + by_broad * evidence.broad_quality + by_words * evidence.lexical_quality
    said = np.where(known, told, prior)
    weight = evidence.count + known  # a tier's mean is worth one more outcome, also where no neighbour tells
    quality = (weight * said + PRIOR_COUNT * prior) / (weight + PRIOR_COUNT)
    latency = np.where(np.isnan(evidence.latency_ms), prior_ms, evidence.latency_ms)
    near, lexical, base = logit(np.stack([evidence.near_quality, evidence.lexical_quality, said]))
    numbers = np.empty((*said.shape, NUM_EVIDENCE), np.float32)
    numbers[..., 0] = near - base
    numbers[..., 1] = lexical - base
    numbers[..., :2] = np.minimum(np.maximum(numbers[..., :2], -MAX_NUDGE), MAX_NUDGE)
    numbers[..., 2] = np.log1p(evidence.count) / 3.0 - 1.0
    numbers[..., 3] = 2.0 * evidence.spread
    numbers[..., 4] = 2.0 * evidence.nearest_similarity[..., np.newaxis] - 1.0
    numbers[np.isnan(numbers)] = 0.0
    return TierInputs(quality.astype(np.float32), latency.astype(np.float32), numbers)


@lru_cache(maxsize=16)
def _priors(tiers: tuple[TierInfo, ...]) -> tuple[Floats, Floats]:
    """Return the quality and the latency, (T,) each, that the tiers' sizes promise."""
    slow = [UNKNOWN_MS if t.parameters is None or not t.is_local else SPEED_MS * t.parameters for t in tiers]
    return np.array([prior_quality(tier) for tier in tiers], np.float32), np.array(slow, np.float32)


def familiarity(nearest: npt.NDArray[np.floating], quantiles: Floats) -> Floats:
    """Return how like the training questions a question is, in [0, 1]: 1 above their lowest `NOVEL`.

    Args:
        nearest: (...) cosine of its nearest logged question.
        quantiles: (k,) ascending, of that cosine among the training questions; nothing is familiar when empty.
    """
    share = np.searchsorted(quantiles, nearest, side="right") / max(len(quantiles), 1)
    return np.minimum(share / NOVEL, 1.0).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """A trained router. Its parts never change; what is learnt later is another one.

    Attributes:
        trained: of the network, dense layout.
        embedding_map: principal components and clusters that its features were made with.
        calibrations: one a tier, of quality. mean_quality: (T,) of the training rows, for what is not familiar.
        confidence: calibration of the confidence.
        nearest: (k,) quantiles of the nearest cosine among the training questions.
        context_labels: how many answers told what context they needed.
        among: the tiers it was trained with, which sizes and costs are seen against.
    """

    tiers: tuple[TierInfo, ...]
    trained: Trained
    embedding_map: EmbeddingMap
    calibrations: tuple[Calibration, ...]
    confidence: Calibration
    mean_quality: Floats
    nearest: Floats
    context_labels: int = 0
    among: tuple[TierInfo, ...] = ()
    model: RouterModel = field(init=False, repr=False)
    judge: Judge = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "among", self.among or self.tiers)
        model = RouterModel(self.tiers, w_support=self.trained.w_support, among=self.among)
        model.cell.set_params(_packed(self.trained, RouterModel(self.tiers)))
        object.__setattr__(self, "model", model)
        judge = Judge(model, self.calibrations, self.confidence, self.mean_quality, self.nearest, self.context_labels)
        object.__setattr__(self, "judge", judge)

    def sha256(self) -> str:
        """Return what names this router: a hash of everything it decides by."""
        digest = hashlib.sha256(repr((FEATURE_VERSION, self.tiers, self.about())).encode())
        for name, array in sorted((self.arrays() | {"params": self.trained.params}).items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of a checkpoint beside the parameters."""
        return {
            "w_support": self.trained.w_support,
            "first_moment": self.trained.first_moment,
            "second_moment": self.trained.second_moment,
            "embedding_map": self.embedding_map.to_array(),
            "mean_quality": self.mean_quality,
            "nearest": self.nearest,
        }

    def about(self) -> dict[str, Any]:
        """Return what a checkpoint says beside its arrays, fit for JSON."""
        return {
            "feature_version": FEATURE_VERSION,
            "tiers": [[t.name, t.parameters, t.cost, t.is_local] for t in self.tiers],
            "among": [[t.name, t.parameters, t.cost, t.is_local] for t in self.among],
            "calibrations": [one.to_dict() for one in self.calibrations],
            "confidence": self.confidence.to_dict(),
            "context_labels": self.context_labels,
            "step": self.trained.step,
            "rho": self.trained.rho,
            "sigma": self.trained.sigma,
            "losses": list(self.trained.losses),
        }

    @classmethod
    def restored(cls, params: Floats, arrays: Mapping[str, npt.NDArray[Any]], about: Mapping[str, Any]) -> Learnt:
        """Return the router that a checkpoint holds.

        Raises:
            ValueError: it is damaged, or of features of another version.
        """
        if about.get("feature_version") != FEATURE_VERSION:
            raise ValueError(
                f"the router knows features of version {FEATURE_VERSION} ({about.get('feature_version')!r})"
            )
        try:
            trained = Trained(
                params=params,
                w_support=np.asarray(arrays["w_support"], np.bool_),
                first_moment=np.asarray(arrays["first_moment"], np.float32),
                second_moment=np.asarray(arrays["second_moment"], np.float32),
                step=int(about["step"]),
                rho=float(about["rho"]),
                sigma=float(about.get("sigma", 0.0)),  # checkpoints of before have none
                losses=tuple(about["losses"]),
            )
            learnt = cls(
                tiers=tuple(TierInfo(*fields) for fields in about["tiers"]),
                trained=trained,
                embedding_map=EmbeddingMap.from_array(np.asarray(arrays["embedding_map"], np.float32)),
                calibrations=tuple(Calibration.from_dict(one) for one in about["calibrations"]),
                confidence=Calibration.from_dict(about["confidence"]),
                mean_quality=np.asarray(arrays["mean_quality"], np.float32),
                nearest=np.asarray(arrays["nearest"], np.float32),
                context_labels=int(about["context_labels"]),
                among=tuple(TierInfo(*fields) for fields in about["among"]),
            )
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(f"the router's checkpoint is damaged: {error!r}") from error
        mean, nearest, num_tiers = learnt.mean_quality, learnt.nearest, len(learnt.tiers)
        is_sound = (
            mean.shape == (num_tiers,)
            and len(learnt.calibrations) == num_tiers
            and bool(((mean >= 0.0) & (mean <= 1.0)).all())
            and nearest.ndim == 1
            and bool((np.diff(nearest) >= 0.0).all())
        )
        if not is_sound:
            raise ValueError("the router's checkpoint is damaged: its parts do not fit each other")
        return learnt


def estimates(learnt: Learnt, judged: Judgement, nearest: npt.NDArray[np.floating]) -> Estimates:
    """Return the calibrated estimates; what is not familiar is drawn to the tiers' means."""
    known = familiarity(nearest, learnt.nearest)
    raw = sigmoid(judged.quality_logit).astype(np.float64)
    quality = np.stack([one.apply(raw[..., i]) for i, one in enumerate(learnt.calibrations)], axis=-1)
    share = np.asarray(known)[..., np.newaxis]
    quality = share * quality + (1.0 - share) * learnt.mean_quality
    return Estimates(
        quality=quality.astype(np.float32),
        latency_ms=np.exp(judged.log_latency),
        confidence=learnt.confidence.apply(judged.confidence.astype(np.float64)).astype(np.float32),
        familiarity=known,
    )


def _packed(trained: Trained, dense: RouterModel) -> Floats:
    """Return the parameters in the layout of a model that is sparse: W without its zeros."""
    piece = dense.cell.layout["w"][0]
    w = trained.params[piece][trained.w_support.ravel()]
    packed: Floats = np.concatenate([trained.params[: piece.start], w, trained.params[piece.stop :]])
    return packed
