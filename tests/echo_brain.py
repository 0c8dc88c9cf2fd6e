"""A whole system on small parts: hashed words as vectors, and a reader that says its prompt again."""

from __future__ import annotations

from pathlib import Path

from inference.fakes import EchoEngine
from memory.fakes import WordEmbedder

from ruvllm.config import Config, GenerationConfig, TelemetryConfig
from ruvllm.inference import Engine
from ruvllm.system import RuvLLM

TEXTS = ["The supply ship arrives every six weeks.", "Bread is baked on Fridays.", "Terns nest on the high cliffs."]
QUESTION = "When does the supply ship arrive?"
READER = "http://reader.invalid/v1#echo"  # a tier that needs no files


def open_echo(path: Path, engine: Engine | None = None, *, traces: bool = False) -> RuvLLM:
    """Return a system that knows TEXTS and answers with `engine`."""
    config = Config(generation=GenerationConfig(model=READER), telemetry=TelemetryConfig(traces=traces))
    reader = engine or EchoEngine()
    llm = RuvLLM(path, config=config, embedder=WordEmbedder(), open_engine=lambda model, generation, models: reader)
    llm.memory.add(TEXTS)
    return llm
