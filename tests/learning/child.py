"""Run by a test in a process of its own: train the ranking in the background, and say on stdout when that has begun."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from memory.fakes import WordEmbedder

from learning import fleet
from ruvllm.config import WorkerConfig
from ruvllm.learning.jobs import Learners, News, brain_jobs
from ruvllm.learning.worker import MustStop, Worker
from ruvllm.memory import Memory

AT_ONCE = WorkerConfig(start_after_s=0.0, idle_s=0.0, cpu_share=1.0)


def train(brain: str) -> None:
    """Train for ever: after each look at whether to stop, a moment passes."""
    memory = Memory(brain, embedder=WordEmbedder())
    fleet.rated(memory)
    attention = next(job for job in brain_jobs(memory, AT_ONCE, News(), Learners()) if job.name == "attention")

    def body(must_stop: MustStop) -> object:
        looks = 0

        def slowly() -> bool:
            nonlocal looks
            looks += 1
            if looks == 20:  # the examples are there, the training goes on
                print("training", flush=True)
                time.sleep(60.0)
            return must_stop()

        return attention.body(slowly)

    worker = Worker(memory.job_table, [replace(attention, body=body, every_s=0.01)], AT_ONCE)
    worker.start()
    time.sleep(60.0)


if __name__ == "__main__":
    train(sys.argv[1])
