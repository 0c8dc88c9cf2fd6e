"""Run by a test in a process of its own: let a model read passages, and say on stdout when it is at the third."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

from memory.fakes import WordEmbedder

from learning.scripted import ScriptedEngine
from ruvllm.config import EnrichmentConfig
from ruvllm.inference import Cancelled, Piece
from ruvllm.learning.enrichment import enrich
from ruvllm.memory import Memory
from ruvllm.types import GenerationOptions, Message


class _Slow(ScriptedEngine):
    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, *, cancelled: Cancelled | None = None
    ) -> Iterator[Piece]:
        if self.calls == 2:
            print("reading the third", flush=True)
            time.sleep(60.0)
        yield from super().stream(messages, options)


def read(brain: str) -> None:
    """Read six passages, for ever at the third."""
    memory = Memory(brain, embedder=WordEmbedder())
    memory.add([{"text": f"a copper kettle in room{i}", "source": str(i)} for i in range(6)])
    engine = _Slow('["copper kettle"]')
    enrich(memory, "scripted", lambda: nullcontext(engine), EnrichmentConfig(max_links=99))


if __name__ == "__main__":
    read(sys.argv[1])
