"""What the system makes of its arguments; answering is tested with the pipeline and in tests/integration."""

from __future__ import annotations

from pathlib import Path

import pytest
from echo_brain import QUESTION, READER, TEXTS, open_echo
from inference.fakes import EchoEngine
from memory.fakes import WordEmbedder

import ruvllm
from ruvllm.config import (
    Config,
    GenerationConfig,
    JudgeConfig,
    ModelsConfig,
    RouterConfig,
    SessionsConfig,
    SignalsConfig,
    WorkerConfig,
)
from ruvllm.learning.worker import Worker
from ruvllm.types import Constraints, Privacy


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_promise_turns_certified_mode_on(tmp_path: Path) -> None:
    with ruvllm.open(tmp_path, quality_floor=0.8, risk=0.1, confidence=0.95, latency_sla_ms=1500) as llm:
        router = llm.config.router
    promised = (router.quality_floor, router.risk, router.certificate_confidence, router.latency_sla_ms)
    assert router.certified and promised == (0.8, 0.1, 0.95, 1500)


def test_a_promise_is_added_to_a_given_configuration(tmp_path: Path) -> None:
    config = Config(router=RouterConfig(explore=0.125))
    with ruvllm.open(tmp_path, config=config, risk=0.25) as llm:
        assert llm.config.router == RouterConfig(explore=0.125, risk=0.25, certified=True)


def test_nothing_is_promised_unasked(tmp_path: Path) -> None:
    with ruvllm.open(tmp_path) as llm:
        assert llm.config.router == RouterConfig()


@pytest.mark.parametrize("config", [None, Config()])
def test_a_promise_out_of_range_is_refused_by_name(tmp_path: Path, config: Config | None) -> None:
    with pytest.raises(ValueError, match=r"^risk must be in \(0, 1\)"):
        ruvllm.open(tmp_path, config=config, risk=2.0)


def test_several_tiers_have_a_router_unless_it_is_switched_off(tmp_path: Path) -> None:
    tiers = ModelsConfig(tiers=("smollm2-135m", "smollm2-360m"), offline=True)
    with ruvllm.open(tmp_path / "a", config=Config(models=tiers)) as llm:
        assert llm._router is not None
    with ruvllm.open(tmp_path / "b", config=Config(models=tiers, router=RouterConfig(enabled=False))) as llm:
        assert llm._router is None
    with ruvllm.open(tmp_path / "c", config=Config(models=ModelsConfig(tiers=tiers.tiers[:1]))) as llm:
        assert llm._router is None


def test_a_brain_works_in_the_background_where_it_may(tmp_path: Path) -> None:
    with ruvllm.open(tmp_path) as llm:
        assert llm.worker._thread is not None
        with ruvllm.open(tmp_path) as second:  # which only reads
            assert second.read_only and second.worker._thread is None
    with ruvllm.open(tmp_path, config=Config(worker=WorkerConfig(enabled=False))) as llm:
        assert llm.worker._thread is None


def test_what_is_interrupted_while_opening_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Worker, "start", interrupt)
        with pytest.raises(KeyboardInterrupt) as caught:  # which holds on to what was half made, as a console does
            ruvllm.open(tmp_path)
    with ruvllm.open(tmp_path) as llm:
        assert not llm.read_only and caught.value


def test_what_is_interrupted_while_closing_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ruvllm.open(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(first.worker, "close", interrupt)
        with pytest.raises(KeyboardInterrupt):
            first.close()
    with ruvllm.open(tmp_path) as llm:
        assert not llm.read_only
    first.close()


def test_a_log_of_students_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    with ruvllm.open(tmp_path) as llm:
        log = llm.students.folder / "log.jsonl"
        log.mkdir(parents=True)
        assert any(str(log) in finding.what for finding in llm.check().findings)


def test_a_process_of_seconds_writes_nothing_about_jobs(tmp_path: Path) -> None:
    with ruvllm.open(tmp_path) as llm:
        assert llm.stats().jobs == ()


def test_learn_runs_the_same_jobs_as_the_background(tmp_path: Path) -> None:
    with ruvllm.open(tmp_path) as llm:
        report = llm.learn()
        assert {job.name: job.runs for job in llm.stats().jobs} == dict.fromkeys(
            ("attention", "compression", "decay", "index", "judge"), 1
        )
        assert llm.learn_report().jobs == llm.stats().jobs
    assert report.attention.reason == "fewer than 10 good answers"


@pytest.mark.parametrize(
    ("call", "job"), [("train_judge", "judge"), ("compress", "compression"), ("enrich", "enrichment")]
)
def test_what_is_called_by_name_is_the_job_of_the_schedule(tmp_path: Path, call: str, job: str) -> None:
    with ruvllm.open(tmp_path) as llm:
        getattr(llm, call)()
        assert [state.name for state in llm.stats().jobs if state.runs] == [job]


def test_every_job_runs_again(tmp_path: Path) -> None:
    config = Config(sessions=SessionsConfig(max_idle_days=1.0), signals=SignalsConfig(enabled=True))
    with ruvllm.open(tmp_path, config=config) as llm:
        for _ in range(3):
            assert (llm.learn().signals, llm.learn_report().learnt) == (0, ())
        assert {job.runs for job in llm.stats().jobs} == {3}


def test_only_what_learns_can_be_taken_back(tmp_path: Path) -> None:
    with ruvllm.open(tmp_path) as llm:
        assert llm.rollback("attention") == 0
        with pytest.raises(ValueError, match="name must be one of attention, judge \\('router'\\)"):
            llm.rollback("router")


@pytest.mark.parametrize(("cascade", "answers"), [(True, 0), (False, 1)])
def test_a_source_is_forgotten_with_what_came_from_it_or_alone(tmp_path: Path, cascade: bool, answers: int) -> None:
    with open_echo(tmp_path) as llm:
        llm.ask(QUESTION)
        llm.flush()
        for one in llm.memory.sources():
            llm.forget(one.source, cascade=cascade)
        assert llm.stats().nodes_by_type.get("Answer", 0) == answers


def test_an_answer_is_judged_only_by_texts(tmp_path: Path) -> None:
    with ruvllm.open(tmp_path) as llm:
        with pytest.raises(TypeError, match="question must be a str"):
            llm.judge(None, "x")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="question must not be empty"):
            llm.judge(" ", "x")
        with pytest.raises(TypeError, match="answer must be a str"):
            llm.judge("x", 1)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="sources must be an iterable of texts"):
            llm.judge("x", "y", sources="z")


@pytest.mark.parametrize(("privacy", "reads"), [("any", True), ("local", False)])
def test_an_endpoint_judges_nothing_that_is_private(tmp_path: Path, privacy: Privacy, reads: bool) -> None:
    config = Config(generation=GenerationConfig(model=READER), judge=JudgeConfig(llm="largest"))
    engine = EchoEngine(context_tokens=4096)
    with ruvllm.RuvLLM(tmp_path, config=config, embedder=WordEmbedder(), open_engine=lambda *_: engine) as llm:
        llm.memory.add(TEXTS)
        answer = llm.ask(QUESTION, constraints=Constraints(privacy=privacy))
    assert bool(engine.asked) is reads and answer.quality is not None
    assert answer.quality_source.endswith("+llm") is reads


@pytest.mark.parametrize("private", [True, False])
def test_an_endpoint_that_judges_a_given_answer_is_shown_nothing_private(tmp_path: Path, private: bool) -> None:
    config = Config(generation=GenerationConfig(model=READER), judge=JudgeConfig(llm="largest", samples=1))
    engine = EchoEngine(context_tokens=4096)
    with ruvllm.RuvLLM(tmp_path, config=config, embedder=WordEmbedder(), open_engine=lambda *_: engine) as llm:
        llm.memory.add([{"text": "The supply ship is late.", "metadata": {"private": private}}, TEXTS[0]])
        judged = [llm.judge(QUESTION, TEXTS[0]), llm.judge(QUESTION, TEXTS[0], consistency=True)]
    said = ["".join(message.content for message in messages) for messages in engine.asked]
    assert len(said) == (1 if private else 3) and all(TEXTS[0] in one for one in said)
    assert ["is late" in one for one in said] == [not private] * len(said)
    assert ["+llm" in one.source for one in judged] == [not private] * 2


def test_without_ratings_the_judge_stays_uncalibrated(tmp_path: Path) -> None:
    with ruvllm.open(tmp_path) as llm:
        report = llm.train_judge()
        assert not report.accepted and report.examples == 0 and llm.rollback_judge() == 0


def test_a_judge_that_is_switched_off_says_so(tmp_path: Path) -> None:
    with (
        ruvllm.open(tmp_path, config=Config(judge=JudgeConfig(enabled=False))) as llm,
        pytest.raises(ValueError, match=r"judge\.enabled must be true"),
    ):
        llm.judge("x", "y")


def test_only_a_reader_can_be_asked_as_a_judge() -> None:
    with pytest.raises(ValueError, match=r"judge\.llm must be largest, or one of models\.tiers"):
        Config(judge=JudgeConfig(llm="somebody"))


@pytest.mark.real
def test_what_a_source_says_is_judged_better_than_what_it_does_not_say(tmp_path: Path, minilm_dir: Path) -> None:
    with ruvllm.open(tmp_path) as llm:
        llm.ingest([{"text": "The rescue sled is kept in hut three, next to the fuel store.", "source": "sled"}])
        said = llm.judge("Where is the rescue sled kept?", "In hut three.")
        invented = llm.judge("Where is the rescue sled kept?", "In the blue barn.")
    assert said.quality > 0.5 > invented.quality and said.source == "signals/1"
