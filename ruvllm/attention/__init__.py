"""The graph attention engine: it ranks what memory finds and learns from what helped."""

from ruvllm.attention.engine import AttentionEngine, Pattern
from ruvllm.attention.features import FEATURES, Candidates

__all__ = ["FEATURES", "AttentionEngine", "Candidates", "Pattern"]
