"""Engines behind one protocol: local ones through CTranslate2, remote ones through OpenAI-compatible endpoints."""

from ruvllm.inference.engine import Cancelled, Completion, Engine, Piece, complete, confidence
from ruvllm.inference.open import find_or_pull, open_engine

__all__ = ["Cancelled", "Completion", "Engine", "Piece", "complete", "confidence", "find_or_pull", "open_engine"]
