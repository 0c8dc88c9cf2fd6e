"""A memory with three texts, pipelines over fakes, and parts that fail."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from inference.fakes import EchoEngine
from memory.fakes import WordEmbedder

from ruvllm.config import Config, load_config
from ruvllm.errors import EngineError
from ruvllm.inference import Piece
from ruvllm.judging import Answered, Judgement
from ruvllm.memory import Memory
from ruvllm.pipeline import AnswerStream, Pipeline
from ruvllm.types import Request, Response

QUESTION = "When does the supply ship arrive?"
TEXTS = [
    "The supply ship arrives every six weeks.",
    "Bread is baked on Fridays by the cook.",
    "Terns nest on the high cliffs.",
]


def config(**settings: Any) -> Config:
    """Return defaults with settings as section__field."""
    tree: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        section, _, field = name.partition("__")
        tree.setdefault(section, {})[field] = value
    return load_config(environment={}, overrides=tree)


def stocked(path: Path, **options: Any) -> Memory:
    """Return a memory that knows TEXTS."""
    memory = Memory(path, **{"embedder": WordEmbedder(), "config": Config()} | options)
    if not memory.read_only:
        memory.add(TEXTS)
    return memory


def pipeline(memory: Memory, engine: Any = None, *, judge: Any = None, router: Any = None, **settings: Any) -> Pipeline:
    """Return a pipeline whose one reader is `engine`, an echo when None."""
    reader = engine or EchoEngine()
    return Pipeline(memory, lambda tier, **_: nullcontext(reader), config(**settings), judge=judge, router=router)


def never() -> bool:
    return False


def ask(line: Pipeline, query: str = QUESTION, cancelled: Callable[[], bool] = never, **fields: Any) -> Response:
    return AnswerStream(line.run(Request(query, **fields), cancelled)).response


class CountingEngine(EchoEngine):
    """Counts the answers it was asked for."""

    @property
    def calls(self) -> int:
        return len(self.asked)


class SlowEngine(EchoEngine):
    """Waits before each word; what it waits for, a test can set."""

    def __init__(self, word_s: float = 0.02, **fields: Any) -> None:
        super().__init__(**fields)
        self.word_s = word_s

    def _pieces(self, *args: Any) -> Iterator[Piece]:
        pieces = super()._pieces(*args)
        while True:
            threading.Event().wait(self.word_s)
            if (piece := next(pieces, None)) is None:
                return
            yield piece


class HaltingEngine(EchoEngine):
    """Fails after its first word."""

    def _pieces(self, *args: Any) -> Iterator[Piece]:
        yield next(super()._pieces(*args))
        raise EngineError("the weights caught fire", engine=self.name)


class FailingEmbedder(WordEmbedder):
    """Fails once told to."""

    is_broken = False

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        if self.is_broken:
            raise RuntimeError("out of memory")
        return super().encode(texts)


class FixedJudge:
    """Says one quality, or raises what it is given; keeps what it was shown."""

    def __init__(self, says: float | Exception, *, answerable: float = 0.3) -> None:
        self.says = says
        self.answerable = answerable
        self.version = 0
        self.shown: list[Answered] = []

    def judge(self, answered: Answered) -> Judgement:
        self.shown.append(answered)
        if isinstance(self.says, Exception):
            raise self.says
        return Judgement(self.says, "fixed", {"length": float(len(answered.answer)), "answerable": self.answerable})
