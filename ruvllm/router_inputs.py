"""What a router is told: its settings, its tiers, one request, the machine."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from ruvllm import models
from ruvllm.config import Config, ModelsConfig, RouterConfig
from ruvllm.errors import ModelError
from ruvllm.inference.open import is_remote
from ruvllm.inference.runtime_engine import Probe
from ruvllm.router.features import Machine, ProbeView, Retrieved, RouterInputs
from ruvllm.router.outcomes import TierInfo
from ruvllm.router.policy import Policy
from ruvllm.router.training import TrainingConfig
from ruvllm.routing import Asked, cost_of_tokens, shown
from ruvllm.types import NodeType

__all__ = ["files_of", "inputs_of", "machine", "policy_of", "tiers_of", "training_of", "view_of"]

EWC_LAMBDA = 0.04  # beside replay, where a log is so long that training goes on from what is in force
ORDINARY_TOKENS = 600  # prompt and answer of an ordinary question, for what a tier costs before it was asked


def training_of(section: RouterConfig) -> TrainingConfig:
    """Return how the configuration wants the router trained."""
    return TrainingConfig(
        cost_weight=section.cost_weight,
        latency_weight=section.latency_weight,
        quality_floor=section.quality_floor,
        latency_sla_ms=section.latency_sla_ms,
        ewc_lambda=EWC_LAMBDA,
    )


def policy_of(config: Config, names: Sequence[str]) -> Policy:
    """Return how the configuration wants tiers chosen."""
    section = config.router
    return Policy(
        quality_floor=section.quality_floor,
        confidence_threshold=section.confidence_threshold,
        hysteresis=section.hysteresis,
        explore=section.explore,
        safe_default=names.index(shown(section.safe_default or config.generation.model)),
        max_latency_ms=section.latency_sla_ms or None,
        cost_budget=section.cost_budget or None,
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


def files_of(name: str, config: ModelsConfig) -> str:
    """Return the hashes of a model's files; "" for an endpoint and for what is not there yet."""
    if is_remote(name):
        return ""
    try:
        files = models.read_card(models.find(name, config, task="generate")).files
    except ModelError:
        return ""
    return ",".join(f"{file}:{record.sha256}" for file, record in sorted(files.items()))


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


def view_of(probe: Probe, num_tokens: int) -> ProbeView:
    """Return what an engine made of the start of a question, as features take it."""
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
