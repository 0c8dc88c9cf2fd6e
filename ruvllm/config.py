"""One configuration tree: defaults, then `ruvllm.toml`, then RUVLLM_* environment variables, then arguments."""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import platformdirs

__all__ = [
    "CacheConfig",
    "CompressionConfig",
    "Config",
    "EmbeddingConfig",
    "GenerationConfig",
    "IndexConfig",
    "IngestConfig",
    "JudgeConfig",
    "LearningConfig",
    "LimitsConfig",
    "LinkingConfig",
    "ModelsConfig",
    "RetrievalConfig",
    "RolloutConfig",
    "RouterConfig",
    "SessionsConfig",
    "SignalsConfig",
    "StoreConfig",
    "TelemetryConfig",
    "TrainingConfig",
    "TuningConfig",
    "WorkerConfig",
    "cache_dir",
    "load_config",
    "signing_key_file",
    "without_userinfo",
]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


def _require(statement: bool, message: str) -> None:
    if not statement:
        raise ValueError(message)


class ModelsConfig(_Section, frozen=True):
    """Where models live, whether the network may be used, and which readers share the memory."""

    cache_dir: str = ""  # "" = RUVLLM_CACHE, else the platform's cache folder
    offline: bool = False
    auto_pull: bool = True  # fetch a missing catalogue model at first use
    tiers: tuple[str, ...] = ()  # readers named like generation.model, the cheapest first; empty = that one alone
    budget_bytes: int = 0  # what all loaded readers may hold, their caches included; 0 = no limit
    # Of a name without "@", the first that fits is opened. float32 is asked for by name: it answers like int8 and
    # takes four times as long.
    quantizations: tuple[Literal["float32", "int8", "int4"], ...] = ("int8", "int4")

    def __post_init__(self) -> None:
        _require(all(self.tiers), "models.tiers must not hold an empty name")
        _require(len(set(self.tiers)) == len(self.tiers), f"models.tiers must not repeat a name ({self.tiers})")
        _require(self.budget_bytes >= 0, f"models.budget_bytes must be >= 0, 0 = no limit ({self.budget_bytes})")
        _require(bool(self.quantizations), "models.quantizations must not be empty")


class EmbeddingConfig(_Section, frozen=True):
    """Text to vectors."""

    model: str = "minilm-l6"
    dim: int = 384  # below the model's own: PCA of the brain's texts (a seeded Gaussian until there are 2,000)
    max_tokens: int = 256
    num_threads: int = 0  # 0 = every core

    def __post_init__(self) -> None:
        _require(bool(self.model), "embedding.model must not be empty")
        _require(self.dim >= 8, f"embedding.dim must be >= 8 ({self.dim})")
        _require(8 <= self.max_tokens <= 512, f"embedding.max_tokens must be in [8, 512] ({self.max_tokens})")
        _require(self.num_threads >= 0, f"embedding.num_threads must be >= 0, 0 = every core ({self.num_threads})")


class GenerationConfig(_Section, frozen=True):
    """The reader."""

    model: str = "smollm2-135m"  # a catalogue name, a model directory, or http(s)://host/v1#model
    engine: Literal["runtime", "ctranslate2"] = "runtime"  # of local models; CTranslate2 runs neither LFM2 nor int4
    context_tokens: int = 0  # longest prompt; 0 = by the reader's size: from 512 below 300 M parameters, else 2048
    max_new_tokens: int = 96
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.15  # small readers loop without it
    min_confidence: float = 0.6  # below it `ask` quotes the best passage instead
    # 0 = every core: each reads its share of the weights, which is what decoding waits for. CTranslate2 loses more than
    # that where its threads meet: with it, 1 is fastest for small models.
    num_threads: int = 0
    kv: Literal["float32", "int8"] = "float32"  # keys and values of the runtime; int8 takes a quarter of the memory
    timeout_s: float = 120.0  # longest silence of a remote endpoint; longest wait for the session's earlier request
    api_key: str = ""  # remote endpoints: best given as RUVLLM_GENERATION__API_KEY; shown nowhere

    def __post_init__(self) -> None:
        _require(bool(self.model), "generation.model must not be empty")
        _require(
            self.context_tokens == 0 or self.context_tokens >= 128,
            f"generation.context_tokens must be 0 or >= 128 ({self.context_tokens})",
        )
        _require(self.max_new_tokens >= 1, f"generation.max_new_tokens must be >= 1 ({self.max_new_tokens})")
        _require(0.0 <= self.temperature <= 2.0, f"generation.temperature must be in [0, 2] ({self.temperature})")
        _require(self.top_k >= 0, f"generation.top_k must be >= 0 ({self.top_k})")
        _require(0.0 < self.top_p <= 1.0, f"generation.top_p must be in (0, 1] ({self.top_p})")
        _require(0.0 <= self.min_p <= 1.0, f"generation.min_p must be in [0, 1] ({self.min_p})")
        _require(self.repetition_penalty > 0.0, "generation.repetition_penalty must be > 0")
        _require(self.num_threads >= 0, f"generation.num_threads must be >= 0, 0 = every core ({self.num_threads})")
        _require(0.0 <= self.min_confidence <= 1.0, "generation.min_confidence must be in [0, 1]")
        _require(self.timeout_s > 0, "generation.timeout_s must be > 0")

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        hidden = {"model": without_userinfo(self.model)} | ({"api_key": "***"} if self.api_key else {})
        return [(name, hidden.get(name, getattr(self, name))) for name in self.__struct_fields__]

    def __repr__(self) -> str:
        return f"GenerationConfig({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


class IngestConfig(_Section, frozen=True):
    """Documents to chunks."""

    chunk_tokens: int = 200  # the context prefix included, so that MiniLM's 256 are never exceeded
    max_file_bytes: int = 32 * 1024 * 1024

    def __post_init__(self) -> None:
        _require(self.chunk_tokens >= 32, f"ingest.chunk_tokens must be >= 32 ({self.chunk_tokens})")
        _require(self.max_file_bytes >= 1, f"ingest.max_file_bytes must be >= 1 ({self.max_file_bytes})")


class LinkingConfig(_Section, frozen=True):
    """Which links form by themselves when documents come in."""

    names: bool = True  # Cites: a text mentions the title, heading or subject of another
    shared_names: bool = True  # SharedName: two texts mention the same rare name or term
    contains: bool = True  # Contains: a section's first chunk and the others
    same_topic: float = 0.75  # SameTopic: mutual neighbours of at least this cosine; 1 links none
    neighbours: int = 3  # SameTopic links of one node, at most

    def __post_init__(self) -> None:
        _require(0.0 <= self.same_topic <= 1.0, f"linking.same_topic must be in [0, 1] ({self.same_topic})")
        _require(0 <= self.neighbours <= 64, f"linking.neighbours must be in [0, 64] ({self.neighbours})")


class IndexConfig(_Section, frozen=True):
    """The vector index."""

    kind: Literal["hnswlib", "faiss-sq8"] = "hnswlib"  # the second, of extra `faiss`, keeps vectors in 8 bits
    m: int = 32
    ef_construction: int = 200
    ef_search: int = 100
    exact_below: int = 10_000  # fewer live vectors than this are searched exactly (about 0.5 ms)

    def __post_init__(self) -> None:
        is_there = self.kind != "faiss-sq8" or importlib.util.find_spec("faiss") is not None
        _require(is_there, "index.kind faiss-sq8 needs faiss: pip install 'ruvllm[faiss]'")
        enough = self.kind != "faiss-sq8" or self.exact_below >= 256
        _require(enough, "index.exact_below must be >= 256 for faiss-sq8, which learns its range from so many vectors")
        _require(2 <= self.m <= 128, f"index.m must be in [2, 128] ({self.m})")
        _require(self.ef_construction >= self.m, "index.ef_construction must be >= index.m")
        _require(self.ef_search >= 1, "index.ef_search must be >= 1")


class RetrievalConfig(_Section, frozen=True):
    """What is looked for and shown."""

    k: int = 5  # sources shown to the model
    candidates: int = 40  # taken from each of vector and keyword search
    rrf_k: int = 60  # reciprocal rank fusion, Cormack et al. 2009
    hops: int = 2  # edges followed from what the question names; one from what it only resembles
    strong: int = 10  # best of the fused ranking whose neighbours are looked at
    max_nodes: int = 256  # looked at around them
    fan_out: int = 16  # heaviest edges of one node that are followed
    source_share: float = 0.8  # of the hits that one document may fill while others have something to say
    concept_share: float = 0.1  # of the hits that concepts may fill, rounded up, where no boost was asked for
    duplicate_similarity: float = 0.85  # MinHash Jaccard above which a source repeats another

    def __post_init__(self) -> None:
        _require(1 <= self.k <= 100, f"retrieval.k must be in [1, 100] ({self.k})")
        _require(self.candidates >= self.k, "retrieval.candidates must be >= retrieval.k")
        _require(0 <= self.hops <= 4, f"retrieval.hops must be in [0, 4] ({self.hops})")
        _require(1 <= self.strong <= 100, f"retrieval.strong must be in [1, 100] ({self.strong})")
        _require(16 <= self.max_nodes <= 4096, f"retrieval.max_nodes must be in [16, 4096] ({self.max_nodes})")
        _require(1 <= self.fan_out <= 256, f"retrieval.fan_out must be in [1, 256] ({self.fan_out})")
        _require(0.0 < self.source_share <= 1.0, "retrieval.source_share must be in (0, 1]")
        _require(0.0 <= self.concept_share <= 1.0, "retrieval.concept_share must be in [0, 1]")
        _require(self.rrf_k >= 1, f"retrieval.rrf_k must be >= 1 ({self.rrf_k})")
        _require(0.0 < self.duplicate_similarity <= 1.0, "retrieval.duplicate_similarity must be in (0, 1]")


class StoreConfig(_Section, frozen=True):
    """Durability."""

    flush_interval_s: float = 0.2  # what a crash can lose of queued records of answered requests
    flush_batch: int = 64  # records that are committed together; so many do not wait for the interval
    writeback_min_quality: float = 0.5  # answers held to be worse (docs/judge.md) are kept, but not found again
    max_query_chars: int = 20_000
    history_days: float = 365.0  # how long what was replaced is kept for questions about the past; `compact` deletes it

    def __post_init__(self) -> None:
        _require(self.history_days >= 0, f"store.history_days must be >= 0 ({self.history_days})")
        _require(self.flush_interval_s > 0, "store.flush_interval_s must be > 0")
        _require(self.flush_batch >= 1, f"store.flush_batch must be >= 1 ({self.flush_batch})")
        _require(
            0.0 <= self.writeback_min_quality <= 1.0,
            f"store.writeback_min_quality must be in [0, 1] ({self.writeback_min_quality})",
        )


class LearningConfig(_Section, frozen=True):
    """What outcomes and time do to edges. Structure (Follows, Contains, Derived) never fades: it stays true."""

    eta: float = 0.1  # learning rate: the best outcome closes a tenth of the gap to 1
    max_move_per_day: float = 0.2  # how far one rater may move one edge in a UTC day
    # Half-lives without use, 0 = never. What an author wrote stays true for long; that two texts look alike, or that an
    # agent once went from one to the other, is a guess that use has to confirm.
    cites_half_life_days: float = 365.0
    shared_name_half_life_days: float = 365.0
    same_topic_half_life_days: float = 180.0
    agent_step_half_life_days: float = 90.0

    def __post_init__(self) -> None:
        _require(0.0 <= self.eta <= 1.0, f"learning.eta must be in [0, 1] ({self.eta})")
        _require(
            0.0 < self.max_move_per_day <= 1.0, f"learning.max_move_per_day must be in (0, 1] ({self.max_move_per_day})"
        )
        for name in ("cites", "shared_name", "same_topic", "agent_step"):
            days = getattr(self, f"{name}_half_life_days")
            _require(
                days == 0.0 or 1e-3 <= days <= 1e6,
                f"learning.{name}_half_life_days must be 0 = never, or in [0.001, 1e6] ({days})",
            )


class SignalsConfig(_Section, frozen=True):
    """What people do after an answer, read as weak evidence against it by `learn`; whatever they say counts instead.

    Somebody who asks nearly the same again soon was not helped, perhaps; going away afterwards says so once more. Going
    away alone says nothing: a good answer ends a conversation, too.
    """

    enabled: bool = False
    rephrase_within_s: float = 120.0
    rephrase_similarity: float = 0.8  # cosine of the two questions, at least
    abandon_after_s: float = 1800.0
    weight: float = 0.2  # of what a rating of 1 would move

    def __post_init__(self) -> None:
        for name in ("rephrase_within_s", "abandon_after_s"):
            value = getattr(self, name)
            _require(0.0 < value < float("inf"), f"signals.{name} must be > 0 ({value})")
        similarity = self.rephrase_similarity
        _require(0.0 < similarity <= 1.0, f"signals.rephrase_similarity must be in (0, 1] ({similarity})")
        _require(0.0 < self.weight <= 0.5, f"signals.weight must be in (0, 0.5] ({self.weight})")


class RouterConfig(_Section, frozen=True):
    """Which of models.tiers answers; without effect while there is one."""

    enabled: bool = True  # False: generation.model answers everything
    quality_floor: float = 0.5  # the least quality, of what ratings and tasks say, that an answer should have
    cost_weight: float = (
        0.05  # quality that a cost of 1 must buy; between tiers that differ by 1 B parameters, 5 points
    )
    latency_weight: float = 0.1  # quality that an answer twice as late as the SLA loses
    latency_sla_ms: float = 0.0  # the latest that an answer may come; 0 = none
    cost_budget: float = 0.0  # mean cost of all requests, see docs/router.md for the unit; 0 = none
    # Certified mode promises: with certificate_confidence, at most a share `risk` of the answers misses the floor where
    # the largest tier would have met it. Without calibration data that proves it, the largest tier answers.
    certified: bool = False
    loss: Literal["harm", "absolute"] = "harm"  # "absolute": misses count also where the largest tier misses, too
    risk: float = 0.05
    certificate_confidence: float = 0.9
    safe_default: str = ""  # one of models.tiers, for what the router is not sure of; "" = generation.model
    confidence_threshold: float = 0.5  # less sure than that, the safe default answers
    explore: float = 0.02  # share of the requests whose tier is drawn to learn from it
    # Share of the requests whose temperature and top_p are drawn to learn from it, while `explore` is not 0; others
    # keep those of [generation] until 500 rated draws prove a gain. 0 = never, as in certified mode.
    explore_sampling: float = 0.01
    # Share of the requests that every tier answers, by a coin that falls before the first answer. The others' answers
    # are made while no request runs; those that a process leaves behind when it ends are missing. What is calibrated on
    # anything else promises nothing: at 0, certified mode stays at the largest tier.
    calibrate: float = 0.01
    hysteresis: float = 0.05  # by which another tier's score must be better before a session changes over
    # Let the smallest local tier read the start of a question that is not clear otherwise: tens of milliseconds. On the
    # three models measured (docs/router.md) it told nothing that the question did not.
    probe: bool = False
    # Of one rater's qualities of one UTC day, training reads at most so many, drawn by the answers' ids, which no rater
    # chooses: who rates everything the same moves the router no further.
    max_labels_per_day: int = 200

    def __post_init__(self) -> None:
        for name in ("quality_floor", "confidence_threshold", "explore", "explore_sampling", "calibrate", "hysteresis"):
            _require(0.0 <= getattr(self, name) <= 1.0, f"router.{name} must be in [0, 1] ({getattr(self, name)})")
        for name in ("risk", "certificate_confidence"):
            _require(0.0 < getattr(self, name) < 1.0, f"router.{name} must be in (0, 1) ({getattr(self, name)})")
        for name in ("cost_weight", "latency_weight", "latency_sla_ms", "cost_budget"):
            value = getattr(self, name)
            _require(0.0 <= value < float("inf"), f"router.{name} must be >= 0 ({value})")
        _require(not (self.certified and self.cost_budget), "router.cost_budget cannot be kept in certified mode")
        _require(self.explore + self.calibrate <= 1.0, "router.explore and router.calibrate must not exceed 1 together")
        _require(self.max_labels_per_day >= 1, f"router.max_labels_per_day must be >= 1 ({self.max_labels_per_day})")


class LimitsConfig(_Section, frozen=True):
    """What one key may use in a minute, 0 = without limit; a minute's worth may be used at once."""

    requests_per_minute: float = 0.0  # more are refused: RateLimited
    tokens_per_minute: float = 0.0  # prompts and answers; charged afterwards, so that a debt may have to be waited for
    writebacks_per_minute: float = 0.0  # more are answered and not remembered

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            _require(0.0 <= value < float("inf"), f"limits.{name} must be >= 0, 0 = no limit ({value})")


class CacheConfig(_Section, frozen=True):
    """Answers given again. Off by default: an answer also depends on what ratings taught since, which none asks for."""

    enabled: bool = False
    max_entries: int = 1000
    max_bytes: int = 64 * 1024 * 1024
    # Cosine from which another wording of a question may have its answer, where numbers, negations and names in both
    # are the same; 0 = never. Two questions of a cosine of 0.97 may still ask for different things.
    similarity: float = 0.0

    def __post_init__(self) -> None:
        _require(self.max_entries >= 1, f"cache.max_entries must be >= 1 ({self.max_entries})")
        _require(self.max_bytes >= 1, f"cache.max_bytes must be >= 1 ({self.max_bytes})")
        _require(
            self.similarity == 0.0 or 0.5 <= self.similarity <= 1.0,
            f"cache.similarity must be 0 = never, or in [0.5, 1] ({self.similarity})",
        )


class SessionsConfig(_Section, frozen=True):
    """Conversations."""

    max_idle_days: float = 0.0  # `expire_sessions` deletes those not used for longer; 0 = never

    def __post_init__(self) -> None:
        _require(
            0.0 <= self.max_idle_days < float("inf"),
            f"sessions.max_idle_days must be >= 0, 0 = never ({self.max_idle_days})",
        )


class WorkerConfig(_Section, frozen=True):
    """What a brain that is open for writing learns by itself while nobody waits; see docs/learning.md."""

    enabled: bool = True
    start_after_s: float = 60.0  # after opening, so that a process that answers one question trains nothing
    idle_s: float = 1.0  # without a request, before a job begins
    cpu_share: float = 0.5  # of one processor that a job takes
    # Hours from the end of a job to its next beginning; 0 = only by `learn` and the like.
    attention_hours: float = 24.0
    attention_after_s: float = 10.0  # shortest time between trainings of the ranking after new outcomes; 0 = none
    router_hours: float = 24.0
    judge_hours: float = 24.0
    compression_hours: float = 1.0
    signals_hours: float = 1.0  # where [signals] is on
    sessions_hours: float = 24.0  # where sessions.max_idle_days is set
    decay_hours: float = 24.0
    index_hours: float = 24.0  # and whenever a fifth of it is deleted
    archival_hours: float = 0.0  # what is hardly used leaves search: somebody has to want that

    def __post_init__(self) -> None:
        for name in ("start_after_s", "idle_s", "attention_after_s"):
            value = getattr(self, name)
            _require(0.0 <= value < float("inf"), f"worker.{name} must be >= 0 ({value})")
        _require(0.01 <= self.cpu_share <= 1.0, f"worker.cpu_share must be in [0.01, 1] ({self.cpu_share})")
        for name in (field for field in self.__struct_fields__ if field.endswith("_hours")):
            hours = getattr(self, name)
            _require(
                hours == 0.0 or 0.001 <= hours <= 1e5,
                f"worker.{name} must be 0 = only on demand, or in [0.001, 1e5] ({hours})",
            )


class TelemetryConfig(_Section, frozen=True):
    """What is told to the outside; metrics and log records always are there for whoever asks."""

    traces: bool = False  # each request as OpenTelemetry spans, to the provider that the program has set

    def __post_init__(self) -> None:
        is_there = not self.traces or importlib.util.find_spec("opentelemetry") is not None
        _require(is_there, "telemetry.traces needs OpenTelemetry: pip install 'ruvllm[otel]'")


class CompressionConfig(_Section, frozen=True):
    """Which clusters become concepts, and who sums them up."""

    min_size: int = 3  # nodes of a cluster
    min_density: float = 0.5  # mean affinity of two of them: at 0.5, nine of ten CLINC150 requests share their intent
    changed_share: float = 0.2  # of a concept's members that may join or leave before it is written anew
    max_levels: int = 3  # of concepts of concepts
    summarize: bool = True  # False: the most central sentences of the members, without a model
    model: str = ""  # a name as in models.tiers; "" = the largest local tier

    def __post_init__(self) -> None:
        _require(self.min_size >= 2, f"compression.min_size must be >= 2 ({self.min_size})")
        for name in ("min_density", "changed_share"):
            value = getattr(self, name)
            _require(0.0 <= value <= 1.0, f"compression.{name} must be in [0, 1] ({value})")
        _require(1 <= self.max_levels <= 8, f"compression.max_levels must be in [1, 8] ({self.max_levels})")


class JudgeConfig(_Section, frozen=True):
    """Who says how good answers are."""

    enabled: bool = True  # every answer is judged by its signals: milliseconds, no model but the embedder
    # Ask a model, too: one of the readers' names, or "largest" for the last of models.tiers; it must keep to a JSON
    # schema. It takes as long as an answer does.
    llm: str = ""
    samples: int = 5  # other answers that `RuvLLM.judge(..., consistency=True)` compares

    def __post_init__(self) -> None:
        _require(1 <= self.samples <= 32, f"judge.samples must be in [1, 32] ({self.samples})")


class TuningConfig(_Section, frozen=True):
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
        _require(all(self.namespaces), "tuning.namespaces must not hold an empty name")
        for name in ("keep_days", "window_days"):
            value = getattr(self, name)
            _require(0.0 < value < float("inf"), f"tuning.{name} must be > 0 ({value})")
        _require(0.0 <= self.min_quality <= 1.0, f"tuning.min_quality must be in [0, 1] ({self.min_quality})")
        margin = self.preference_margin
        _require(0.0 < margin <= 1.0, f"tuning.preference_margin must be in (0, 1] ({margin})")

    def learns_from(self, namespace: str) -> bool:
        """Return whether requests of a namespace are kept for training."""
        return self.traces and namespace in self.namespaces


class TrainingConfig(_Section, frozen=True):
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
    # "" = none. `anchor` weighs the divergence, in nats a token, beside the loss of the examples.
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
            _require(0.0 <= value < float("inf"), f"training.{name} must be >= 0 ({value})")
        _require(0.0 < self.epochs <= 100.0, f"training.epochs must be in (0, 100] ({self.epochs})")
        for name in ("batch_size", "rank", "max_tokens", "patience"):
            _require(getattr(self, name) >= 1, f"training.{name} must be >= 1 ({getattr(self, name)})")
        for name in ("threads", "blocks"):
            _require(getattr(self, name) >= 0, f"training.{name} must be >= 0 ({getattr(self, name)})")
        for name in ("dropout", "held_out", "holdout"):
            value = getattr(self, name)
            _require(0.0 <= value < 1.0, f"training.{name} must be in [0, 1) ({value})")


class RolloutConfig(_Section, frozen=True):
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
            _require(getattr(self, name) >= 1, f"rollout.{name} must be >= 1 ({getattr(self, name)})")
        enough = self.max_requests >= max(self.shadow_requests, self.canary_requests)
        _require(enough, f"rollout.max_requests must not be below those of a phase ({self.max_requests})")
        for name in ("canary_share", "alpha"):
            _require(0.0 < getattr(self, name) < 1.0, f"rollout.{name} must be in (0, 1) ({getattr(self, name)})")
        for name in ("quality_margin", "canary_margin", "failure_margin"):
            _require(0.0 <= getattr(self, name) < 1.0, f"rollout.{name} must be in [0, 1) ({getattr(self, name)})")
        _require(1.0 <= self.latency_ratio < 100.0, f"rollout.latency_ratio must be in [1, 100) ({self.latency_ratio})")


class Config(_Section, frozen=True):
    """The whole tree; each component receives its own section."""

    models: ModelsConfig = ModelsConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()
    generation: GenerationConfig = GenerationConfig()
    ingest: IngestConfig = IngestConfig()
    linking: LinkingConfig = LinkingConfig()
    index: IndexConfig = IndexConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    store: StoreConfig = StoreConfig()
    learning: LearningConfig = LearningConfig()
    signals: SignalsConfig = SignalsConfig()
    router: RouterConfig = RouterConfig()
    limits: LimitsConfig = LimitsConfig()
    cache: CacheConfig = CacheConfig()
    sessions: SessionsConfig = SessionsConfig()
    worker: WorkerConfig = WorkerConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    compression: CompressionConfig = CompressionConfig()
    judge: JudgeConfig = JudgeConfig()
    tuning: TuningConfig = TuningConfig()
    training: TrainingConfig = TrainingConfig()
    rollout: RolloutConfig = RolloutConfig()

    def __post_init__(self) -> None:
        room = self.embedding.max_tokens - 2  # [CLS] and [SEP]
        _require(
            self.ingest.chunk_tokens <= room,
            f"ingest.chunk_tokens must fit embedding.max_tokens less 2 ({self.ingest.chunk_tokens} > {room})",
        )
        _require(
            not self.models.tiers or self.generation.model in self.models.tiers,
            f"generation.model must be one of models.tiers ({without_userinfo(self.generation.model)!r} is not)",
        )
        _require(
            self.judge.llm in ("", "largest", self.generation.model, *self.models.tiers),
            f"judge.llm must be largest, or one of models.tiers ({without_userinfo(self.judge.llm)!r} is not)",
        )
        safe = self.router.safe_default
        _require(
            safe in ("", self.generation.model, *self.models.tiers),
            f"router.safe_default must be one of models.tiers ({without_userinfo(safe)!r} is not)",
        )
        sums_up = self.compression.model
        _require(
            sums_up in ("", self.generation.model, *self.models.tiers),
            f"compression.model must be one of models.tiers ({without_userinfo(sums_up)!r} is not)",
        )


def without_userinfo(model: str) -> str:
    """Return a model's name or URL with any user and password left out, fit to be shown."""
    return re.sub(r"(?<=://)[^/#]*@", "", model)


def load_config(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> Config:
    """Return the tree after file, environment (RUVLLM_SECTION__FIELD=value) and `overrides` {section: {field: value}}.

    Raises:
        ValueError: the file is not TOML, or a key or value is wrong; the message names the closest known key.
    """
    tree: dict[str, dict[str, Any]] = {}
    if path is not None and path.exists():
        try:
            tree = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not valid TOML: {error}") from error
    for name, value in (os.environ if environment is None else environment).items():
        if name.startswith("RUVLLM_") and "__" in name:
            section, _, field = name.removeprefix("RUVLLM_").lower().partition("__")
            tree.setdefault(section, {})[field] = value
    for section, fields in (overrides or {}).items():
        tree.setdefault(section, {}).update(fields)
    _refuse_unknown(tree)
    try:
        return msgspec.convert(tree, Config, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"configuration: {error}") from error


def _refuse_unknown(tree: Mapping[str, Any]) -> None:
    sections = {f.name: f.type for f in msgspec.structs.fields(Config)}
    for section, fields in tree.items():
        _known(section, sections)
        if not isinstance(fields, Mapping):
            raise ValueError(f"configuration: [{section}] must be a table")
        known = {f.name for f in msgspec.structs.fields(sections[section])}
        for name in fields:
            _known(name, known, prefix=f"{section}.")


def _known(name: str, known: Any, *, prefix: str = "") -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {prefix}{close[0]}?" if close else f"; known: {', '.join(sorted(known))}"
        raise ValueError(f"configuration: unknown key {prefix}{name}{hint}")


def cache_dir(models: ModelsConfig) -> Path:
    """Return the folder that holds pulled models (not created here)."""
    configured = models.cache_dir or os.environ.get("RUVLLM_CACHE", "")
    return Path(configured).expanduser() if configured else Path(platformdirs.user_cache_dir("ruvllm"))


def signing_key_file() -> Path:
    """Return the file of the key that signs which models were promoted, outside any brain (not created here)."""
    configured = os.environ.get("RUVLLM_SIGNING_KEY", "")
    return Path(configured).expanduser() if configured else Path(platformdirs.user_config_dir("ruvllm")) / "signing.key"
