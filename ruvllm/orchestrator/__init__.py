"""What stands between callers and the pipeline: today, the order of requests within a session."""

from ruvllm.orchestrator.sessions import SessionQueue
from ruvllm.orchestrator.spare_time import SpareTime

__all__ = ["SessionQueue", "SpareTime"]
