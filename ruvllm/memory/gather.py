"""What a caller handed to ingest, as single documents: files, texts, and what is neither."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruvllm.memory.readers import SUFFIXES
from ruvllm.memory.rows import checked_text

__all__ = ["FailedItem", "FileItem", "Item", "Sources", "TextItem", "gather"]

Sources = str | Path | Iterable[str | Path | Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class FileItem:
    """A file that may hold a document."""

    path: Path

    @property
    def source(self) -> str:
        """Its absolute path; links are not followed."""
        return os.path.abspath(self.path)


@dataclass(frozen=True, slots=True)
class TextItem:
    """A text that was given as such."""

    source: str
    text: str
    title: str | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FailedItem:
    """Something that cannot be ingested, and why."""

    source: str
    reason: str


Item = FileItem | TextItem | FailedItem


def gather(sources: Sources) -> list[Item]:
    """Return the documents of `sources`, each source once.

    A lone str or Path is a path; in an iterable a str that names nothing on disk is a text. A second, different text
    under one source would replace the first, so it fails.

    Raises:
        TypeError, ValueError: something in `sources` is neither a path nor a text.
    """
    first: dict[str, Item] = {}
    extra: list[Item] = []
    for item in _expanded(sources):
        known = first.setdefault(item.source, item)
        if known != item and not isinstance(known, FileItem):
            extra.append(FailedItem(item.source, "another text of this call has the same source"))
    return [*first.values(), *extra]


def _expanded(sources: Sources) -> Iterator[Item]:
    if isinstance(sources, str | Path):
        yield from _files(Path(sources))
        return
    if isinstance(sources, Mapping) or not isinstance(sources, Iterable):
        raise TypeError(f"sources must be a path or an iterable of paths and texts, not {type(sources).__name__}")
    for entry in sources:
        if isinstance(entry, Path) or (isinstance(entry, str) and _names_a_path(entry)):
            yield from _files(Path(entry))
        elif isinstance(entry, str | Mapping):
            yield _text_item(entry)
        else:
            raise TypeError(f"sources must hold str, Path or mappings, not {type(entry).__name__}")


def _names_a_path(text: str) -> bool:
    if len(text) > 4096 or "\n" in text or "\0" in text or not text.strip():
        return False
    try:
        return os.path.lexists(text)
    except (OSError, ValueError):  # a name the file system cannot have
        return False


def _text_item(entry: str | Mapping[str, Any]) -> TextItem | FailedItem:
    """Return the document in a text, or in a mapping with text and perhaps title, source, metadata."""
    given = {"text": entry} if isinstance(entry, str) else dict(entry)
    unknown = given.keys() - {"text", "title", "source", "metadata"}
    if unknown:
        names = ", ".join(sorted(map(str, unknown)))
        raise ValueError(f"a text has text, title, source and metadata; unknown: {names}")
    title, metadata = given.get("title"), given.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata must be a mapping, not {type(metadata).__name__}")
    json.dumps(dict(metadata), allow_nan=False)  # what JSON cannot hold is the caller's mistake, named by json
    text = given.get("text")
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, not {type(text).__name__}")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    source = str(given.get("source") or f"text:{digest[:16]}")
    try:
        checked_text(text, "text")
    except ValueError as error:
        return FailedItem(source, str(error))
    return TextItem(source, text, str(title) if title else None, metadata)


def _files(path: Path) -> Iterator[Item]:
    if os.path.isdir(path):  # False, not an error, where nothing can be asked
        yield from _walk(path, seen=set(), above=())
    else:
        yield FileItem(path)


def _walk(folder: Path, *, seen: set[tuple[int, int]], above: tuple[tuple[int, int], ...]) -> Iterator[Item]:
    """Yield the files below a folder in name order; hidden ones and unknown suffixes are passed over."""
    try:
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            yield FailedItem(os.path.abspath(folder), "it is a link to a folder above it")
            return
        if identity in seen:
            return
        seen.add(identity)
        names = sorted(os.listdir(folder))
    except OSError as error:
        yield FailedItem(os.path.abspath(folder), error.strerror or str(error))
        return
    for name in names:
        path = folder / name
        if name.startswith("."):
            continue
        if os.path.isdir(path):
            yield from _walk(path, seen=seen, above=(*above, identity))
        elif path.suffix.lower() in SUFFIXES:
            yield FileItem(path)
