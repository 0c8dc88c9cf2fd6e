"""What a system is made of, for the classes that each do one thing with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ruvllm.checkpoints import Students
from ruvllm.config import Config
from ruvllm.inference import ModelPool
from ruvllm.learning.jobs import News
from ruvllm.learning.worker import Worker
from ruvllm.memory import Memory
from ruvllm.metrics import Metrics
from ruvllm.pipeline import Pipeline
from ruvllm.telemetry import Telemetry
from ruvllm.tuning.rollout.trials import Trials

if TYPE_CHECKING:
    from ruvllm.brain_router import BrainRouter
    from ruvllm.learning.judge import BrainJudge

__all__ = ["Parts", "never"]


def never() -> bool:
    """Say that nobody cancelled."""
    return False


class Parts:
    """The parts of an opened brain; `RuvLLM` makes and closes them."""

    config: Config
    memory: Memory
    students: Students
    pool: ModelPool
    worker: Worker
    _executor: ThreadPoolExecutor | None
    _router: BrainRouter | None
    _judge: BrainJudge | None
    _news: News
    _trials: Trials
    _metrics: Metrics
    _telemetry: Telemetry
    _pipeline: Pipeline
