"""ruvllm/learning/enrichment.py: what a model names links as a rare name does, once, and can be taken back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest
from memory.fakes import WordEmbedder

import ruvllm
from ruvllm.config import Config, EnrichmentConfig, GenerationConfig, ModelsConfig
from ruvllm.errors import BrainReadOnly, EngineError, ModelMissing
from ruvllm.inference import Cancelled, Piece, open_engine
from ruvllm.learning.enrichment import MAX_FAILED, EnrichmentReport, enrich
from ruvllm.learning.naming import NAMING_VERSION, names_in, phrases_of
from ruvllm.memory import Memory
from ruvllm.memory.link_batch import MAX_SHARED, SHARED_LINKS, shared_weight
from ruvllm.types import EdgeType, GenerationOptions, Message, NodeType

from .scripted import ScriptedEngine

CHILD = Path(__file__).with_name("reading_child.py")
KETTLE = '["copper kettle"]'
TEXTS = ["we found a copper kettle there", "my aunt bought some copper kettle once", "nothing else was for sale"]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with Memory(tmp_path / "brain", embedder=WordEmbedder()) as opened:
        yield opened


def told(memory: Memory, *texts: str) -> list[int]:
    """The passages of documents with these texts, "0", "1" and so on by source."""
    memory.add({"text": text, "source": str(i)} for i, text in enumerate(texts))
    return [row[0] for row in memory._store.rows("SELECT id FROM nodes WHERE ended IS NULL ORDER BY id")]


def run(
    memory: Memory, said: str | ScriptedEngine = KETTLE, model: str = "scripted", **config: int
) -> EnrichmentReport:
    engine = ScriptedEngine(said) if isinstance(said, str) else said
    return enrich(memory, model, lambda: nullcontext(engine), EnrichmentConfig(**config))


def links(memory: Memory, model: str = "") -> list[tuple[int, int, float]]:
    sql = "SELECT src, dst, weight FROM edges WHERE type = ? AND created_by GLOB ? ORDER BY src, dst"
    return memory._store.rows(sql, (EdgeType.SHARED_NAME.value, f"enrichment:{model}*"))


def exported(memory: Memory, name: str = "x.jsonl") -> bytes:
    memory.export(file := memory.path.with_name(name))
    return file.read_bytes()


# -- links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "read"), [("scripted", 2), ("https://host/v1#model", 1)])
def test_an_endpoint_reads_nothing_private(memory: Memory, model: str, read: int) -> None:
    memory.add([{"text": TEXTS[0], "metadata": {"private": True}}, TEXTS[1]])
    engine = ScriptedEngine(KETTLE)
    report = run(memory, engine, model)
    assert (report.read, report.left, engine.calls) == (read, 0, read)


def test_a_name_that_two_passages_share_links_them_and_says_who_made_it(memory: Memory) -> None:
    first, second, _ = told(memory, *TEXTS)
    report = run(memory)
    assert links(memory, "scripted") == [(first, second, pytest.approx(shared_weight(1)))]
    assert (report.read, report.named, report.links, report.left, report.finished) == (3, 2, 1, 0, True)


def test_searches_follow_the_links_at_once_and_no_longer_once_they_are_gone(memory: Memory) -> None:
    told(memory, *TEXTS)
    before = memory._links.load().num_edges
    run(memory)
    assert memory._links.load().num_edges == before + 1
    memory.remove_names()
    assert memory._links.load().num_edges == before


def test_names_that_do_not_stand_in_the_passage_link_nothing(memory: Memory) -> None:
    told(memory, *TEXTS)
    report = run(memory, '["brass kettle", "Zanzibar", "kettle copper", "copper"]')
    assert (report.named, report.names, report.links) == (2, 2, 1)
    assert memory._store.rows("SELECT DISTINCT found FROM enrichments ORDER BY found") == [('["copper"]',), ("[]",)]


def test_memory_itself_refuses_a_name_that_the_passage_does_not_have(memory: Memory) -> None:
    first, *_ = told(memory, *TEXTS)
    assert memory.put_names(first, ["my aunt", "copper kettle"], "m", 1) == 1
    assert memory._store.value("SELECT found FROM enrichments") == '["copper kettle"]'


def test_a_name_that_many_passages_have_links_none(memory: Memory) -> None:
    told(memory, *(f"copper kettle number{i}" for i in range(MAX_SHARED + 2)))
    assert run(memory).links == 0


def test_a_name_links_to_the_newest_few_and_weighs_less_the_more_have_it(memory: Memory) -> None:
    ids = told(memory, *(f"copper kettle number{i}" for i in range(MAX_SHARED + 1)))
    memory.put_names(ids[0], ["copper kettle"], "m", 1)
    assert [dst for _, dst, _ in links(memory)] == ids[-SHARED_LINKS:]
    assert [weight for *_, weight in links(memory)] == pytest.approx([shared_weight(MAX_SHARED)] * SHARED_LINKS)


def test_what_a_name_joins_already_is_not_joined_again(memory: Memory) -> None:
    told(memory, "we saw Old Harbour today", "the copper Old Harbour bell")
    before = exported(memory)
    assert run(memory, '["Old Harbour"]').links == 0
    memory.remove_names()
    assert exported(memory) == before


def test_passages_of_one_document_are_not_linked(memory: Memory) -> None:
    memory.add([{"turns": [{"text": text} for text in TEXTS], "source": "talk"}])
    assert run(memory).links == 0


# -- what is read ----------------------------------------------------------------------------------------------------


def test_a_link_that_somebody_puts_in_is_his_from_then_on(memory: Memory) -> None:
    first, second, _ = told(memory, *TEXTS)
    run(memory)
    memory.insert_edge(first, second, EdgeType.SHARED_NAME, 0.9)
    assert memory.remove_names() == 0
    assert [(edge.dst, edge.created_by) for edge, _ in memory.neighbours(first)] == [(second, "user")]


def test_passages_without_a_document_are_linked_too(memory: Memory) -> None:
    first, second = memory.insert_nodes(TEXTS[:2], type=NodeType.DOCUMENT)
    run(memory)
    assert [(src, dst) for src, dst, _ in links(memory)] == [(first, second)]


def test_each_passage_is_read_once(memory: Memory) -> None:
    told(memory, *TEXTS)
    run(memory)
    before, engine = exported(memory), ScriptedEngine(KETTLE)
    assert (run(memory, engine).read, engine.calls) == (0, 0)
    assert exported(memory) == before


def test_another_model_reads_again_and_its_links_replace_the_others(memory: Memory) -> None:
    told(memory, *TEXTS)
    run(memory, model="small")
    assert run(memory, '["copper"]', model="large").read == 3
    assert (len(links(memory, "small")), len(links(memory, "large"))) == (0, 1)


def test_a_changed_document_is_read_anew(memory: Memory) -> None:
    told(memory, *TEXTS)
    run(memory)
    memory.add([{"text": "my aunt sold a copper kettle", "source": "1"}])
    report = run(memory)
    assert (report.read, report.links) == (1, 1)


def test_a_deleted_document_takes_its_links_away(memory: Memory) -> None:
    told(memory, *TEXTS)
    run(memory)
    memory.forget("1")
    assert links(memory) == []
    assert memory._store.value("SELECT count(*) FROM enrichments") == 2
    assert memory.check().ok


def test_passages_that_are_linked_well_are_not_read(memory: Memory) -> None:
    first, second, third = told(memory, *TEXTS)
    memory.insert_edge(first, second, EdgeType.CITES)
    assert memory.unread("m", 1, max_links=0) == [third]
    assert memory.unread("m", 1, max_links=1) == [third, first, second]


def test_a_run_reads_so_many_passages_and_the_next_goes_on(memory: Memory) -> None:
    told(memory, *TEXTS)
    assert [(r.read, r.left) for r in (run(memory, passages_per_run=2) for _ in range(3))] == [(2, 1), (1, 0), (0, 0)]


def test_questions_facts_and_other_namespaces_are_not_read(memory: Memory) -> None:
    memory.insert_nodes(["a copper kettle as a fact", "another copper kettle"])
    with Memory(memory.path, embedder=WordEmbedder(), namespace="other", read_only=True) as other:
        assert other.unread("m", 1, 9) == []
    assert run(memory).read == 0


# -- stopping, failing -----------------------------------------------------------------------------------------------


class Endless(ScriptedEngine):
    """Says token after token until it is stopped."""

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, *, cancelled: Cancelled | None = None
    ) -> Iterator[Piece]:
        assert cancelled is not None
        while not cancelled():
            yield Piece("x")
        yield Piece("", finish_reason="cancelled")


def test_a_run_stops_within_a_passage_and_leaves_nothing_of_it(memory: Memory) -> None:
    told(memory, *TEXTS)
    before, looks = exported(memory), iter([False] * 5)
    report = enrich(
        memory,
        "m",
        lambda: nullcontext(Endless("")),
        EnrichmentConfig(),
        cancelled=lambda: next(looks, True),
    )
    assert (report.read, report.finished) == (0, False)
    assert exported(memory) == before


def test_a_run_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(CHILD.parents[1])])}
    command = [sys.executable, str(CHILD), str(tmp_path / "brain")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None and child.stdout.readline() == "reading the third\n"
        child.kill()
    with Memory(tmp_path / "brain", embedder=WordEmbedder()) as memory:
        assert memory.check().ok
        assert memory.stats().enriched == 2
        engine = ScriptedEngine(KETTLE)
        assert (run(memory, engine, max_links=99).left, engine.calls, len(links(memory))) == (0, 4, 12)


class Flaky(ScriptedEngine):
    """Fails on its first so many answers."""

    def __init__(self, failures: int) -> None:
        super().__init__(KETTLE)
        self.failures = failures

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, *, cancelled: Cancelled | None = None
    ) -> Iterator[Piece]:
        self.failures -= 1
        if self.failures >= 0:
            raise EngineError("the model gives no numbers", engine=self.name)
        return super().stream(messages, options)


def test_where_the_model_fails_on_a_passage_the_others_are_read_and_it_is_tried_again(memory: Memory) -> None:
    told(memory, *TEXTS)
    report = run(memory, Flaky(1))
    assert (report.read, report.failed, report.left) == (2, 1, 1)
    assert run(memory).read == 1


class Choosy(ScriptedEngine):
    """Fails on passages with one of some words."""

    def __init__(self, *words: str) -> None:
        super().__init__(KETTLE)
        self.words = set(words)

    def stream(
        self, messages: Sequence[Message], options: GenerationOptions, *, cancelled: Cancelled | None = None
    ) -> Iterator[Piece]:
        if self.words & set(messages[-1].content.split()):
            self.calls += 1
            raise EngineError("the model gives no numbers", engine=self.name)
        return super().stream(messages, options)


def test_passages_that_always_fail_keep_no_others_from_being_read(memory: Memory) -> None:
    told(memory, *(f"poison number{i}" for i in range(MAX_FAILED + 1)), *TEXTS)
    with pytest.raises(EngineError, match="no numbers"):
        run(memory, Choosy("poison"))
    assert run(memory, Choosy("poison"), passages_per_run=len(TEXTS)).read == len(TEXTS)


def test_a_passage_is_given_up_after_a_few_times_by_this_model_alone(memory: Memory) -> None:
    told(memory, "poison", *TEXTS)
    reports = [run(memory, engine := Choosy("poison")) for _ in range(4)]
    assert [(r.failed, r.given_up, r.left) for r in reports] == [(1, 0, 1), (1, 0, 1), (1, 1, 0), (0, 0, 0)]
    assert engine.calls == 0
    assert run(memory, Choosy("poison"), model="another").failed == 1
    memory.remove_names()
    assert run(memory, Choosy("poison")).failed == 1


def test_an_endpoint_that_was_down_for_long_reads_all_once_it_is_up(memory: Memory) -> None:
    told(memory, *TEXTS)
    for _ in range(4):
        assert run(memory, Flaky(99), "https://host/v1#model").given_up == 0
    assert run(memory, model="https://host/v1#model").read == len(TEXTS)


def test_a_model_that_fails_now_and_then_reads_the_others(memory: Memory) -> None:
    memory.insert_nodes([f"copper kettle number{i}" for i in range(4 * MAX_FAILED)], type=NodeType.DOCUMENT)
    evens = " ".join(memory.texts(memory.unread("scripted", NAMING_VERSION, 3)[::2]).values())
    report = run(memory, Choosy(*re.findall(r"number\d+", evens)))
    assert (report.read, report.failed, report.left) == (2 * MAX_FAILED, 2 * MAX_FAILED, 2 * MAX_FAILED)


def test_a_model_that_fails_always_is_an_error(memory: Memory) -> None:
    told(memory, *TEXTS, "one more", "and another")
    with pytest.raises(EngineError, match="no numbers"):
        run(memory, Flaky(MAX_FAILED + 1))


# -- the way back ----------------------------------------------------------------------------------------------------


def test_taking_it_back_restores_the_brain_to_the_byte(memory: Memory) -> None:
    told(memory, *TEXTS, "we saw Old Harbour today", "the Old Harbour bell")
    before = exported(memory)
    assert run(memory, '["copper kettle", "Harbour", "bell"]').links == 1
    assert exported(memory) != before
    assert memory.remove_names() == 1
    assert exported(memory) == before


def test_taking_it_back_leaves_other_namespaces(memory: Memory, tmp_path: Path) -> None:
    told(memory, *TEXTS)
    run(memory)
    memory.close()
    with Memory(tmp_path / "brain", embedder=WordEmbedder(), namespace="other") as other:
        assert other.remove_names() == 0
        assert len(links(other)) == 1


def test_it_is_exported_and_imported(memory: Memory, tmp_path: Path) -> None:
    told(memory, *TEXTS)
    run(memory)
    file = exported(memory)
    with Memory(tmp_path / "copy", embedder=WordEmbedder()) as copy:
        copy.import_file(tmp_path / "x.jsonl")
        assert exported(copy, "y.jsonl") == file
        assert run(copy).read == 0


def test_a_brain_that_is_only_read_refuses(memory: Memory) -> None:
    told(memory, *TEXTS)
    with Memory(memory.path, embedder=WordEmbedder(), read_only=True) as reading:
        with pytest.raises(BrainReadOnly):
            run(reading)
        with pytest.raises(BrainReadOnly):
            reading.remove_names()


def test_stats_count_what_was_read(memory: Memory) -> None:
    told(memory, *TEXTS)
    run(memory, passages_per_run=2)
    assert memory.stats().enriched == 2


# -- with a model ----------------------------------------------------------------------------------------------------


def test_a_model_that_is_missing_is_named(tmp_path: Path) -> None:
    config = Config(generation=GenerationConfig(model="qwen2.5-coder-3b"), models=ModelsConfig(offline=True))
    with ruvllm.open(tmp_path, config=config, embedder=WordEmbedder()) as llm:
        llm.memory.add(TEXTS)
        with pytest.raises(ModelMissing, match=r"qwen2\.5-coder-3b"):
            llm.enrich()
        [job] = [job for job in llm.stats().jobs if job.name == "enrichment"]
        assert job.failures == 1 and "qwen2.5-coder-3b" in (job.last_error or "")


def test_where_no_model_is_local_it_says_so(tmp_path: Path) -> None:
    config = Config(generation=GenerationConfig(model="http://reader.invalid/v1#echo"))
    local = pytest.raises(ValueError, match=r"enrichment\.model: none of models\.tiers is local")
    with ruvllm.open(tmp_path, config=config, embedder=WordEmbedder()) as llm, local:
        llm.enrich()


@pytest.mark.real
def test_a_missing_extra_is_named(
    memory: Memory, smollm2_dir: Path, models_config: ModelsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(memory, *TEXTS)
    monkeypatch.setitem(sys.modules, "llguidance", None)
    engine = open_engine(str(smollm2_dir), GenerationConfig(), models_config)
    with pytest.raises(ValueError, match=r"pip install 'ruvllm\[constrained\]'"):
        enrich(memory, "smollm2-135m", lambda: nullcontext(engine), EnrichmentConfig())
    engine.close()


@pytest.mark.real
def test_a_real_model_names_only_what_stands_in_the_passages(
    memory: Memory, smollm2_dir: Path, models_config: ModelsConfig
) -> None:
    pytest.importorskip("llguidance", reason="the extra `constrained` is not installed")
    told(memory, *TEXTS)
    engine = open_engine(str(smollm2_dir), GenerationConfig(), models_config)
    report = enrich(memory, "smollm2-135m", lambda: nullcontext(engine), EnrichmentConfig())
    engine.close()
    rows = memory._store.rows("SELECT text, found FROM enrichments JOIN nodes ON id = node")
    assert (report.read, report.failed, len(rows)) == (3, 0, 3)
    assert all(set(json.loads(found)) <= set(phrases_of(text)) and json.loads(found) for text, found in rows)


@pytest.mark.real
def test_a_real_model_stops_between_tokens(smollm2_dir: Path, models_config: ModelsConfig) -> None:
    pytest.importorskip("llguidance", reason="the extra `constrained` is not installed")
    engine, looks = open_engine(str(smollm2_dir), GenerationConfig(), models_config), iter([False] * 3)
    found = names_in(engine, TEXTS[0], max_names=3, max_new_tokens=64, must_stop=lambda: next(looks, True))
    engine.close()
    assert found is None and NAMING_VERSION == 1
