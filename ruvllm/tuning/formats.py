"""A curriculum on disk: JSON Lines as TRL reads them, with a card; Parquet with the extra `parquet`."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec

from ruvllm.tuning.data_card import DataCard

__all__ = ["CARD", "FILES", "carded", "read_folder", "write_folder", "write_parquet"]

CARD = "card.json"
FILES = {"sft": "sft.jsonl", "preferences": "preferences.jsonl", "corrections": "corrections.jsonl"}

Rows = Sequence[Mapping[str, Any]]


def encoded(rows: Rows) -> bytes:
    """Return JSON Lines in UTF-8, the same bytes for the same rows."""
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows).encode()


def hashes(sets: Mapping[str, Rows]) -> dict[str, str]:
    """Return the SHA-256 of the file of each set."""
    return {FILES[name]: hashlib.sha256(encoded(rows)).hexdigest() for name, rows in sets.items()}


def card_id(files: Mapping[str, str]) -> str:
    """Return the id that a curriculum has by its content."""
    return hashlib.sha256(json.dumps(dict(sorted(files.items()))).encode()).hexdigest()[:16]


def write_folder(folder: Path, sets: Mapping[str, Rows], card: DataCard) -> None:
    """Write the files of a curriculum, all or none.

    Raises:
        ValueError: the folder holds something already.
        OSError: it cannot be written, or the disk is full; nothing of it is left.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"folder: {folder} exists already, and is not empty")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(part, ignore_errors=True)  # of a process of this number that was killed
    try:
        part.mkdir()
        for name, rows in sets.items():
            _write(part / FILES[name], encoded(rows))
        _write(part / CARD, json.dumps(asdict(card), ensure_ascii=False, indent=2, allow_nan=False).encode())
        part.replace(folder)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # of a write: say where
            raise OSError(error.errno, error.strerror, str(folder)) from error
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(file: Path, content: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def read_folder(folder: Path) -> tuple[dict[str, list[dict[str, Any]]], DataCard]:
    """Return the rows of each set, and the card.

    Raises:
        FileNotFoundError: there is no curriculum there.
        ValueError: a file is not what the card says of it.
    """
    try:
        card = msgspec.json.decode((folder / CARD).read_bytes(), type=DataCard)
    except msgspec.DecodeError as error:
        raise ValueError(f"folder: {folder / CARD} is not the card of a curriculum: {error}") from error
    sets = {}
    for name, file in FILES.items():
        content = (folder / file).read_bytes()
        if hashlib.sha256(content).hexdigest() != card.files.get(file):
            raise ValueError(f"folder: {folder / file} was changed since it was written (its SHA-256 is another)")
        sets[name] = [json.loads(line) for line in content.splitlines()]
    return sets, card


def write_parquet(folder: Path, sets: Mapping[str, Rows], card: DataCard) -> list[Path]:
    """Write each set that has rows as Parquet, the card in its metadata; return the files.

    Raises:
        ModuleNotFoundError: the extra `parquet` is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("Parquet needs pyarrow: pip install 'ruvllm[parquet]'", name="pyarrow") from error
    folder.mkdir(parents=True, exist_ok=True)
    about = {"ruvllm": json.dumps(asdict(card), ensure_ascii=False)}
    written = []
    for name, rows in _filled(sets):
        file = folder / f"{name}.parquet"
        part = file.with_name(f"{file.name}.{os.getpid()}.tmp")
        try:
            parquet.write_table(pyarrow.Table.from_pylist(list(rows)).replace_schema_metadata(about), part)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        written.append(file)
    return written


def _filled(sets: Mapping[str, Rows]) -> Iterable[tuple[str, Rows]]:
    return [(name, rows) for name, rows in sets.items() if rows]


def carded(card: DataCard, sets: Mapping[str, Rows]) -> DataCard:
    """Return the card with the hashes of the files, and the id that follows from them."""
    files = hashes(sets)
    return replace(card, id=card_id(files), counts={name: len(rows) for name, rows in sets.items()}, files=files)
