"""Bad input as a caller of `ruvllm.open` meets it: a clear error naming what, and nothing lost.

The parts are real: a tiny converted encoder, the database, the index, a remote reader behind a real HTTP server.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import apsw
import numpy as np
import pytest
from memory.fakes import WordEmbedder
from models import tiny

import ruvllm
from ruvllm import models
from ruvllm.errors import (
    BrainDamaged,
    BrainLocked,
    BrainReadOnly,
    BrainTooNew,
    EndpointError,
    ModelDamaged,
    ModelMissing,
)
from ruvllm.memory.schema import MIGRATIONS
from ruvllm.types import Feedback

from .parts import QUESTION, TEXTS, Configure, Serve

pytestmark = [pytest.mark.integration]


# -- documents -------------------------------------------------------------------------------------------------------


def test_bad_files_among_many_are_listed_and_the_rest_is_stored(tmp_path: Path, configure: Configure) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for i in range(80):  # more than one batch
        (docs / f"good{i:02}.md").write_text(f"# Note {i}\n\nThe lamp number {i} hangs in the hall.\n")
    (docs / "aa-unreadable.md").symlink_to(docs / "aa-unreadable.md")  # fails for every user, root too
    (docs / "binary.txt").write_bytes(os.urandom(100) + b"\0")
    (docs / "empty.md").touch()
    (docs / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    (docs / "huge.txt").touch()
    os.truncate(docs / "huge.txt", 100 * 1024 * 1024)
    (docs / "zz-vanished.md").write_text("gone before it is read")

    def on_progress(progress: object) -> None:
        (docs / "zz-vanished.md").unlink(missing_ok=True)

    with ruvllm.open(tmp_path / "brain", config=configure()) as llm:
        report = llm.ingest([docs, docs / "never-there.md"], on_progress=on_progress)
        assert (report.added, len(report.failures)) == (80, 7)
        reasons = {Path(failure.source).name: failure.reason for failure in report.failures}
        assert reasons["aa-unreadable.md"] == os.strerror(errno.ELOOP)
        assert "binary" in reasons["binary.txt"] and "empty" in reasons["empty.md"]
        assert "not UTF-8" in reasons["latin.txt"] and "104857600 > 33554432" in reasons["huge.txt"]
        assert "does not exist" in reasons["zz-vanished.md"] and "does not exist" in reasons["never-there.md"]
        assert len(llm.memory.sources()) == 80 and llm.check().ok
        assert llm.ask("Where does lamp 77 hang?").sources


def test_a_huge_file_that_is_allowed_is_still_only_one_failure(tmp_path: Path, configure: Configure) -> None:
    (tmp_path / "huge.txt").touch()
    os.truncate(tmp_path / "huge.txt", 100 * 1024 * 1024)
    config = configure(ingest__max_file_bytes=1 << 30)
    with ruvllm.open(tmp_path / "brain", config=config) as llm:
        report = llm.ingest([tmp_path / "huge.txt", "A text that is fine."])
    assert report.added == 1
    assert [failure.reason for failure in report.failures] == ["it is binary (a zero byte at offset 0)"]


# -- questions and vectors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", ["", " \n\t ", "x" * 20_001, "why is the ice so old " * 900, "lone \ud800"])
def test_bad_questions_are_refused_and_leave_the_session_free(brain: Path, configure: Configure, question: str) -> None:
    with ruvllm.open(brain, config=configure()) as llm:
        with pytest.raises(ValueError, match="query"):
            llm.ask(question, session="alice")
        assert llm.history("alice") == [] and llm.stats().interactions == 0
        assert llm.ask(QUESTION, session="alice").text


@pytest.mark.parametrize("k", [0, -1, True, 1.5])
def test_a_number_of_sources_below_one_is_refused(brain: Path, configure: Configure, k: int) -> None:
    with ruvllm.open(brain, config=configure()) as llm:
        for ask in (llm.ask, llm.retrieve):
            with pytest.raises(ValueError, match=r"k must be a whole number >= 1"):
                ask(QUESTION, k=k)


@pytest.mark.parametrize(("layer", "value"), [(0, 3e38), (tiny.LAYERS - 1, 0.0)], ids=["overflow", "zero"])
def test_a_model_that_gives_no_numbers_stores_nothing(
    tmp_path: Path, brain: Path, configure: Configure, layer: int, value: float
) -> None:
    weights = tiny.encoder_weights()
    for name in weights:
        if f"layer.{layer}.output.LayerNorm" in name:
            weights[name] = np.full_like(weights[name], value)
    source = tiny.write_encoder_folder(tmp_path / "broken-bert", weights, tiny.encoder_config())
    config = configure(embedding__model="broken-bert")
    models.pull(f"path:{source}", config.models)
    with ruvllm.open(tmp_path / "new", config=config) as llm:
        report = llm.ingest(TEXTS)
        assert report.added == 0 and len(report.failures) == 3
        assert all("embedding holds a" in failure.reason for failure in report.failures)
        with pytest.raises(ModelDamaged, match="broken-bert"):
            llm.memory.encode([QUESTION])
        assert llm.ask(QUESTION).warnings[0].startswith("embed: searched by words alone")
        assert llm.stats().nodes == 0 and llm.check().ok


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_bad_query_vector_is_refused(brain: Path, configure: Configure, value: float) -> None:
    with ruvllm.open(brain, config=configure()) as llm, pytest.raises(ValueError, match="query_vector"):
        llm.memory.search(QUESTION, query_vector=np.full(tiny.HIDDEN, value, np.float32))


# -- feedback --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ({"helped": [4]}, r"helped: of the sources of .*, 1 to 3, none is 4"),
        ({"unhelpful": [0]}, r"unhelpful: .* none is 0"),
        ({"helped": [1], "unhelpful": [1]}, "source 1 is in both"),
    ],
)
def test_marks_of_what_was_not_shown_are_refused(
    brain: Path, configure: Configure, marks: dict[str, list[int]], message: str
) -> None:
    with ruvllm.open(brain, config=configure()) as llm:
        answer = llm.ask(QUESTION, k=3)
        with pytest.raises(ValueError, match=message):
            llm.feedback(answer.id, rating=5, **marks)
        assert llm.memory.interaction(answer.id).feedback is None


def test_marks_name_sources_by_their_numbers(brain: Path, configure: Configure) -> None:
    with ruvllm.open(brain, config=configure()) as llm:
        answer = llm.ask(QUESTION, k=3)
        llm.feedback(answer.id, helped=[1], unhelpful=[3], rater="bob")
        nodes = {source.number: source.node_id for source in answer.sources}
        said = Feedback(rater="bob", marks={nodes[1]: True, nodes[3]: False})
        assert llm.memory.interaction(answer.id).feedback == said


# -- the brain's directory -------------------------------------------------------------------------------------------


def writes(llm: ruvllm.RuvLLM, file: Path) -> list[Callable[[], object]]:
    return [
        lambda: llm.ingest(["new"]),
        lambda: llm.forget("x"),
        lambda: llm.feedback("x", rating=3),
        lambda: llm.learn(),
        lambda: llm.check(repair=True),
        lambda: llm.memory.feedback("x", Feedback(rating=3)),
        lambda: llm.memory.apply_outcome([1, 2], 1.0),
        lambda: llm.memory.apply_decay(),
        lambda: llm.memory.import_file(file),
    ]


def test_beside_another_writer_asking_works_and_writing_names_its_pid(brain: Path, configure: Configure) -> None:
    with ruvllm.open(brain, config=configure()) as first, ruvllm.open(brain, config=configure()) as second:
        assert second.read_only and not first.read_only
        response = second.ask(QUESTION, session="alice")
        assert TEXTS[0] in {source.text for source in response.sources}
        assert any("not remembered" in warning for warning in response.warnings)
        for write in writes(second, brain / "x"):
            with pytest.raises(BrainLocked, match=str(os.getpid())) as caught:
                write()
            assert caught.value.pid == os.getpid()
        first.ingest(["The first still writes."])
        assert second.stats().documents == 4


def test_in_a_directory_that_cannot_be_written_asking_works(brain: Path, configure: Configure) -> None:
    (brain / "lock").unlink()
    (brain / "lock").mkdir()  # what the lock file meets is an error for every user, root too
    before = (brain / "brain.db").read_bytes()
    with ruvllm.open(brain, config=configure()) as llm:
        assert llm.read_only and TEXTS[0] in {source.text for source in llm.ask(QUESTION).sources}
        for write in writes(llm, brain / "x"):
            with pytest.raises(BrainReadOnly, match="cannot be written"):
                write()
    assert (brain / "brain.db").read_bytes() == before


def test_a_brain_of_a_newer_version_is_refused_and_left_alone(brain: Path, configure: Configure) -> None:
    connection = apsw.Connection(str(brain / "brain.db"))
    connection.pragma("user_version", 99)
    connection.close()
    before = (brain / "brain.db").read_bytes()
    for read_only in (False, True):
        with pytest.raises(BrainTooNew, match=r"99.*upgrade") as caught:
            ruvllm.open(brain, config=configure(), read_only=read_only)
        assert (caught.value.found, caught.value.supported) == (99, len(MIGRATIONS))
    assert (brain / "brain.db").read_bytes() == before


def test_a_truncated_database_is_damage_and_left_alone(brain: Path, configure: Configure) -> None:
    os.truncate(brain / "brain.db", 9000)
    before = (brain / "brain.db").read_bytes()
    with pytest.raises(BrainDamaged, match="restore a backup"):
        ruvllm.open(brain, config=configure())
    assert (brain / "brain.db").read_bytes() == before


def test_an_empty_database_cannot_be_read_but_becomes_a_brain(tmp_path: Path, configure: Configure) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "brain.db").touch()  # what a kill in the first moment leaves
    with pytest.raises(BrainReadOnly, match="empty"):
        ruvllm.open(tmp_path / "b", config=configure(), read_only=True)
    with ruvllm.open(tmp_path / "b", config=configure()) as llm:
        assert llm.ingest(TEXTS).added == 3


def test_an_empty_path_is_a_mistake(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="path must not be empty"):
        ruvllm.open("", config=configure())
    assert not (tmp_path / "brain.db").exists()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "manifest"])
def test_a_damaged_index_costs_no_answer_and_is_mended(tmp_path: Path, configure: Configure, damage: str) -> None:
    config = configure(index__exact_below=10, index__m=8, index__ef_construction=32)

    def found(memory: ruvllm.Memory) -> list[int]:
        return [hit.node.id for hit in memory.search("lamp number 77", 5)]

    with ruvllm.Memory(tmp_path / "b", config=config, embedder=WordEmbedder()) as memory:
        memory.add([f"The lamp number {i} hangs in hall {i % 7}." for i in range(80)])
        memory.compact()
        expected = found(memory)
    file = tmp_path / "b" / "index" / ("default.json" if damage == "manifest" else "default.hnsw")
    content = bytearray(file.read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with ruvllm.Memory(tmp_path / "b", config=config, embedder=WordEmbedder(), read_only=True) as memory:
        assert found(memory) == expected
        assert [finding.severity for finding in memory.check().findings] == ["warning"]
    with ruvllm.Memory(tmp_path / "b", config=config, embedder=WordEmbedder()) as memory:
        assert found(memory) == expected
        assert memory.check(repair=True).ok
        assert memory.check().findings == ()


# -- models ----------------------------------------------------------------------------------------------------------


def test_without_its_embedder_a_brain_can_still_be_cared_for(brain: Path, cache: Path, configure: Configure) -> None:
    shutil.rmtree(cache / "models" / "tiny-bert")
    with ruvllm.open(brain, config=configure()) as llm:
        for use in (lambda: llm.ask(QUESTION), lambda: llm.retrieve(QUESTION), lambda: llm.ingest(["new"])):
            with pytest.raises(ModelMissing, match="tiny-bert"):
                use()
        assert llm.stats().documents == 3 and llm.check().ok
        assert llm.forget(llm.memory.sources()[0].source) == 1
        assert llm.memory.export(brain.parent / "saved.jsonl") > 2


def test_without_a_reader_the_answer_is_quoted_and_says_so(brain: Path, configure: Configure) -> None:
    with ruvllm.open(brain, config=configure(generation__model="smollm2-135m")) as llm:
        response = llm.ask(QUESTION)
    assert response.finish_reason == "extract" and response.sources
    assert any("ruvllm pull smollm2-135m" in warning for warning in response.warnings)


def test_a_flipped_bit_in_a_model_is_found_by_check(brain: Path, cache: Path, configure: Configure) -> None:
    weights = cache / "models" / "tiny-bert" / "model.bin"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with ruvllm.open(brain, config=configure()) as llm:
        for repair in (False, True):  # it was made from a path, there is nothing to pull again
            report = llm.check(repair=repair)
            assert not report.ok and "model.bin has sha256" in report.findings[0].what


def test_a_default_model_that_cannot_be_pulled_again_is_in_the_report(
    brain: Path, cache: Path, configure: Configure
) -> None:
    (cache / "models" / "smollm2-135m").mkdir()
    with ruvllm.open(brain, config=configure(generation__model="smollm2-135m")) as llm:
        report = llm.check(repair=True)
    assert not report.ok and len(report.findings) == 2
    assert "offline" in report.findings[1].what


@pytest.mark.parametrize("state", ["no card", "half a card", "truncated weights", "no tokenizer"])
def test_a_half_finished_model_is_named(brain: Path, cache: Path, configure: Configure, state: str) -> None:
    folder = cache / "models" / "tiny-bert"
    if state == "no card":
        (folder / "ruvllm.json").unlink()
    elif state == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    else:
        file = folder / ("ruvllm.json" if state == "half a card" else "model.bin")
        os.truncate(file, file.stat().st_size // 2)
    config = configure()
    with ruvllm.open(brain, config=config) as llm:
        with pytest.raises(ModelDamaged, match="tiny-bert"):
            llm.retrieve(QUESTION)
        assert "tiny-bert" in llm.ask(QUESTION).warnings[0]
        assert not llm.check().ok and llm.stats().interactions == 0
    assert [model.card for model in models.installed(config.models)] == [None]


def test_a_conversion_that_was_killed_is_done_anew(tmp_path: Path, cache: Path, configure: Configure) -> None:
    shutil.rmtree(cache / "models" / "tiny-bert")
    half = cache / "models" / ".partial" / "tiny-bert" / "converted"
    half.mkdir(parents=True)
    (half / "model.bin").write_bytes(b"half")
    config = configure()
    with ruvllm.open(tmp_path / "b", config=config) as llm:
        with pytest.raises(ModelMissing, match="tiny-bert"):
            llm.ingest(TEXTS)
        assert models.installed(config.models) == []
        source = tiny.write_encoder_folder(tmp_path / "tiny-bert", tiny.encoder_weights(), tiny.encoder_config())
        models.pull(f"path:{source}", config.models)
        assert llm.ingest(TEXTS).added == 3
    assert not half.exists()


# -- endpoints -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("slow", "silent for more than"),
        ("slow_middle", "silent for more than"),
        ("garbage", "not JSON"),
        ("html", "expected an event stream"),
        ("wrong_fields", "'choices' is missing"),
        ("error_event", "out of memory"),
        ("truncated", "broke off"),
        ("huge_line", "a line is longer"),
        ("500", "answered 500"),
        ("401", "answered 401"),
    ],
)
def test_a_bad_endpoint_is_an_error_that_leaves_no_trace(
    brain: Path, configure: Configure, serve: Serve, mode: str, says: str
) -> None:
    endpoint = serve(mode)
    config = configure(generation__model=endpoint.location, generation__timeout_s=0.5)
    with ruvllm.open(brain, config=config) as llm:
        with pytest.raises(EndpointError, match=says) as caught:
            llm.ask(QUESTION, session="alice")
        assert caught.value.url.startswith(endpoint.location.partition("#")[0])
        assert llm.history("alice") == [] and llm.stats().interactions == 0
        endpoint.mode = "ok"  # the endpoint recovers: same brain, same session
        assert llm.ask(QUESTION, session="alice").finish_reason != "extract"
        assert len(llm.history("alice")) == 1


def test_an_endpoint_that_is_down_is_an_error_that_leaves_no_trace(brain: Path, configure: Configure) -> None:
    with socket.socket() as taken:  # bound but not listening: connecting is refused
        taken.bind(("127.0.0.1", 0))
        location = f"http://127.0.0.1:{taken.getsockname()[1]}/v1#m"
        with ruvllm.open(brain, config=configure(generation__model=location)) as llm:
            with pytest.raises(EndpointError, match="cannot be reached"):
                llm.ask(QUESTION, session="alice")
            assert llm.history("alice") == [] and llm.stats().interactions == 0


def test_a_tier_that_is_down_gives_way_and_is_asked_again_when_it_recovers(
    brain: Path, configure: Configure, serve: Serve
) -> None:
    first, second = serve("500"), serve("ok")
    tiers = (first.location, second.location)
    settings = {"models__tiers": tiers, "generation__model": tiers[0], "router__explore": 0.0}
    with ruvllm.open(brain, config=configure(**settings)) as llm:
        response = llm.ask(QUESTION, session="alice")
        assert (response.route.tier, response.route.decided_by) == (second.location, "fallback")
        assert "answered 500" in response.warnings[0]
        llm.feedback(response.id, rating=5)
        first.mode = "ok"
        assert llm.ask(QUESTION, session="alice").route.tier == first.location
        logged = llm.memory.routed(response.id)
        assert [(one.tier, one.quality) for one in logged.outcomes] == [(second.location, 1.0)]
        assert llm.check().ok
