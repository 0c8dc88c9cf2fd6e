"""A log of one JSON object a line that survives being ended at any point, compressed when it is whole."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from ruvllm.bench.corpora import read_rows

__all__ = ["Log", "open_log"]


class Log:
    """Rows by their id, those of earlier runs and those added."""

    def __init__(self, rows: dict[str, dict[str, Any]], file: BinaryIO) -> None:
        self._rows = rows
        self._file = file

    @property
    def rows(self) -> Mapping[str, dict[str, Any]]:
        """All rows, oldest first."""
        return self._rows

    def add(self, row: dict[str, Any]) -> None:
        """Write a row; it is on disk when this returns."""
        line = msgspec.json.encode(row)
        self._file.write(line + b"\n")
        self._file.flush()
        self._rows[row["id"]] = msgspec.json.decode(line)


@contextmanager
def open_log(out: Path) -> Iterator[Log]:
    """Yield the log `out`, and compress it at the end.

    Until then what is added stands in a file beside it, without the ".gz", and stays there when the body fails.

    Raises:
        ValueError: `out` does not end in .jsonl.gz, or a line of it is damaged; a last line cut short is dropped.
            Another process adds to it.
    """
    if out.suffixes[-2:] != [".jsonl", ".gz"]:
        raise ValueError(f"out must end in .jsonl.gz ({out})")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix("")
    with _alone(out):
        rows = {row["id"]: row for row in read_rows(out, ("id",))} if out.exists() else {}
        if part.exists():
            _drop_cut_line(part)
            rows |= {row["id"]: row for row in read_rows(part, ("id",))}
        with part.open("ab") as file:
            yield Log(rows, file)
        whole = out.with_suffix(".tmp")
        with gzip.open(whole, "wb") as packed:
            packed.writelines(msgspec.json.encode(row) + b"\n" for row in rows.values())
        os.replace(whole, out)
        part.unlink()


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the right to write to `out`; the system frees it when the process ends."""
    from filelock import FileLock, Timeout

    lock = FileLock(out.with_suffix(".lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ValueError(f"out: another run adds to {out}") from error
    try:
        yield
    finally:
        lock.release()


def _drop_cut_line(path: Path) -> None:
    """Shorten a file to its whole lines."""
    text = path.read_bytes()
    os.truncate(path, text.rfind(b"\n") + 1)
