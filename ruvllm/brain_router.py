"""The router of one brain: fed by its log, asked by the pipeline."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ruvllm import models
from ruvllm.config import Config, ModelsConfig
from ruvllm.errors import ModelError
from ruvllm.inference.open import is_remote
from ruvllm.inference.runtime_engine import Probe
from ruvllm.memory import LoggedOutcomes, Memory
from ruvllm.router.features import FEATURE_VERSION, NUM_FEATURES, Machine, ProbeView, Retrieved, RouterInputs
from ruvllm.router.outcome_memory import OutcomeMemory
from ruvllm.router.outcomes import TierInfo
from ruvllm.router.policy import Policy
from ruvllm.router.router import Router
from ruvllm.routing import Asked, cost_of_tokens, shown
from ruvllm.types import Decision, NodeType

__all__ = ["BrainRouter", "inputs_of", "machine", "policy_of", "tiers_of"]

logger = logging.getLogger(__name__)

ORDINARY_TOKENS = 600  # prompt and answer of an ordinary question, for what a tier costs before it was asked


class BrainRouter:
    """Chooses who answers by what the brain's log says that tiers did. Safe to share between threads.

    The log is read at the first question; what is rated later counts from the next question on. What feedback takes
    back, without saying anything else, counts until the log is read again.

    Args:
        tiers: of `tiers_of`, at least two.
        seed: of all draws; another one every time when None.
    """

    def __init__(self, memory: Memory, tiers: Sequence[TierInfo], config: Config, *, seed: int | None = None) -> None:
        self._memory = memory
        self._tiers = tuple(tiers)
        self._names = [tier.name for tier in tiers]
        self._config = config.router
        self._policy = policy_of(config, self._names)
        self._seeds = np.random.SeedSequence(seed)
        self._coin = np.random.default_rng(self._seeds.spawn(1)[0])
        self._router: Router | None = None
        self._is_stale = False
        self._lock = threading.Lock()

    def decide(self, asked: Asked, *, probe: Callable[[], tuple[Probe, int] | None]) -> Decision:
        """Return the choice, and by a coin that knows nothing of the question whether every tier answers it."""
        router = self._ready(len(asked.vector))
        with self._lock:
            calibrates = bool(self._coin.random() < self._config.calibrate)

        def view() -> ProbeView | None:
            seen = probe()
            return None if seen is None else _view(*seen)

        decision = router.decide(
            replace(inputs_of(asked), default_tier=self._policy.safe_default),
            asked.constraints,
            session=asked.session,
            probe=view if self._config.probe else None,
        )
        return replace(decision, calibrates=calibrates)

    def heard(self, id: str) -> None:
        """Let what was said about one answer count."""
        router = self._router
        if router is None or self._is_stale:
            return
        logged = self._logged(id)
        if len(logged) and logged.vectors.shape[1] != router.memory.native_dim:  # the brain has moved
            self._is_stale = True
        else:
            _remember(router.memory, logged)

    def forget(self) -> None:
        """Read the log anew before the next question."""
        self._is_stale = True

    def _ready(self, native_dim: int) -> Router:
        with self._lock:
            if self._router is None:
                seed = int(self._seeds.generate_state(1)[0])
                self._router = Router(self._tiers, self._read(native_dim), self._policy, seed=seed)
            elif self._is_stale or self._router.memory.native_dim != native_dim:
                self._is_stale = False
                self._router.memory = self._read(native_dim)
            return self._router

    def _read(self, native_dim: int) -> OutcomeMemory:
        memory = OutcomeMemory(self._tiers, native_dim)
        _remember(memory, self._logged())
        logger.info("the router knows %d questions", len(memory))
        return memory

    def _logged(self, id: str | None = None) -> LoggedOutcomes:
        return self._memory.logged_outcomes(
            self._names, num_features=NUM_FEATURES, feature_version=FEATURE_VERSION, id=id
        )


def _remember(memory: OutcomeMemory, logged: LoggedOutcomes) -> None:
    if len(logged):
        latency_ms = np.where(logged.latency_ms > 0.0, logged.latency_ms, np.float32(np.nan))
        memory.extend(logged.ids, logged.texts, logged.vectors, logged.quality, latency_ms)


def policy_of(config: Config, names: Sequence[str]) -> Policy:
    """Return how the configuration wants tiers chosen."""
    section = config.router
    return Policy(
        quality_floor=section.quality_floor,
        confidence_threshold=section.confidence_threshold,
        hysteresis=section.hysteresis,
        explore=section.explore,
        safe_default=names.index(shown(section.safe_default or config.generation.model)),
        certified=section.certified,
    )


def tiers_of(names: Sequence[str], config: ModelsConfig) -> tuple[TierInfo, ...]:
    """Return what is known of tiers before they are asked, in the given order.

    Cost is that of an ordinary question in the router's unit. A model whose size nobody tells, as an endpoint's, is
    counted as twice the tier before it: tiers are listed by their cost.
    """
    tiers: list[TierInfo] = []
    for name in names:
        parameters = _parameters(name, config)
        if parameters is None:
            cost = 2.0 * tiers[-1].cost if tiers else 1.0
        else:
            cost = cost_of_tokens(ORDINARY_TOKENS, parameters)
        tiers.append(TierInfo(shown(name), parameters, cost, is_local=not is_remote(name)))
    return tuple(tiers)


def _parameters(name: str, config: ModelsConfig) -> int | None:
    if is_remote(name):
        return None
    try:
        return models.read_card(models.find(name, config, task="generate")).parameters
    except ModelError:  # not pulled yet
        entry = models.catalogue().get(name.partition("@")[0])
        return None if entry is None else entry.parameters


def inputs_of(asked: Asked) -> RouterInputs:
    """Return what features are made of, all but evidence and probe."""
    hits = asked.hits
    retrieved = Retrieved(
        similarities=np.array([hit.similarity or 0.0 for hit in hits], np.float32),
        hops=np.array([hit.hops for hit in hits], np.int64),
        weights=np.array([hit.score for hit in hits], np.float32),
        is_concept=np.array([hit.node.type == NodeType.CONCEPT for hit in hits], np.bool_),
        num_edges=asked.hit_links,
        vectors=asked.hit_vectors,
    )
    return RouterInputs(
        text=asked.query,
        turn_index=asked.turn,
        user_questions=asked.turn,
        vector=asked.vector,
        retrieved=retrieved,
        constraints=asked.constraints,
        machine=machine(),
    )


def _view(probe: Probe, num_tokens: int) -> ProbeView:
    return ProbeView(probe.top_probability, probe.margin, probe.entropy, probe.prompt_logprob, num_tokens)


def machine() -> Machine | None:
    """Return how busy this machine is; None where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            told = dict(line.split(":", 1) for line in file)
        free, total = (int(told[name].split()[0]) for name in ("MemAvailable", "MemTotal"))
        load = os.getloadavg()[0]
    except (OSError, KeyError, ValueError):
        return None
    cores = os.cpu_count() or 1
    return Machine(free_memory=free / total, load=load / cores, num_cores=cores)
