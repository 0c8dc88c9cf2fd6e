"""ruvllm/memory/importers.py: texts of other makers come in whole, once, or not at all."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ruvllm.errors import BrainError
from ruvllm.memory import Memory
from ruvllm.memory.importers import ImportFormat, read_documents
from ruvllm.types import Node

from .fakes import WordEmbedder

TEXTS: list[Any] = [
    "a plain text about ships",
    {"text": "bread on Fridays", "title": "Kitchen", "source": "kitchen.txt", "metadata": {"tags": ["food"]}},
    {"text": "terns on cliffs", "title": None, "source": None, "metadata": None},
]
MEM0: list[Any] = [
    {
        "id": "m-1",
        "memory": "Ann likes tea",
        "hash": "d41d8",
        "metadata": {"topic": "taste"},
        "created_at": "2025-07-01T10:00:00-07:00",
        "updated_at": None,
        "user_id": "ann",
        "categories": ["food"],
    },
    {"id": 7, "memory": "Bob moved to Rome", "metadata": None, "agent_id": "guide", "run_id": "r1", "app_id": "a1"},
]
LANGCHAIN: list[Any] = [
    {"page_content": "glaciers move", "metadata": {"source": "ice.pdf", "page": 3, "title": "Ice"}, "id": "d1"},
    {"page_content": "rivers bend", "metadata": {"page": 4}, "type": "Document", "id": None},
    {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "document", "Document"],
        "kwargs": {"page_content": "deltas grow", "metadata": {}, "type": "Document"},
    },
]
ALL: dict[ImportFormat, list[Any]] = {"texts": TEXTS, "mem0": MEM0, "langchain": LANGCHAIN}


def as_list(entries: list[Any]) -> bytes:
    return json.dumps(entries, indent=2).encode()


def as_lines(entries: list[Any]) -> bytes:
    return "\n\n".join(json.dumps(entry) for entry in entries).encode()


def as_results(entries: list[Any]) -> bytes:
    return json.dumps({"results": entries, "relations": []}).encode()


def nodes(memory: Memory) -> dict[str, Node]:
    """The stored nodes by their texts."""
    ids = memory._store.rows("SELECT id FROM nodes")
    return {node.text: node for node in (memory.get(row[0]) for row in ids)}


@pytest.mark.parametrize("shape", [as_list, as_lines])
@pytest.mark.parametrize("format", ALL)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_every_format_and_shape_is_recognised(
    memory: Memory, tmp_path: Path, format: ImportFormat, shape: Callable[[list[Any]], bytes], suffix: str
) -> None:
    content = shape(ALL[format])
    file = tmp_path / f"dump.json{suffix}"
    file.write_bytes(gzip.compress(content) if suffix else content)
    assert memory.import_file(file) == len(ALL[format])
    assert len(nodes(memory)) == len(ALL[format])
    assert read_documents(file, format) == read_documents(file)


def test_texts_keep_title_source_and_metadata(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(as_list(TEXTS))
    memory.import_file(tmp_path / "x.json")
    found = nodes(memory)
    bread = found["bread on Fridays"]
    assert (bread.source, bread.metadata["title"], bread.metadata["tags"]) == ("kitchen.txt", "Kitchen", ["food"])
    assert str(found["a plain text about ships"].source).startswith("text:")
    assert memory.search("terns", k=1)[0].node.text == "terns on cliffs"


@pytest.mark.parametrize("shape", [as_list, as_lines, as_results])
def test_mem0_keeps_whose_it_is_and_when_it_was_made(
    memory: Memory, tmp_path: Path, shape: Callable[[list[Any]], bytes]
) -> None:
    (tmp_path / "x.json").write_bytes(shape(MEM0))
    memory.import_file(tmp_path / "x.json")
    tea, rome = nodes(memory)["Ann likes tea"], nodes(memory)["Bob moved to Rome"]
    assert (tea.source, rome.source) == ("mem0:m-1", "mem0:7")
    assert tea.metadata == {
        "topic": "taste",
        "hash": "d41d8",
        "created_at": "2025-07-01T10:00:00-07:00",
        "user_id": "ann",
        "categories": ["food"],
        "position": 0,
    }
    assert memory.search("who moved", filter={"run_id": "r1"})[0].node.id == rome.id


def test_langchain_keeps_id_title_and_metadata(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(as_list(LANGCHAIN))
    memory.import_file(tmp_path / "x.json")
    found = nodes(memory)
    ice = found["glaciers move"]
    assert ice.source == "langchain:d1"
    assert ice.metadata == {"source": "ice.pdf", "page": 3, "title": "Ice", "position": 0}
    assert {str(node.source)[:10] for node in found.values()} == {"langchain:"}
    assert set(found) == {"glaciers move", "rivers bend", "deltas grow"}


@pytest.mark.parametrize("format", ALL)
def test_second_import_changes_nothing(memory: Memory, tmp_path: Path, format: ImportFormat) -> None:
    (tmp_path / "x.json").write_bytes(as_list([*ALL[format], ALL[format][1]]))
    memory.import_file(tmp_path / "x.json")
    once = nodes(memory)
    embedder = memory._embedder()
    assert isinstance(embedder, WordEmbedder)
    encoded = embedder.texts_encoded
    memory.import_file(tmp_path / "x.json")
    assert nodes(memory) == once
    assert embedder.texts_encoded == encoded


def test_same_text_with_other_metadata_is_another_document(memory: Memory, tmp_path: Path) -> None:
    pages = [{"page_content": "blank", "metadata": {"page": page}} for page in range(2)]
    texts = [{"text": "blank", "metadata": {"page": page}} for page in range(2)]
    for name, entries in (("a.json", pages), ("b.json", [*texts, "blank"])):
        (tmp_path / name).write_bytes(as_list(entries))
        memory.import_file(tmp_path / name)
    assert len(memory.sources()) == 5


def test_changed_memory_replaces_the_one_before(memory: Memory, tmp_path: Path) -> None:
    for text in ("Ann likes tea", "Ann likes coffee"):
        (tmp_path / "x.json").write_bytes(as_list([{"id": "m-1", "memory": text}]))
        memory.import_file(tmp_path / "x.json")
    assert memory.search("Ann", k=5)[0].node.text == "Ann likes coffee"
    assert len(memory.sources()) == 1


def test_empty_list_holds_nothing(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"results": []}')
    assert memory.import_file(tmp_path / "x.json") == 0


NESTED = "[" * 100_000

BAD: list[tuple[str, str]] = [
    ("", "is empty"),
    ("[1]", "entry 1: it is a number; expected a text, or an object with text.* or an object with memory"),
    ("[{}]", "entry 1: it has nothing in it"),
    ('[{"content": "x"}]', "entry 1: it has 'content'"),
    ('["a", "b"', r"it is not JSON .*line 1"),
    ('[\n"a",\n"b" "c"]', "it is not JSON .*line 3"),
    ('"a"\n{"text": "b"', "line 2: it is not JSON"),
    ('["a", " "]', "entry 2: text must not be empty"),
    ('["a", {"text": 3}]', "entry 2: text must be a str, not int; expected a text"),
    ('["a", {"memory": "b"}]', "entry 2: unknown field 'memory'"),
    ('["a", {"text": "b", "colour": 1}]', "entry 2: unknown field 'colour'"),
    ('["a", {"text": "b", "metadata": []}]', "entry 2: metadata is a list, not an object"),
    ('["a", {"text": "b", "metadata": {"x": NaN}}]', "NaN is not a number"),
    ('["a", {"text": "b", "metadata": {"x": "\\ud800"}}]', "entry 2: .*surrogates"),
    ('["a", "\\ud800"]', "entry 2: text is not valid text"),
    ('["a", {"text": "b", "title": 3}]', "entry 2: title must be a str"),
    ('["a", {"text": "b", "source": 3}]', "entry 2: source must be a str"),
    ('[{"text": "a", "source": "s"}, {"text": "b", "source": "s"}]', "entry 2: entry 1 is another text of the same"),
    ('{"memory": "a"}\n\n["b"]', "line 3: it is a list; expected an object with memory"),
    ('[{"memory": "a"}, {"memory": null}]', "entry 2: memory must be a str, not NoneType"),
    ('[{"memory": "a", "id": {}}]', "entry 1: id is an object, not a text or a number"),
    ('[{"page_content": ""}]', "entry 1: page_content must not be empty; expected an object with page_content"),
    ('[{"page_content": "a", "score": 1}]', "entry 1: unknown field 'score'"),
    ('[{"page_content": "a", "type": "Blob"}]', "entry 1: type is 'Blob', not 'Document'"),
    ('[{"lc": 1, "type": "constructor", "id": ["AIMessage"], "kwargs": {}}]', "entry 1: it is a serialized object"),
    ('[{"lc": 1, "type": "not_implemented", "id": ["Document"]}]', "entry 1: it is a serialized object, but no Doc"),
    ('[{"lc": 1, "type": "constructor", "id": ["Document"], "kwargs": 1}]', "entry 1: kwargs is a number"),
    (NESTED, "it is not JSON"),
]


@pytest.mark.parametrize(("content", "message"), BAD, ids=lambda value: value[:40])
def test_bad_entry_is_named_and_nothing_is_imported(memory: Memory, tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=rf"x\.json.*{message}"):
        memory.import_file(file)
    assert memory.stats().nodes == 0


def test_wrong_format_is_refused(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(as_list(TEXTS))
    with pytest.raises(ValueError, match="entry 1: it is a text; expected an object with memory"):
        memory.import_file(tmp_path / "x.json", format="mem0")
    with pytest.raises(ValueError, match=r"x\.json, line 1: "):
        memory.import_file(tmp_path / "x.json", format="brain")
    with pytest.raises(ValueError, match="format must be one of brain, texts, mem0, langchain"):
        memory.import_file(tmp_path / "x.json", format="csv")  # type: ignore[arg-type]


def test_damaged_encoding_and_compression_are_named(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b'"a"\n"\xff"\n')
    (tmp_path / "x.json.gz").write_bytes(gzip.compress(as_list(TEXTS))[:-12])
    with pytest.raises(ValueError, match=r"line \d: it is not UTF-8"):
        memory.import_file(tmp_path / "x.json")
    with pytest.raises(ValueError, match=r"line \d+: damaged compression"):
        memory.import_file(tmp_path / "x.json.gz")


def test_text_the_embedder_cannot_take_is_named(open_memory: Callable[..., Memory], tmp_path: Path) -> None:
    class Broken(WordEmbedder):
        def encode(self, texts: Any) -> Any:
            vectors = super().encode(texts)
            vectors[["bad" in text for text in texts]] = float("nan")
            return vectors

    (tmp_path / "x.json").write_text('["good", "bad", "fine"]')
    memory = open_memory(embedder=Broken())
    with pytest.raises(BrainError, match=r"1 of 3 texts are not stored; text:.*NaN"):
        memory.import_file(tmp_path / "x.json")
    assert set(nodes(memory)) == {"good", "fine"}


@pytest.mark.parametrize("format", [None, "brain"])
def test_a_file_that_swells_is_refused_before_it_fills_the_memory(
    memory: Memory, tmp_path: Path, format: ImportFormat | None
) -> None:
    file = tmp_path / "x.json.gz"
    file.write_bytes(gzip.compress(b'["' + b"a" * (200 << 20), 9))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"x\.json\.gz, line 1: damaged compression: .* more than 100 times"):
            memory.import_file(file, format=format)
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()
