"""What stands between callers and the pipeline: limits, order within a session, deadlines, answers given before."""

from ruvllm.orchestrator.deadline import Deadline
from ruvllm.orchestrator.limits import Limits
from ruvllm.orchestrator.response_cache import ResponseCache
from ruvllm.orchestrator.sessions import SessionQueue
from ruvllm.orchestrator.spare_time import SpareTime

__all__ = ["Deadline", "Limits", "ResponseCache", "SessionQueue", "SpareTime"]
