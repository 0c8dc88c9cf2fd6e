"""A conversation with the real reader: the second turn knows the first, and does not read it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from ruvllm.config import GenerationConfig, ModelsConfig
from ruvllm.inference import complete, open_engine
from ruvllm.inference.runtime_engine import RuntimeEngine
from ruvllm.types import GenerationOptions, Message

pytestmark = [pytest.mark.real, pytest.mark.integration]


def test_multi_turn_context(smollm2_dir: Path, models_config: ModelsConfig) -> None:
    engine = open_engine(str(smollm2_dir), GenerationConfig(), models_config)
    assert isinstance(engine, RuntimeEngine)
    talk = [Message("system", "You are a helpful assistant."), Message("user", "I live in Paris.")]
    first = complete(engine, talk, GenerationOptions(max_new_tokens=24))
    talk += [Message("assistant", first.text), Message("user", "In which city do I live?")]
    (kept,) = engine._open().sessions._idle
    known = kept.tokens().tolist()
    second = complete(engine, talk, GenerationOptions(max_new_tokens=24))
    assert "Paris" in second.text
    assert engine._template.encode(talk)[: len(known)] == known  # so all of the first turn was there
    assert engine._open().sessions._idle == [kept] and kept.length > len(known)
    engine.close()
