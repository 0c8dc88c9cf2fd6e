"""A whole request besides embedding and generation, which cost nothing here: alone, in a session, written back, and
given again from the cache."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from ruvllm.bench.corpora import Passage
from ruvllm.bench.pipeline import fill, opened, with_cache
from ruvllm.bench.setup import Settings
from ruvllm.config import load_config

from .linked_memory import name, people

NODES = 2_000 if os.environ.get("RUVLLM_BENCH_SMALL") else 20_000
QUESTIONS = [f"Who is a friend of {name(i)}?" for i in range(100)]


def _filled() -> str:
    folder = tempfile.mkdtemp()
    passages = [Passage(one["title"], one["title"], one["text"]) for one in people(NODES)]
    fill(Path(folder), passages, Settings(config=load_config(environment={})))
    return folder


class Request:
    """One question of a hundred about people who know each other; answers are written back meanwhile."""

    timeout = 600

    def setup_cache(self) -> str:
        return _filled()

    def setup(self, folder: str) -> None:
        self.open = ExitStack()
        self.llm = self.open.enter_context(opened(Path(folder), QUESTIONS, load_config(environment={})))
        self.asked = 0

    def teardown(self, folder: str) -> None:
        self.open.close()

    def time_ask(self, folder: str) -> None:
        self.asked += 1
        self.llm.ask(QUESTIONS[self.asked % len(QUESTIONS)])

    def time_ask_in_a_session(self, folder: str) -> None:
        self.asked += 1
        self.llm.ask(QUESTIONS[self.asked % len(QUESTIONS)], session=f"session {self.asked // 10}")

    def time_ask_10_and_flush(self, folder: str) -> None:
        for question in QUESTIONS[:10]:
            self.llm.ask(question)
        self.llm.flush()


class RequestAgain:
    """The same questions, each answered before: from the cache, written back meanwhile."""

    timeout = 600

    def setup_cache(self) -> str:
        return _filled()

    def setup(self, folder: str) -> None:
        self.open = ExitStack()
        config = with_cache(load_config(environment={}))
        self.llm = self.open.enter_context(opened(Path(folder), QUESTIONS, config))
        for question in QUESTIONS:
            self.llm.ask(question)
        self.asked = 0

    def teardown(self, folder: str) -> None:
        self.open.close()

    def time_ask_again(self, folder: str) -> None:
        self.asked += 1
        self.llm.ask(QUESTIONS[self.asked % len(QUESTIONS)])
