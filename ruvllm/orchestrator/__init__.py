"""What stands between callers and the pipeline: today, the order of requests within a session."""

from ruvllm.learning.spare_time import SpareTime
from ruvllm.orchestrator.sessions import SessionQueue

__all__ = ["SessionQueue", "SpareTime"]
