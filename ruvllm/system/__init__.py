"""The whole of it behind one name: `llm = ruvllm.open("brain")`."""

from ruvllm.system.learning import LearnReport
from ruvllm.system.system import RuvLLM

__all__ = ["LearnReport", "RuvLLM", "open"]

open = RuvLLM
"""Open a brain directory: `llm = ruvllm.open("brain")`."""
