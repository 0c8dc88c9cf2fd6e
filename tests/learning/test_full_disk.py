"""The disk is full while a brain learns: that is said, the old version stays in force, nothing is half written."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from echo_brain import open_echo
from full_disk import full
from memory.fakes import WordEmbedder, interaction

from ruvllm.config import CompressionConfig
from ruvllm.errors import BrainError, JobsFailed
from ruvllm.learning.compression import compress
from ruvllm.learning.judge import BrainJudge
from ruvllm.memory import Memory
from ruvllm.types import Feedback

from . import fleet
from .judge.cases import QUESTION, answered

CONFIG = CompressionConfig(min_size=3, min_density=0.4)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is logged about the disk is no warning about the tests."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def memory(small_disk: Path) -> Iterator[Memory]:
    with Memory(small_disk / "brain", embedder=WordEmbedder()) as memory:
        yield memory


def files(brain: Path) -> set[str]:
    return {str(path.relative_to(brain)) for path in brain.rglob("*")}


def without_room(memory: Memory) -> set[str]:
    """Let go of the room that the database's log takes, and return the files there are."""
    memory.compact()
    return files(memory.path)


def test_the_ranking_stays_as_it_is(memory: Memory, small_disk: Path) -> None:
    fleet.rated(memory)
    memory.train_attention()
    memory.feedback("a0", Feedback(rating=1))
    before, there = memory._lessons.engine().params(), without_room(memory)
    with full(small_disk), pytest.raises(BrainError, match=r"attention.*disk is full"):
        memory.train_attention()
    assert memory.attention_version == 1 and (memory._lessons.engine().params() == before).all()
    assert files(memory.path) == there
    assert memory.train_attention().accepted and memory.attention_version == 2


def test_the_judge_stays_as_it_is(memory: Memory, small_disk: Path) -> None:
    judge = BrainJudge(memory)
    judgement = judge.judge(answered("In hut three."))
    said = {"quality_source": judgement.source, "judge_score": judgement.signals["score"]}
    for i in range(60):
        memory.record(interaction(f"a{i}", session=f"s{i}", query=QUESTION, answer=f"In hut three, {i}.", **said))
        memory.feedback(f"a{i}", Feedback(rating=1, rater=f"r{i}"))
    there = without_room(memory)
    with full(small_disk), pytest.raises(BrainError, match=r"judge.*disk is full"):
        judge.train()
    assert judge.judge(answered("In hut three.")) == judgement
    assert not [name for name in files(memory.path) - there if "." in name]  # folders at most
    assert judge.train().version == 1


def test_a_concept_is_stored_whole_or_not_at_all(memory: Memory, small_disk: Path) -> None:
    memory.insert_nodes([f"red green blue paint {word}" for word in "one two three four".split()])
    without_room(memory)
    with full(small_disk), pytest.raises(BrainError, match="disk is full"):
        compress(memory, nullcontext, CONFIG)
    assert (memory.concepts(), memory.check().findings) == ([], ())
    assert compress(memory, nullcontext, CONFIG).made == 1


def test_an_archive_for_which_there_is_no_room_is_not_made(tmp_path: Path, small_disk: Path) -> None:
    with Memory(tmp_path / "brain", embedder=WordEmbedder()) as memory:
        tale = memory.insert_node("an old tale")
        with full(small_disk), pytest.raises(BrainError, match=r"cold\.db.*disk is full"):
            memory.run_archival(0.0, cold_path=small_disk / "cold.db")
        assert not list(small_disk.iterdir())
        assert memory.run_archival(0.0).archived == 1 and memory.texts([tale]) == {tale: "an old tale"}


def test_what_cannot_be_archived_is_searched_as_before(memory: Memory, small_disk: Path) -> None:
    memory.insert_node("an older tale")
    assert memory.run_archival(0.0).archived == 1
    tale = memory.insert_node("an old tale")
    there = without_room(memory)
    with full(small_disk), pytest.raises(BrainError, match=r"cold\.db.*disk is full"):
        memory.run_archival(0.0)
    assert files(memory.path) == there and [hit.node.text for hit in memory.search("tale")] == ["an old tale"]
    assert memory.run_archival(0.0).archived == 1
    assert memory.texts([tale]) == {tale: "an old tale"} and memory.check().findings == ()


def test_learn_says_of_each_job_that_failed_that_the_disk_is_full(small_disk: Path) -> None:
    with open_echo(small_disk / "brain") as llm:
        without_room(llm.memory)
        with full(small_disk), pytest.raises(JobsFailed) as caught:
            llm.learn()
        assert {"attention", "decay"} <= caught.value.failures.keys()
        assert all("disk is full" in str(error) for error in caught.value.failures.values())
        assert llm.learn().attention.reason and llm.check().findings == ()
