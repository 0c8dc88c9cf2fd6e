"""The judge of a brain: calibrated by its ratings, in versions."""

from __future__ import annotations

from pathlib import Path

import pytest
from memory.fakes import WordEmbedder, interaction

from ruvllm.learning.judge import BrainJudge
from ruvllm.memory import Memory
from ruvllm.types import Feedback

from .cases import PASSAGE, QUESTION, answered


@pytest.fixture
def rated(tmp_path: Path) -> Memory:
    """Sixty answers that its source holds, and that users call bad: only a calibration can know that."""
    memory = Memory(tmp_path / "brain", embedder=WordEmbedder())
    (node,) = memory.insert_nodes([PASSAGE])
    for i in range(60):
        memory.record(
            interaction(f"a{i}", session=f"s{i}", query=QUESTION, answer=f"In hut three, {i}.", source_ids=(node,))
        )
    memory.flush()
    for i in range(60):
        memory.feedback(f"a{i}", Feedback(rating=1, rater=f"r{i}"))
    return memory


def test_ratings_calibrate_and_the_version_outlives_the_process(rated: Memory) -> None:
    before = BrainJudge(rated).judge(answered("In hut three."))
    trained = BrainJudge(rated)
    report = trained.train()
    assert report.accepted and report.version == trained.version == 1 and report.examples == 60
    again = BrainJudge(rated).judge(answered("In hut three."))
    assert again.quality < before.quality and again.source == "signals@1"
    rated.close()


def test_a_rollback_takes_the_calibration_back(rated: Memory) -> None:
    judge = BrainJudge(rated)
    before = judge.judge(answered("In hut three.")).quality
    judge.train()
    assert judge.rollback() == judge.version == 0
    assert judge.judge(answered("In hut three.")).quality == before
    rated.close()


def test_a_damaged_version_is_not_used(rated: Memory) -> None:
    BrainJudge(rated).train()
    (rated.path / "checkpoints" / "judge" / "000001.npz").write_bytes(b"damaged")
    assert BrainJudge(rated).version == 0
    rated.close()


def test_the_judge_knows_which_words_are_rare_in_the_brain(rated: Memory) -> None:
    rated.insert_nodes([f"the sled of team {i}" for i in range(20)])
    judge = BrainJudge(rated)
    rare = judge.judge(answered("-", "rescue", query="rescue sled")).signals["coverage"]
    frequent = judge.judge(answered("-", "sled", query="rescue sled")).signals["coverage"]
    assert rare > frequent > 0.0
    rated.close()
