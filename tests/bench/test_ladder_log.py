"""A log goes on after it was cut anywhere, and is one compressed file at the end."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ruvllm.bench.ladder_log import open_log


def ids(out: Path) -> list[str]:
    with gzip.open(out, "rt") as file:
        return [json.loads(line)["id"] for line in file]


def write(out: Path, *names: str) -> None:
    with open_log(out) as log:
        for name in names:
            log.add({"id": name})


def test_a_whole_log_is_one_compressed_file(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "l.jsonl.gz", "a", "b")
    assert not (tmp_path / "deep" / "l.jsonl").exists()
    assert ids(tmp_path / "deep" / "l.jsonl.gz") == ["a", "b"]


def test_rows_are_on_disk_at_once_and_stay_when_the_run_fails(tmp_path: Path) -> None:
    out = tmp_path / "l.jsonl.gz"
    with pytest.raises(KeyboardInterrupt), open_log(out) as log:
        log.add({"id": "a"})
        raise KeyboardInterrupt
    assert not out.exists()
    assert (tmp_path / "l.jsonl").read_text() == '{"id":"a"}\n'


@pytest.mark.parametrize("rest", ["", '{"id":"b"', '{"id":"b"}', "\ufffd"])
def test_a_last_line_without_an_end_is_dropped(tmp_path: Path, rest: str) -> None:
    (tmp_path / "l.jsonl").write_text('{"id":"a"}\n' + rest)
    with open_log(tmp_path / "l.jsonl.gz") as log:
        assert list(log.rows) == ["a"]
        log.add({"id": "c"})
    assert ids(tmp_path / "l.jsonl.gz") == ["a", "c"]


def test_a_whole_log_is_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "l.jsonl.gz"
    write(out, "a")
    write(out, "b")
    assert ids(out) == ["a", "b"]


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    (tmp_path / "l.jsonl").write_text('{"id":"a"}\n{"id":\n{"id":"c"}\n')
    with pytest.raises(ValueError, match=r"l\.jsonl, line 2"), open_log(tmp_path / "l.jsonl.gz"):
        pass


def test_two_runs_do_not_add_to_one_log(tmp_path: Path) -> None:
    out = tmp_path / "l.jsonl.gz"
    with open_log(out) as log:
        log.add({"id": "a"})
        with pytest.raises(ValueError, match=r"out: another run adds to .*l\.jsonl\.gz"), open_log(out):
            pass
    assert ids(out) == ["a"]


@pytest.mark.parametrize("name", ["l.gz", "l.jsonl", "l"])
def test_another_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"out must end in \.jsonl\.gz"), open_log(tmp_path / name):
        pass
