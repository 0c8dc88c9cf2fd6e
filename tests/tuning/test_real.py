"""Traces of a real reader over a real embedder."""

from __future__ import annotations

from pathlib import Path

import pytest

import ruvllm
from ruvllm.config import load_config
from ruvllm.tuning import CurriculumBuilder, TraceCollector

pytestmark = pytest.mark.real

TEXTS = [
    "Jonas Vik repairs the radios of the station. He lives in hut two. He came in 1998.",
    "The rescue sled is kept in hut three. It was built by the carpenter of the northern village.",
    "The supply ship arrives every six weeks. It brings flour, fuel and letters.",
]


def test_a_conversation_with_a_real_reader_becomes_a_curriculum(
    tmp_path: Path, smollm2_dir: Path, minilm_dir: Path
) -> None:
    reader = {"model": str(smollm2_dir), "num_threads": 1, "max_new_tokens": 16}
    config = load_config(environment={}, overrides={"generation": reader, "worker": {"enabled": False}})
    with ruvllm.open(tmp_path / "brain", config=config) as llm:
        llm.ingest(TEXTS)
        first = llm.ask("Who repairs the radios?", session="alice")
        second = llm.ask("And where is the rescue sled kept?", session="alice")
        llm.feedback(second.id, rating=1, correction="in hut three")
        traces = TraceCollector(llm.memory).collect()
        curriculum = CurriculumBuilder().build(traces, holdout=["Who mends the radios?"], embed=llm.memory.encode)
    assert [trace.id for trace in traces] == [first.id, second.id]
    for trace, response in zip(traces, (first, second), strict=True):
        assert trace.context == tuple(source.text for source in response.sources)
        assert all(text in trace.prompt[-1].content for text in trace.context)
    assert "Who repairs the radios?" in [message.content for message in traces[1].prompt]
    (example,) = curriculum.sft
    assert (example.trace, example.messages[-1].content) == (second.id, "in hut three")
