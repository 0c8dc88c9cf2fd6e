"""Engines behind one protocol: our runtime, CTranslate2, and OpenAI-compatible endpoints."""

from ruvllm.inference.engine import Cancelled, Completion, Engine, Piece, complete, confidence
from ruvllm.inference.open import find_or_pull, open_engine
from ruvllm.inference.pool import LoadedModel, ModelPool, PoolStats

__all__ = [
    "Cancelled",
    "Completion",
    "Engine",
    "LoadedModel",
    "ModelPool",
    "Piece",
    "PoolStats",
    "complete",
    "confidence",
    "find_or_pull",
    "open_engine",
]
