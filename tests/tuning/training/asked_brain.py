"""A brain that was asked about things, and told what is right."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
from memory.fakes import WordEmbedder, interaction

from ruvllm.config import Config, GenerationConfig
from ruvllm.memory import Memory
from ruvllm.models import pull
from ruvllm.types import Feedback, Message

from . import cases

SECRET = "hushword lives at five"
THINGS = ("apple", "bridge", "candle", "desert", "engine", "forest", "garden", "harbour", "island", "jacket")


def configured(folder: Path, **training: Any) -> Config:
    """A configuration whose only model is a tiny one in `folder`."""
    cases.needs_training()
    base = cases.lfm2(folder)
    models = msgspec.structs.replace(Config().models, cache_dir=str(folder / "cache"), offline=True)
    options = msgspec.structs.replace(cases.OPTIONS, base=str(base), **training)
    return Config(models=models, generation=GenerationConfig(model=str(pull(f"path:{base}", models))), training=options)


def opened(brain: Path, config: Config | None = None, namespace: str = "default") -> Memory:
    """Open the brain with the embedder that all use here."""
    return Memory(brain, embedder=WordEmbedder(), config=config or Config(), namespace=namespace)


def ask(memory: Memory, id: str, thing: str) -> None:
    """Record that the brain was asked about a thing, was shown the secret, and was told what is right."""
    query = f"Where does the {thing} of number {id} belong?"
    prompt = (Message("user", f"{query} Use this text:\n\n[1] {SECRET}\n\n{query}"),)
    secret = memory.find(SECRET, 1)[0].id
    shown = {"source_ids": (secret,), "used_ids": (secret,), "shown_texts": (SECRET,), "prompt": prompt}
    memory.record(
        interaction(
            id,
            query=query,
            answer=f"{thing} here",
            namespace=memory.namespace,
            session=f"session {id}",
            created=time.time(),
            **shown,
        )
    )
    memory.flush()
    memory.feedback(id, Feedback(correction=f"{thing} hushword lives at {id}"))


def asked_brain(brain: Path, config: Config | None = None, n: int = 20, namespace: str = "default") -> Path:
    """Make a brain, or a namespace of it, with `n` corrected answers, a0 and so on in it."""
    with opened(brain, config, namespace) as memory:
        memory.add([{"text": SECRET, "source": "private"}])
        for i in range(n):
            ask(memory, f"{namespace}{i}", THINGS[i % 10])
    return brain


def words_on_disk(folder: Path, word: str) -> list[str]:
    """Return the files below a folder that hold a word."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if word.encode() in path.read_bytes()]
