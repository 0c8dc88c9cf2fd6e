"""A memory over the word embedder, and a place where permissions count even for root."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ruvllm.config import Config, load_config
from ruvllm.memory import Memory

from .fakes import WordEmbedder

NOBODY = 65534


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    return tmp_path / "brain"


@pytest.fixture
def open_memory(brain: Path) -> Iterator[Callable[..., Memory]]:
    """Open the test's brain, as often as wanted; all are closed at the end."""
    opened: list[Memory] = []

    def open_(path: Path = brain, **options: Any) -> Memory:
        options.setdefault("embedder", WordEmbedder())
        memory = Memory(path, **options)
        opened.append(memory)
        return memory

    yield open_
    for memory in opened:
        memory.close()


@pytest.fixture
def memory(open_memory: Callable[..., Memory]) -> Memory:
    return open_memory()


@pytest.fixture
def hnsw_config() -> Config:
    """HNSW from the first vectors on."""
    return load_config(environment={}, overrides={"index": {"exact_below": 10, "m": 8, "ef_construction": 64}})


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A directory of a user whose permissions are checked, who runs the test."""
    folder = Path(tempfile.mkdtemp())
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
        for parent, _, _ in os.walk(folder):
            os.chmod(parent, 0o700)
        shutil.rmtree(folder)
