"""ruvllm.json: what a model directory says about itself, and the check that its files are still those."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Literal

import msgspec

from ruvllm.errors import ModelDamaged, ModelUnsupported

__all__ = ["CARD_FILE", "CARD_FORMAT", "FileRecord", "ModelCard", "read_card", "sha256_of", "verify", "write_card"]

CARD_FILE = "ruvllm.json"
CARD_FORMAT = 1


class FileRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a model directory as it was written."""

    bytes: int
    sha256: str


class ModelCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known about a converted model.

    `source` maps each file the weights came from to its sha256. `context_tokens` is the longest input: the context of
    a decoder, the trained length of an encoder. Any of `stop_tokens` ends a turn. `generation` holds the vendor's
    sampling defaults. `pooling` is how an encoder's hidden states become one vector.
    """

    format: int = CARD_FORMAT
    name: str
    family: Literal["llama", "bert", "lfm2"]
    task: Literal["generate", "embed"]
    tier: int | None = None
    parameters: int
    license: str
    origin: str
    source: dict[str, str]
    quantization: str
    hidden_size: int
    vocab_size: int
    context_tokens: int
    stop_tokens: tuple[str, ...] = ()
    generation: dict[str, float] = {}
    pooling: Literal["mean", "cls"] | None = None
    files: dict[str, FileRecord] = {}


def read_card(path: Path) -> ModelCard:
    """Return the card of a model directory.

    Raises:
        ModelDamaged: ruvllm.json is missing or not readable.
        ModelUnsupported: it was written in a later format.
    """
    name = path.name
    try:
        raw = (path / CARD_FILE).read_bytes()
        found = msgspec.json.decode(raw)
        if isinstance(found, dict) and isinstance(found.get("format"), int) and found["format"] > CARD_FORMAT:
            raise ModelUnsupported(
                f"{path} has format {found['format']}, this ruvllm knows up to {CARD_FORMAT}: upgrade ruvllm",
                model=name,
            )
        return msgspec.json.decode(raw, type=ModelCard)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelDamaged(f"{path / CARD_FILE} cannot be read: {error}", model=name) from error


def write_card(path: Path, card: ModelCard) -> ModelCard:
    """Record every file in `path` on the card, write it as the directory's last file, and return it.

    Files and directory are flushed to the disk, so that a directory moved into place later is whole.
    """
    files = {}
    for file in sorted(p for p in path.iterdir() if p.is_file() and p.name != CARD_FILE):
        _flush(file)
        files[file.name] = FileRecord(file.stat().st_size, sha256_of(file))
    card = msgspec.structs.replace(card, files=files)
    target = path / CARD_FILE
    target.write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n")
    _flush(target)
    _flush(path)
    return card


def verify(path: Path) -> list[str]:
    """Return what is wrong with a model directory, reading every byte; an empty list means it is whole.

    Raises:
        ModelDamaged, ModelUnsupported: the card itself cannot be read.
    """
    problems = []
    for name, record in read_card(path).files.items():
        file = path / name
        if not file.is_file():
            problems.append(f"{name} is missing")
        elif file.stat().st_size != record.bytes:
            problems.append(f"{name} has {file.stat().st_size} bytes, recorded {record.bytes}")
        elif (found := sha256_of(file)) != record.sha256:
            problems.append(f"{name} has sha256 {found}, recorded {record.sha256}")
    return problems


def sha256_of(path: Path) -> str:
    """Return the file's sha256 in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # a directory cannot be opened there
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
