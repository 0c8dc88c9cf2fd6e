"""ruvllm/memory/import_brain.py: nothing lost, nothing half done, whatever is here already."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ruvllm.memory import Concept, Memory
from ruvllm.memory.lines import VERSION
from ruvllm.types import EdgeType

from .fakes import WordEmbedder, interaction


def content(memory: Memory) -> dict[str, Any]:
    """Everything in a brain without its ids."""
    rows = memory._store.rows
    name = "(SELECT text FROM nodes WHERE id = {})"
    columns = "namespace, type, text, source, created, last_used, use_count, tier, trust, session, probation, vector"
    ends = f"{name.format('src')}, {name.format('dst')}"
    asked = f"{name.format('query_node')}, {name.format('answer_node')}"
    shown = "(SELECT group_concat(text) FROM nodes WHERE id IN (SELECT value FROM json_each(source_ids)))"
    return {
        "nodes": rows(f"SELECT {columns} FROM nodes JOIN vectors ON node = id ORDER BY text"),
        "edges": rows(f"SELECT {ends}, type, weight, success, failure, created_by FROM edges ORDER BY 1, 2, 3"),
        "documents": rows("SELECT namespace, source, title, sha256, chunks FROM documents ORDER BY source"),
        "interactions": rows(f"SELECT id, session, {asked}, {shown}, route, confidence FROM interactions"),
        "feedback": rows(f"SELECT rating, correction, {name.format('correction_node')} FROM feedback"),
        "decisions": rows("SELECT * FROM decisions"),
        "outcomes": rows(
            f"SELECT tier, shown, quality, latency_ms, answer, source, rater, at, {shown} FROM tier_outcomes ORDER BY 1"
        ),
    }


@pytest.mark.parametrize("name", ["brain.jsonl", "brain.jsonl.gz"])
def test_everything_comes_back(filled: Memory, open_memory: Callable[..., Memory], tmp_path: Path, name: str) -> None:
    lines = filled.export(tmp_path / name)
    other = open_memory(tmp_path / "other")
    assert other.import_file(tmp_path / name) == lines
    assert content(other) == content(filled)
    assert other.check().ok
    assert other.search("text1")[0].node.source == "s1"
    assert not list(tmp_path.glob("*.tmp"))


def test_import_joins_what_is_there_and_renumbers(
    filled: Memory, open_memory: Callable[..., Memory], tmp_path: Path
) -> None:
    filled.export(tmp_path / "x.jsonl")
    other = open_memory(tmp_path / "other")
    other.add(
        [
            {"text": "mine", "source": "mine"},
            {"text": "my own version", "source": "s0"},
            {"text": "text1 words", "title": "T1", "source": "s1"},
        ]
    )
    other.import_file(tmp_path / "x.jsonl")
    assert {s.source for s in other.sources()} == {"mine", "s0", "s1", "s2"}
    assert other.search("text0", k=1)[0].node.text == "text0 words"
    assert other._store.value("SELECT ended IS NOT NULL FROM nodes WHERE text = 'my own version'")
    assert other._store.value("SELECT count(*) FROM nodes WHERE text = 'text1 words'") == 1
    assert other.interaction("a1").used_ids == (other.search("text1", k=1)[0].node.id,)
    assert other.check().ok


def test_nothing_of_a_replaced_document_is_quoted_or_found_in_the_archive(
    memory: Memory, open_memory: Callable[..., Memory], tmp_path: Path
) -> None:
    theirs = open_memory(tmp_path / "theirs")
    theirs.add([{"text": "their own version", "source": "s"}])
    theirs.export(tmp_path / "x.jsonl")
    memory.add([{"text": "paint is secretly red", "source": "s"}])
    old, other = memory.search("paint")[0].node.id, memory.insert_node("paint is blue")
    for members in ([old], [old, other]):
        memory.put_concept(Concept("paint quoted in confidence"), dict.fromkeys(members, 0.9))
    memory._store.write(lambda c: c.execute("UPDATE nodes SET use_count = 9 WHERE id <> ?", (old,)).fetchall())
    assert memory.run_archival(0.0, 9).archived == 1
    memory.import_file(tmp_path / "x.jsonl")
    assert [(one.members, one.is_hidden) for one in memory.concepts()] == [((old,), True), ((old, other), True)]
    assert {hit.node.text for hit in memory.search("paint quoted in confidence")} == {
        "their own version",
        "paint is blue",
    }
    assert memory.check().findings == ()


def test_what_an_import_replaces_is_history_and_forgotten_with_its_source(
    memory: Memory, open_memory: Callable[..., Memory], tmp_path: Path
) -> None:
    theirs = open_memory(tmp_path / "theirs")
    theirs.add([{"text": "their own version", "source": "s"}])
    theirs.export(tmp_path / "x.jsonl")
    memory.add([{"text": "my own version", "source": "s"}])
    memory.set_trust("s", 0.5)
    [hit] = memory.search("my own version")
    memory.record(replace(interaction("a1"), source_ids=(hit.node.id,)))
    memory.import_file(tmp_path / "x.jsonl")
    [found] = memory.search("own version")
    assert (found.node.text, found.node.trust) == ("their own version", 0.5)
    assert [one.trust for one in memory.sources()] == [0.5]
    assert memory.get(hit.node.id).text == "my own version"
    assert memory.check().findings == ()
    memory.export(tmp_path / "mine.jsonl")
    assert theirs.import_file(tmp_path / "mine.jsonl") and theirs.check().findings == ()
    assert memory.import_file(tmp_path / "mine.jsonl") and memory.stats().nodes == 4
    memory.forget("s")
    assert memory.stats().nodes == 1  # the question: the answer repeats what was replaced


NEW_KINDS: dict[int, tuple[str, ...]] = {
    5: ("enrichment",),
    4: ("session", "signal"),
    3: ("decision", "tier_outcome"),
    2: ("credit", "mark", "edge_move", "co_retrieval"),
}
NEW_FIELDS: dict[int, dict[str, tuple[str, ...]]] = {
    5: {},
    4: {"interaction": ("quality", "quality_source", "judge_score"), "decision": ("sampling_chance",)},
    3: {},
    2: {
        "node": ("ended", "names", "mentions"),
        "edge": ("created", "ended", "decayed"),
        "interaction": ("said_node",),
        "feedback": ("rater",),
    },
}


def as_version(version: int, file: Path) -> None:
    """Make an export what an older version wrote."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for newer in range(VERSION, version, -1):
        lines = [line for line in lines if line["kind"] not in NEW_KINDS[newer]]
        for line in lines:
            for field in NEW_FIELDS[newer].get(line["kind"], ()):
                del line[field]
    lines[0]["version"], lines[-1]["count"] = version, len(lines) - 2
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_export_of_version_1_is_read(filled: Memory, open_memory: Callable[..., Memory], tmp_path: Path) -> None:
    filled.export(tmp_path / "x.jsonl")
    as_version(1, tmp_path / "x.jsonl")
    other = open_memory(tmp_path / "other")
    other.import_file(tmp_path / "x.jsonl")
    assert content(other) == content(filled) | {"decisions": [], "outcomes": []}
    assert other._store.value("SELECT count(*) FROM edges WHERE created <> last_used OR ended IS NOT NULL") == 0
    assert other._store.value("SELECT rater FROM feedback") == "local"


@pytest.mark.parametrize("version", [2, 3, 4])
def test_export_of_an_older_version_is_read(
    filled: Memory, open_memory: Callable[..., Memory], tmp_path: Path, version: int
) -> None:
    filled.export(tmp_path / "x.jsonl")
    as_version(version, tmp_path / "x.jsonl")
    other = open_memory(tmp_path / "other")
    other.import_file(tmp_path / "x.jsonl")
    assert content(other) == content(filled) | ({"decisions": [], "outcomes": []} if version == 2 else {})
    assert other.check().ok


def test_superseding_node_is_renumbered(filled: Memory, open_memory: Callable[..., Memory], tmp_path: Path) -> None:
    filled.export(tmp_path / "x.jsonl")
    other = open_memory(tmp_path / "other")
    other.add(["mine"])
    other.import_file(tmp_path / "x.jsonl")
    answer = other.get(other.interaction("a1").answer_node or 0)
    assert other.get(answer.metadata["superseded_by"]).text == "corrected"


def test_import_twice_changes_nothing(filled: Memory, open_memory: Callable[..., Memory], tmp_path: Path) -> None:
    filled.export(tmp_path / "x.jsonl")
    other = open_memory(tmp_path / "other")
    other.import_file(tmp_path / "x.jsonl")
    once = content(other)
    other.import_file(tmp_path / "x.jsonl")
    filled.import_file(tmp_path / "x.jsonl")
    assert content(other) == once == content(filled)


def test_outcomes_of_no_answer_are_imported_once(
    memory: Memory, open_memory: Callable[..., Memory], tmp_path: Path
) -> None:
    nodes = memory.insert_nodes(["an old tale", "a fact"])
    memory.insert_edge(*nodes, EdgeType.CITES)
    memory.apply_outcome(nodes, 1.0, id="a task")
    memory.export(tmp_path / "x.jsonl")
    other = open_memory(tmp_path / "other")
    for _ in range(2):
        other.import_file(tmp_path / "x.jsonl")
        assert content(other) == content(memory)


def test_empty_brain_travels(memory: Memory, tmp_path: Path) -> None:
    assert memory.export(tmp_path / "x.jsonl") == 2
    assert memory.import_file(tmp_path / "x.jsonl") == 2


BAD_VALUES: list[tuple[str, dict[str, Any]]] = [
    ("document", {"ingested": float("inf")}),
    ("document", {"source": ""}),
    ("node", {"type": "Spell"}),
    ("node", {"text": " "}),
    ("node", {"tier": "warm"}),
    ("node", {"trust": 1.5}),
    ("node", {"trust": float("nan")}),
    ("node", {"metadata": []}),
    ("edge", {"dst": 999}),
    ("edge", {"type": "Loves"}),
    ("edge", {"weight": -0.1}),
    ("edge", {"ended": "never"}),
    ("node", {"mentions": [1 << 63]}),
    ("node", {"names": [" "]}),
    ("co_retrieval", {"a": 2}),
    ("mark", {"helped": 2}),
    ("credit", {"credit": 1.5}),
    ("edge_move", {"moved": 3.0}),
    ("edge_move", {"dst": 999}),
    ("edge", {"success": -1}),
    ("interaction", {"route": {}}),
    ("interaction", {"route": {"model": 3, "context_tokens": "x", "temperature": 0, "top_p": 1}}),
    ("interaction", {"finish_reason": "bored"}),
    ("interaction", {"confidence": "high"}),
    ("interaction", {"source_ids": ["x"]}),
    ("interaction", {"timings_ms": {"total": "long"}}),
    ("decision", {"tier": "huge"}),
    ("decision", {"estimates": []}),
    ("decision", {"estimates": [{"tier": "small", "score": 1.0, "propensity": 2.0}]}),
    ("decision", {"features": "AAAA"}),
    ("decision", {"present": "?"}),
    ("tier_outcome", {"quality": 1.5}),
    ("tier_outcome", {"latency_ms": -1.0}),
    ("tier_outcome", {"source": "user"}),
    ("tier_outcome", {"interaction": "nobody's"}),
    ("feedback", {"rating": 9}),
    ("feedback", {"quality": -1.0}),
    ("feedback", {"task_success": 7}),
]


def spoil(lines: list[str], how: Any) -> tuple[list[str], int]:
    node = next(i for i, line in enumerate(lines) if json.loads(line)["kind"] == "node")
    row = json.loads(lines[node])
    if how == "not json":
        lines[node] = lines[node][:-20]
    elif how == "short vector":
        lines[node] = json.dumps(row | {"vector": row["vector"][:8]})
    elif how == "zero vector":
        lines[node] = json.dumps(row | {"vector": "A" * 341 + "A=="})
    elif how == "missing field":
        lines[node] = json.dumps({k: v for k, v in row.items() if k != "text"})
    elif how == "wrong type":
        lines[node] = json.dumps(row | {"created": "yesterday"})
    elif how == "unknown kind":
        lines[node] = json.dumps(row | {"kind": "spell"})
    elif how == "no object":
        lines[node] = "[1]"
    elif isinstance(how, tuple):
        kind, change = how
        node = next(i for i, line in enumerate(lines) if json.loads(line)["kind"] == kind)
        lines[node] = json.dumps(json.loads(lines[node]) | change)
    elif how == "header":
        node, lines[0] = 0, '{"kind": "brain", "version": 99}'
    else:  # cut off
        node = len(lines) - 2
        lines = lines[:-1]
    return lines, node + 1


@pytest.mark.parametrize(
    "how",
    ["not json", "short vector", "zero vector", "missing field", "wrong type", "unknown kind", "no object",
     "header", "cut off", *BAD_VALUES],
    ids=str,
)  # fmt: skip
def test_damaged_line_is_named_and_nothing_is_imported(
    filled: Memory, open_memory: Callable[..., Memory], tmp_path: Path, how: Any
) -> None:
    file = tmp_path / "x.jsonl"
    filled.export(file)
    lines, number = spoil(file.read_text().splitlines(), how)
    file.write_text("\n".join(lines) + "\n")
    other = open_memory(tmp_path / "other")
    other.add(["mine"])

    with pytest.raises(ValueError, match=f"x.jsonl, line {number}: "):
        other.import_file(file)

    assert other.stats().nodes == 1
    assert other.check().ok


def test_damaged_compression_is_named(filled: Memory, open_memory: Callable[..., Memory], tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl.gz"
    filled.export(file)
    other = open_memory(tmp_path / "other")
    for bad in (file.read_bytes()[:-40], b"no gzip", gzip.compress(b"\xff\xfe")):
        file.write_bytes(bad)
        with pytest.raises(ValueError, match=r"x\.jsonl\.gz, line"):
            other.import_file(file)


def test_vectors_of_another_embedder_are_refused(
    filled: Memory, open_memory: Callable[..., Memory], tmp_path: Path
) -> None:
    filled.export(tmp_path / "x.jsonl")
    other = open_memory(tmp_path / "other", embedder=WordEmbedder(id="other"))
    other.add(["mine"])
    with pytest.raises(ValueError, match="line 1: its vectors are by words-64, those here by other"):
        other.import_file(tmp_path / "x.jsonl")


def test_empty_brain_whose_embedder_is_open_takes_no_vectors_by_another(
    filled: Memory, open_memory: Callable[..., Memory], tmp_path: Path
) -> None:
    filled.export(tmp_path / "x.jsonl")
    other = open_memory(tmp_path / "other", embedder=WordEmbedder(id="other"))
    with pytest.raises(ValueError, match="line 1: its vectors are by words-64, those here by other"):
        other.import_file(tmp_path / "x.jsonl")
    assert other.add(["mine"]).added == 1
