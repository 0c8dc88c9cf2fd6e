"""Traces of answered requests: what the collector makes of what a brain keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from echo_brain import QUESTION, TEXTS, open_echo
from inference.fakes import EchoEngine

from ruvllm.config import Config, TuningConfig
from ruvllm.errors import DeadlineExceeded, EngineError
from ruvllm.system import RuvLLM
from ruvllm.tuning import CurriculumBuilder, Trace, TraceCollector
from ruvllm.types import Message, Response

pytestmark = pytest.mark.integration


@pytest.fixture
def llm(tmp_path: Path) -> Iterator[RuvLLM]:
    with open_echo(tmp_path / "brain") as llm:
        yield llm


def collected(llm: RuvLLM) -> list[Trace]:
    return TraceCollector(llm.memory).collect()


def promoted(llm: RuvLLM, query: str = QUESTION, session: str | None = None) -> Response:
    response = llm.ask(query, session=session)
    llm.feedback(response.id, quality=0.92)
    llm.memory.promote(llm.memory.interaction(response.id).answer_node or 0)
    return response


def test_trace_collection_captures_all_components(llm: RuvLLM) -> None:
    response = promoted(llm)
    (trace,) = collected(llm)
    assert trace.query == QUESTION and trace.prompt[-1].content.startswith(QUESTION)
    assert trace.context == tuple(source.text for source in response.sources)
    assert trace.context_ids == tuple(source.node_id for source in response.sources)
    assert trace.response == response.text
    assert (trace.quality, trace.quality_source, trace.outcome) == (0.92, "user", "success")
    assert (trace.standing, trace.model, trace.judge_score is None) == ("promoted", "echo", False)
    assert trace.domain_tags
    assert trace.tags.keys() == {"domain", "difficulty", "risk"} and all(tag.made_by for tag in trace.tags.values())


def test_the_difficulty_is_the_doubt_of_the_reader_where_nothing_else_is_known(llm: RuvLLM) -> None:
    llm.ask(QUESTION)
    (trace,) = collected(llm)
    assert trace.difficulty == pytest.approx(0.1)
    assert trace.tags["difficulty"].made_by == "the reader's confidence"


def test_a_domain_that_the_sources_state_is_taken_over(llm: RuvLLM) -> None:
    llm.memory.add([{"text": "The bank opens at nine.", "metadata": {"domain": "money", "risk": "high"}}])
    llm.ask("When does the bank open?", k=1)
    (trace,) = collected(llm)
    assert (trace.domain_tags, trace.tags["risk"].value) == (("money",), "high")
    assert trace.tags["domain"].made_by == "the sources' metadata"


def test_one_good_rating_leaves_an_answer_on_probation(llm: RuvLLM) -> None:
    llm.feedback(llm.ask(QUESTION).id, rating=5)
    (trace,) = collected(llm)
    assert (trace.standing, trace.outcome) == ("probation", "success")
    with pytest.raises(ValueError, match="1 on probation"):
        CurriculumBuilder().build([trace])


def test_a_correction_teaches_what_is_right_and_which_passages_misled(llm: RuvLLM) -> None:
    response = llm.ask(QUESTION, k=3)
    llm.feedback(response.id, rating=1, correction="every six weeks")
    (trace,) = collected(llm)
    assert (trace.standing, trace.answer, trace.is_context_wrong) == ("corrected", "every six weeks", False)
    assert {passage.text for passage in trace.helped} == {TEXTS[0], "every six weeks"}
    assert {passage.text for passage in trace.misled} == set(TEXTS[1:])
    curriculum = CurriculumBuilder().build([trace])
    assert (len(curriculum.sft), len(curriculum.preferences), len(curriculum.corrections)) == (1, 1, 1)


def test_a_correction_that_no_passage_says_was_answered_from_wrong_context(llm: RuvLLM) -> None:
    llm.feedback(llm.ask(QUESTION).id, rating=1, correction="on the second Tuesday of May")
    (trace,) = collected(llm)
    assert trace.is_context_wrong
    assert CurriculumBuilder().build([trace]).card.left_out == {"of wrong context": 1}


def test_marks_say_which_passages_helped(llm: RuvLLM) -> None:
    response = llm.ask(QUESTION, k=2)
    llm.feedback(response.id, helped=[1], unhelpful=[2])
    (trace,) = collected(llm)
    assert [passage.node for passage in trace.helped] == [response.sources[0].node_id]
    assert [passage.node for passage in trace.misled] == [response.sources[1].node_id]


def test_an_answer_whose_source_was_replaced_since_is_of_wrong_context(llm: RuvLLM) -> None:
    llm.memory.add([{"text": "Ferries leave at noon.", "source": "ferries"}])
    promoted(llm, "When do ferries leave?")
    llm.memory.add([{"text": "Ferries leave at ten.", "source": "ferries"}])
    (trace,) = collected(llm)
    assert trace.is_context_wrong


def test_a_revoked_answer_teaches_nothing(llm: RuvLLM) -> None:
    response = promoted(llm)
    llm.memory.revoke(llm.memory.interaction(response.id).answer_node or 0)
    (trace,) = collected(llm)
    assert trace.standing == "revoked"


def test_a_source_that_is_trusted_no_more_takes_its_answers_out(llm: RuvLLM) -> None:
    llm.memory.add([{"text": "Ferries leave at noon.", "source": "ferries"}])
    promoted(llm, "When do ferries leave?")
    llm.memory.set_trust("ferries", 0.0)
    (trace,) = collected(llm)
    assert trace.is_context_wrong


def test_forgotten_sources_are_in_no_later_curriculum(llm: RuvLLM) -> None:
    llm.memory.add([{"text": "Ferries leave at noon.", "source": "ferries"}])
    promoted(llm)
    promoted(llm, "When do ferries leave?")
    llm.forget("ferries")
    traces = collected(llm)
    assert all("noon" not in message.content for trace in traces for message in trace.prompt)
    with pytest.raises(ValueError, match="nothing to train on"):
        CurriculumBuilder().build(trace for trace in traces if "ferries" in trace.query)


def test_a_later_turn_that_saw_a_forgotten_source_goes_with_it(llm: RuvLLM) -> None:
    llm.memory.add([{"text": "Ferries leave at noon.", "source": "ferries"}])
    llm.ask("When do ferries leave?", session="alice", k=1)
    later = llm.ask("Bread is baked when?", session="alice", k=1)
    assert later.id in [trace.id for trace in collected(llm)]
    llm.forget("ferries")
    assert collected(llm) == []


def test_a_rating_that_contradicts_the_task_is_contradictory(llm: RuvLLM) -> None:
    llm.feedback(llm.ask(QUESTION).id, rating=5, task_success=False)
    assert collected(llm)[0].outcome == "contradictory"


def test_quoted_passages_are_no_examples(tmp_path: Path) -> None:
    with open_echo(tmp_path / "unsure", EchoEngine(probability=0.2)) as llm:
        promoted(llm)
        with pytest.raises(ValueError, match="1 of no model's own words"):
            CurriculumBuilder().build(collected(llm))


def test_the_trace_of_one_answer_is_found_by_its_id(llm: RuvLLM) -> None:
    response = llm.ask(QUESTION)
    collector = TraceCollector(llm.memory)
    assert collector.trace_of(response.id).response == response.text
    with pytest.raises(ValueError, match="no trace of 'nobody'"):
        collector.trace_of("nobody")


def test_only_the_wanted_time_is_collected(llm: RuvLLM) -> None:
    promoted(llm)
    (trace,) = collected(llm)
    collector = TraceCollector(llm.memory)
    assert collector.collect(since=trace.created) == [trace]
    assert collector.collect(until=trace.created) == []


def test_a_namespace_that_is_not_permitted_is_not_read(llm: RuvLLM) -> None:
    llm.ask(QUESTION)
    llm.memory.flush()
    config = msgspec.structs.replace(llm.memory.config, tuning=TuningConfig(namespaces=()))
    llm.memory.config = config
    assert collected(llm) == []


class Broken(EchoEngine):
    def stream(self, messages: tuple[Message, ...], options: object, *, cancelled: object = None):  # type: ignore[no-untyped-def,override]
        raise EngineError("it stumbles over the secret question", engine=self.name)


def test_requests_without_an_answer_are_on_record_without_their_words(tmp_path: Path) -> None:
    with open_echo(tmp_path / "broken", Broken()) as llm:
        with pytest.raises(EngineError):
            llm.ask(QUESTION)
        with pytest.raises(DeadlineExceeded):
            llm.ask(QUESTION, timeout_s=1e-9)
        found = TraceCollector(llm.memory).failures()
    assert [(one.kind, one.model) for one in found] == [("EngineError", "echo"), ("DeadlineExceeded", "")]
    assert "stage=" in found[1].detail and not any("question" in one.detail for one in found)


def test_personal_data_is_taken_out_and_answers_that_held_some_are_left_out(tmp_path: Path) -> None:
    pytest.importorskip("datafog")
    pytest.importorskip("detect_secrets")
    with open_echo(tmp_path / "brain") as llm:
        llm.memory.config = msgspec.structs.replace(Config(), tuning=TuningConfig(redact=True))
        about = {"domain": "mail of anna@example.org", "risk": "high"}
        llm.memory.add([{"text": "Write to anna@example.org about bread.", "metadata": about}])
        promoted(llm, "Who is to be written to about bread?")
        (trace,) = collected(llm)
    assert "anna@example.org" not in "".join((trace.response, *trace.context, *(m.content for m in trace.prompt)))
    assert "[EMAIL]" in trace.prompt[-1].content and trace.redacted == ("EMAIL",)
    assert [trace.tags[name].value for name in ("domain", "risk")] == ["mail of [EMAIL]", "high"]
