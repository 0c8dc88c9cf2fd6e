"""The models: where they lie, which reads and which embeds."""

from __future__ import annotations

import re
from typing import Any, Literal

from ruvllm.config.section import MAX_WAIT_S, Section, require

__all__ = ["EmbeddingConfig", "GenerationConfig", "ModelsConfig", "without_userinfo"]


class ModelsConfig(Section, frozen=True):
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
        require(all(self.tiers), "models.tiers must not hold an empty name")
        require(len(set(self.tiers)) == len(self.tiers), f"models.tiers must not repeat a name ({self.tiers})")
        require(self.budget_bytes >= 0, f"models.budget_bytes must be >= 0, 0 = no limit ({self.budget_bytes})")
        require(bool(self.quantizations), "models.quantizations must not be empty")


class EmbeddingConfig(Section, frozen=True):
    """Text to vectors."""

    model: str = "minilm-l6"
    dim: int = 384  # below the model's own: PCA of the brain's texts (a seeded Gaussian until there are 2,000)
    max_tokens: int = 256
    num_threads: int = 0  # 0 = every core

    def __post_init__(self) -> None:
        require(bool(self.model), "embedding.model must not be empty")
        require(self.dim >= 8, f"embedding.dim must be >= 8 ({self.dim})")
        require(8 <= self.max_tokens <= 512, f"embedding.max_tokens must be in [8, 512] ({self.max_tokens})")
        require(self.num_threads >= 0, f"embedding.num_threads must be >= 0, 0 = every core ({self.num_threads})")


class GenerationConfig(Section, frozen=True):
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
        require(bool(self.model), "generation.model must not be empty")
        require(
            self.context_tokens == 0 or self.context_tokens >= 128,
            f"generation.context_tokens must be 0 or >= 128 ({self.context_tokens})",
        )
        for name, least in (("max_new_tokens", 1), ("top_k", 0)):  # the same as of GenerationOptions
            value = getattr(self, name)
            require(least <= value < 2**31, f"generation.{name} must be >= {least}, and below 2^31 ({value})")
        require(0.0 <= self.temperature <= 2.0, f"generation.temperature must be in [0, 2] ({self.temperature})")
        require(0.0 < self.top_p <= 1.0, f"generation.top_p must be in (0, 1] ({self.top_p})")
        require(0.0 <= self.min_p <= 1.0, f"generation.min_p must be in [0, 1] ({self.min_p})")
        penalty = self.repetition_penalty
        require(0.0 < penalty < float("inf"), f"generation.repetition_penalty must be > 0 and finite ({penalty})")
        require(self.num_threads >= 0, f"generation.num_threads must be >= 0, 0 = every core ({self.num_threads})")
        require(0.0 <= self.min_confidence <= 1.0, "generation.min_confidence must be in [0, 1]")
        require(0.0 < self.timeout_s <= MAX_WAIT_S, f"generation.timeout_s must be in (0, 1e6] ({self.timeout_s})")
        is_sendable = self.api_key.isascii() and self.api_key.isprintable()
        require(is_sendable, "generation.api_key must be printable ASCII; is there a line end behind it?")

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        hidden = {"model": without_userinfo(self.model)} | ({"api_key": "***"} if self.api_key else {})
        return [(name, hidden.get(name, getattr(self, name))) for name in self.__struct_fields__]

    def __repr__(self) -> str:
        return f"GenerationConfig({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


def without_userinfo(model: str) -> str:
    """Return a model's name or URL with any user and password left out, fit to be shown."""
    return re.sub(r"(?<=://)[^/#]*@", "", model)
