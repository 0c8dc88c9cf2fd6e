"""Run by tests in a process of its own: asks while files may not grow, as on a full disk, and afterwards."""

from __future__ import annotations

import json
import logging
import resource
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from inference.fakes import EchoEngine
from memory.fakes import WordEmbedder

from ruvllm.config import Config
from ruvllm.errors import BrainError
from ruvllm.memory import Memory
from ruvllm.pipeline import AnswerStream, Pipeline
from ruvllm.types import Request, Response


def full_disk(brain: str) -> None:
    """Print warnings and turns of answers given before, while and after the disk is full."""
    logging.disable(logging.CRITICAL)
    memory = Memory(brain, embedder=WordEmbedder())
    memory.add(["The supply ship arrives every six weeks."])
    line = Pipeline(memory, lambda tier, **_: nullcontext(EchoEngine()), Config())

    def ask(question: str) -> Response:
        response = AnswerStream(line.run(Request(question, session="alice"), lambda: False)).response
        memory.flush()
        return response

    answers = [ask("When does the first ship arrive?")]
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
    answers += [ask("When does the second ship arrive?"), ask("When does the third ship arrive?")]
    try:
        memory.add(["A text for which there is no room."])
        refused = ""
    except BrainError as error:
        refused = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    answers += [ask("When does the fourth ship arrive?"), ask("When does the fifth ship arrive?")]
    told = {
        "texts": [bool(answer.text) and bool(answer.sources) for answer in answers],
        "warnings": [answer.warnings for answer in answers],
        "turns": [turn.query for turn in memory.turns("alice")],
        "refused": refused,
        "sound": memory.check().ok,
    }
    memory.close()
    print(json.dumps(told))


if __name__ == "__main__":
    full_disk(sys.argv[1])
