"""What stands between callers and the pipeline: limits, order within a session, deadlines, answers given before."""

from ruvllm.learning.spare_time import SpareTime
from ruvllm.orchestrator.deadline import Deadline
from ruvllm.orchestrator.limits import Limits
from ruvllm.orchestrator.response_cache import ResponseCache
from ruvllm.orchestrator.sessions import Place, SessionQueue

__all__ = ["Deadline", "Limits", "Place", "ResponseCache", "SessionQueue", "SpareTime"]
