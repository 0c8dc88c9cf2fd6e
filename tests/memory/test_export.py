"""ruvllm/memory/export.py: the same content is the same bytes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from full_disk import full

from ruvllm.errors import BrainError
from ruvllm.memory import Memory
from ruvllm.memory.lines import TABLES
from ruvllm.types import Feedback

from .fakes import interaction


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_imported_into_an_empty_brain_it_is_the_same_bytes(
    filled: Memory, open_memory: Callable[..., Memory], tmp_path: Path, name: str
) -> None:
    filled.export(tmp_path / name)
    other = open_memory(tmp_path / "other")
    other.import_file(tmp_path / name)
    (tmp_path / "again").mkdir()
    other.export(tmp_path / "again" / name)
    assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_emptied_brain_takes_an_export_back_to_the_byte(
    filled: Memory, open_memory: Callable[..., Memory], tmp_path: Path
) -> None:
    filled.export(tmp_path / "x.jsonl")
    other = open_memory(tmp_path / "other")
    other.add(["gone"])
    other.forget(other.sources()[0].source)
    other.import_file(tmp_path / "x.jsonl")
    other.export(tmp_path / "y.jsonl")
    assert (tmp_path / "y.jsonl").read_bytes() == (tmp_path / "x.jsonl").read_bytes()


def test_an_answer_whose_sources_alone_were_marked_is_taken_back(
    open_memory: Callable[..., Memory], tmp_path: Path
) -> None:
    memory = open_memory()
    nodes = memory.insert_nodes(["The sled is red.", "The hut is warm."])
    memory.record(interaction("a1", source_ids=tuple(nodes)))
    memory.feedback("a1", Feedback(marks={nodes[0]: True}))
    memory.export(tmp_path / "x.jsonl")
    memory.close()
    other = open_memory(tmp_path / "other")
    other.import_file(tmp_path / "x.jsonl")
    assert other.interaction("a1").feedback == Feedback(marks={nodes[0]: True})


def test_every_table_and_column_is_exported(filled: Memory, tmp_path: Path) -> None:
    filled.export(tmp_path / "x.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"brain", *TABLES, "end"}
    for table in TABLES.values():
        columns = {row[0] for row in filled._store.rows("SELECT name FROM pragma_table_info(?)", (table.name,))}
        assert set(table.columns) == columns


def test_time_of_writing_leaves_no_trace(filled: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.export(tmp_path / "x.jsonl.gz")
    monkeypatch.setattr(time, "time", lambda: 3e9)
    filled.export(tmp_path / "y.jsonl.gz")
    assert (tmp_path / "x.jsonl.gz").read_bytes() == (tmp_path / "y.jsonl.gz").read_bytes()


def test_what_a_link_points_to_is_written(filled: Memory, tmp_path: Path) -> None:
    link, target = tmp_path / "link.jsonl", tmp_path / "elsewhere" / "x.jsonl"
    target.parent.mkdir()
    link.symlink_to(target)
    filled.export(link)
    assert link.is_symlink() and json.loads(target.read_text().splitlines()[0])["kind"] == "brain"
    assert list(target.parent.iterdir()) == [target]


def test_a_pipe_is_refused_and_stays(filled: Memory, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"pipe is not a regular file"):
        filled.export(tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


def test_full_disk_is_said_of_the_file(filled: Memory, small_disk: Path) -> None:
    with full(small_disk), pytest.raises(BrainError, match=r"x\.jsonl: the disk is full"):
        filled.export(small_disk / "x.jsonl")
    assert not list(small_disk.iterdir())
