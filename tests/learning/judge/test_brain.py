"""The judge of a brain: calibrated by its ratings, in versions."""

from __future__ import annotations

from pathlib import Path

import pytest
from echo_brain import open_echo
from inference.fakes import EchoEngine
from memory.fakes import WordEmbedder, interaction

from ruvllm.learning.judge import BrainJudge
from ruvllm.memory import Memory
from ruvllm.types import Feedback

from .cases import PASSAGE, QUESTION, answered


@pytest.fixture
def rated(tmp_path: Path) -> Memory:
    """Sixty answers that the judge holds to be good, and that users call bad: only a calibration can know that."""
    memory = Memory(tmp_path / "brain", embedder=WordEmbedder())
    memory.insert_nodes([PASSAGE])
    judgement = BrainJudge(memory).judge(answered("In hut three."))
    said = {"quality_source": judgement.source, "judge_score": judgement.signals["score"]}
    for i in range(60):
        memory.record(interaction(f"a{i}", session=f"s{i}", query=QUESTION, answer=f"In hut three, {i}.", **said))
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
    assert again.quality < before.quality and again.source == f"{before.source}@1"
    rated.close()


def test_answers_are_rated_by_the_score_that_they_were_given(tmp_path: Path) -> None:
    with open_echo(tmp_path / "brain") as llm:
        said = llm.ask(QUESTION)
        llm.feedback(said.id, rating=1)
        (kept,) = llm.memory.rated_answers(said.quality_source)
    assert (kept.score, kept.quality) == (said.quality, 0.0)  # nothing is calibrated yet


def test_on_request_the_reader_answers_again_and_agreement_counts(tmp_path: Path) -> None:
    engine = EchoEngine()
    with open_echo(tmp_path / "brain", engine) as llm:
        said = llm.judge(QUESTION, QUESTION, sources=[], consistency=True)
        alone = llm.judge(QUESTION, QUESTION, sources=[])
        assert len(engine.asked) == llm.config.judge.samples
    assert (said.source, said.signals["agreement"]) == (f"{alone.source}+samples", 1.0)
    assert said.quality == pytest.approx((alone.quality + 1.0) / 2.0)


def test_a_rollback_takes_the_calibration_back(rated: Memory) -> None:
    judge = BrainJudge(rated)
    before = judge.judge(answered("In hut three.")).quality
    judge.train()
    assert judge.rollback() == judge.version == 0
    assert judge.judge(answered("In hut three.")).quality == before
    rated.close()


def test_ratings_that_were_learnt_from_make_no_other_version(rated: Memory) -> None:
    BrainJudge(rated).train()
    judge = BrainJudge(rated)
    again = judge.train()
    assert (again.accepted, again.version, again.reason) == (False, 1, "nothing new since version 1")
    rated.feedback("a0", Feedback(rating=2, rater="r0"))
    assert judge.train().version == 2
    rated.close()


def test_a_calibration_that_was_taken_back_is_not_made_again(rated: Memory) -> None:
    judge = BrainJudge(rated)
    judge.train()
    judge.rollback()
    assert judge.train().reason == "nothing new since version 1, which was taken back"
    assert judge.version == 0
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
