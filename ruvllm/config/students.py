"""Training on what was asked: traces, students, their trial."""

from __future__ import annotations

from typing import Literal

from ruvllm.config.section import Section, require

__all__ = ["RolloutConfig", "TrainingConfig", "TuningConfig"]


class TuningConfig(Section, frozen=True):
    """What students are trained on; see docs/tuning/traces.md."""

    traces: bool = True  # keep what models were sent, until it is keep_days old or a text in it is forgotten
    namespaces: tuple[str, ...] = ("default",)  # of which; what one teaches, a student says in all of them
    keep_days: float = 365.0
    # Take addresses, numbers of people and secrets out of what is trained on: needs the extra `pii`. Names of people
    # stay in.
    redact: bool = False
    window_days: float = 90.0  # before the newest trace
    min_quality: float = 0.7
    preference_margin: float = 0.2  # of quality between the answers of a pair

    def __post_init__(self) -> None:
        require(all(self.namespaces), "tuning.namespaces must not hold an empty name")
        for name in ("keep_days", "window_days"):
            value = getattr(self, name)
            require(0.0 < value < float("inf"), f"tuning.{name} must be > 0 ({value})")
        require(0.0 <= self.min_quality <= 1.0, f"tuning.min_quality must be in [0, 1] ({self.min_quality})")
        margin = self.preference_margin
        require(0.0 < margin <= 1.0, f"tuning.preference_margin must be in (0, 1] ({margin})")

    def learns_from(self, namespace: str) -> bool:
        """Return whether requests of a namespace are kept for training."""
        return self.traces and namespace in self.namespaces


class TrainingConfig(Section, frozen=True):
    """How students are trained; see docs/tuning/training.md."""

    schedule: Literal["off", "daily", "weekly"] = "off"  # beside a serving process; `ruvllm tune --schedule` overrides
    base: str = ""  # a catalogue name or a Hugging Face folder; "" = the model of the tier
    minutes: float = 60.0  # for the steps of one run; 0 = no limit
    threads: int = 0  # 0 = half of the processors: the other half serves
    epochs: float = 2.0
    batch_size: int = 16
    learning_rate: float = 2e-4
    rank: int = 16  # of the adapters; their scale is 2
    dropout: float = 0.05
    targets: tuple[str, ...] = ()  # layers with adapters; () = every linear one
    blocks: int = 0  # the last so many have adapters; 0 = all: fewer cost less, as gradients stop at the first of them
    max_tokens: int = 1024  # longer examples are left out
    held_out: float = 0.1  # share of the examples that only measures, for early stopping
    holdout: float = 0.2  # share of the questions, by their hash, that no student sees: it is validated on them
    patience: int = 3  # looks at the held-out loss without a better one, before a phase ends
    # Plain text, a paragraph a line, on which the student is held to what the base says, so that little is forgotten;
    # "" = the brain's own documents, where they are enough. `anchor` weighs the divergence, in nats a token, beside the
    # loss of the examples.
    general: str = ""
    anchor: float = 5.0
    dpo: bool = False  # a second phase, on preferences
    dpo_beta: float = 0.1
    dpo_learning_rate: float = 2e-5
    quantization: Literal["int8", "int4", "float32"] = "int8"  # of the finished student
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("minutes", "learning_rate", "anchor", "dpo_learning_rate", "dpo_beta"):
            value = getattr(self, name)
            require(0.0 <= value < float("inf"), f"training.{name} must be >= 0 ({value})")
        require(0.0 < self.epochs <= 100.0, f"training.epochs must be in (0, 100] ({self.epochs})")
        for name in ("batch_size", "rank", "max_tokens", "patience"):
            require(getattr(self, name) >= 1, f"training.{name} must be >= 1 ({getattr(self, name)})")
        for name in ("threads", "blocks"):
            require(getattr(self, name) >= 0, f"training.{name} must be >= 0 ({getattr(self, name)})")
        for name in ("dropout", "held_out", "holdout"):
            value = getattr(self, name)
            require(0.0 <= value < 1.0, f"training.{name} must be in [0, 1) ({value})")


class RolloutConfig(Section, frozen=True):
    """When a student may take over; see docs/tuning/validation.md for what these numbers cost in requests."""

    shadow_requests: int = 2000  # answered by both models before a student answers anybody
    canary_share: float = 0.1  # of sessions that the student answers after that
    canary_requests: int = 1000  # answered by it before it may take over
    max_requests: int = 20_000  # of a student in one phase without a decision: the control stays
    alpha: float = 0.05  # how often a phase ends wrongly, however often one looks
    # A student that is proven worse at all is not promoted; one that is to be promoted must be proven not worse by:
    quality_margin: float = 0.02  # in the shadow phase
    canary_margin: float = 0.05  # in the canary phase, where two groups of people are compared
    failure_margin: float = 0.01
    latency_ratio: float = 1.2  # p50 and p95; above it is a regression

    def __post_init__(self) -> None:
        for name in ("shadow_requests", "canary_requests", "max_requests"):
            require(getattr(self, name) >= 1, f"rollout.{name} must be >= 1 ({getattr(self, name)})")
        enough = self.max_requests >= max(self.shadow_requests, self.canary_requests)
        require(enough, f"rollout.max_requests must not be below those of a phase ({self.max_requests})")
        for name in ("canary_share", "alpha"):
            require(0.0 < getattr(self, name) < 1.0, f"rollout.{name} must be in (0, 1) ({getattr(self, name)})")
        for name in ("quality_margin", "canary_margin", "failure_margin"):
            require(0.0 <= getattr(self, name) < 1.0, f"rollout.{name} must be in [0, 1) ({getattr(self, name)})")
        require(1.0 <= self.latency_ratio < 100.0, f"rollout.latency_ratio must be in [1, 100) ({self.latency_ratio})")
