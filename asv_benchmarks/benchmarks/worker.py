"""What the background worker costs a request that it lets go first, and a job that asks whether to go on."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ruvllm.config import WorkerConfig
from ruvllm.learning.worker import Job, Worker
from ruvllm.memory.jobs import JobTable
from ruvllm.memory.store import Store


class BesideRequests:
    """A worker whose jobs are not due."""

    def setup(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name) / "brain.db", read_only=False)
        jobs = [Job("nothing", lambda must_stop: None, every_s=86_400.0)]
        self.worker = Worker(JobTable(self.store, "default"), jobs, WorkerConfig())
        self.worker.start()
        self.must_stop = self.worker._paced()

    def teardown(self) -> None:
        self.worker.close()
        self.store.close()
        self.folder.cleanup()

    def time_request(self) -> None:
        with self.worker.request():
            pass

    def time_must_stop(self) -> None:
        self.must_stop()
