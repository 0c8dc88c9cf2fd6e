"""One configuration tree: defaults, then `ruvllm.toml`, then RUVLLM_* environment variables, then arguments."""

from ruvllm.config.learning import (
    CompressionConfig,
    EnrichmentConfig,
    JudgeConfig,
    LearningConfig,
    SignalsConfig,
    WorkerConfig,
)
from ruvllm.config.places import cache_dir, signing_key_file
from ruvllm.config.reading import EmbeddingConfig, GenerationConfig, ModelsConfig, without_userinfo
from ruvllm.config.remembering import IndexConfig, IngestConfig, LinkingConfig, RetrievalConfig, StoreConfig
from ruvllm.config.routing import RouterConfig
from ruvllm.config.serving import CacheConfig, LimitsConfig, SessionsConfig, TelemetryConfig
from ruvllm.config.students import RolloutConfig, TrainingConfig, TuningConfig
from ruvllm.config.tree import Config, load_config

__all__ = [
    "CacheConfig",
    "CompressionConfig",
    "Config",
    "EmbeddingConfig",
    "EnrichmentConfig",
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
