"""The whole tree and how it is read."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ruvllm.config.learning import (
    CompressionConfig,
    EnrichmentConfig,
    JudgeConfig,
    LearningConfig,
    SignalsConfig,
    WorkerConfig,
)
from ruvllm.config.reading import EmbeddingConfig, GenerationConfig, ModelsConfig, without_userinfo
from ruvllm.config.remembering import IndexConfig, IngestConfig, LinkingConfig, RetrievalConfig, StoreConfig
from ruvllm.config.routing import RouterConfig
from ruvllm.config.section import Section, require
from ruvllm.config.serving import CacheConfig, LimitsConfig, SessionsConfig, TelemetryConfig
from ruvllm.config.students import RolloutConfig, TrainingConfig, TuningConfig

__all__ = ["Config", "load_config"]


class Config(Section, frozen=True):
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
    enrichment: EnrichmentConfig = EnrichmentConfig()
    judge: JudgeConfig = JudgeConfig()
    tuning: TuningConfig = TuningConfig()
    training: TrainingConfig = TrainingConfig()
    rollout: RolloutConfig = RolloutConfig()

    def __post_init__(self) -> None:
        room = self.embedding.max_tokens - 2  # [CLS] and [SEP]
        require(
            self.ingest.chunk_tokens <= room,
            f"ingest.chunk_tokens must fit embedding.max_tokens less 2 ({self.ingest.chunk_tokens} > {room})",
        )
        require(
            not self.models.tiers or self.generation.model in self.models.tiers,
            f"generation.model must be one of models.tiers ({without_userinfo(self.generation.model)!r} is not)",
        )
        require(
            self.judge.llm in ("", "largest", self.generation.model, *self.models.tiers),
            f"judge.llm must be largest, or one of models.tiers ({without_userinfo(self.judge.llm)!r} is not)",
        )
        safe = self.router.safe_default
        require(
            safe in ("", self.generation.model, *self.models.tiers),
            f"router.safe_default must be one of models.tiers ({without_userinfo(safe)!r} is not)",
        )
        for name in ("compression", "enrichment"):
            model = getattr(self, name).model
            require(
                model in ("", self.generation.model, *self.models.tiers),
                f"{name}.model must be one of models.tiers ({without_userinfo(model)!r} is not)",
            )


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
        except (
            ValueError,
            RecursionError,
        ) as error:  # not TOML, not UTF-8, a number of 5,000 digits, nested too deeply
            raise ValueError(f"{path}: not valid TOML: {error}") from error
        _refuse_unknown(tree)  # before anything is laid over it
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
