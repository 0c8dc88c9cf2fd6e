"""Texts from elsewhere as documents to ingest: lists of texts, mem0-style dumps, LangChain documents."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from ruvllm.memory.lines import opened, parsed
from ruvllm.memory.rows import checked_text

__all__ = ["ImportFormat", "read_documents"]

ImportFormat = Literal["brain", "texts", "mem0", "langchain"]

EXPECTED: dict[str, str] = {
    "texts": "a text, or an object with text and perhaps title, source and metadata",
    "mem0": "an object with memory and perhaps id, metadata and more",
    "langchain": "an object with page_content and perhaps id and metadata, or a serialized Document",
}


def read_documents(file: Path, format: ImportFormat | None = None) -> list[dict[str, Any]] | None:
    """Return the documents in a file, each a mapping as ingest takes it; None when the file is an exported brain.

    The file is a JSON list or JSON Lines, compressed when its name ends in .gz. All of it is read and checked.

    Args:
        format: what the file holds; its first entry says so when None.

    Raises:
        ValueError: the format is unknown, or an entry is not what the format has; the message names it.
        OSError: the file cannot be read.
    """
    if format is not None and format not in get_args(ImportFormat):
        raise ValueError(f"format must be one of {', '.join(get_args(ImportFormat))} ({format!r})")
    if format == "brain" or (format is None and _is_brain(file)):
        return None
    documents: list[dict[str, Any]] = []
    first: dict[str, tuple[str, dict[str, Any]]] = {}  # source -> where it stood, and what
    for place, entry in _entries(file, format):
        format = format or _format_of(entry)
        try:
            document = _document(entry, format)
            where, known = first.setdefault(document["source"], (place, document))
            if known != document:
                raise ValueError(f"{where} is another text of the same source, {document['source']}")
        except (ValueError, TypeError, RecursionError) as error:
            wanted = " or ".join([EXPECTED[format]] if format else EXPECTED.values())
            raise ValueError(f"{file}, {place}: {error}; expected {wanted}") from error
        documents.append(document)
    return documents


# -- the file --------------------------------------------------------------------------------------------------------


def _is_brain(file: Path) -> bool:
    """Return whether the first line is one of an exported brain."""
    try:
        with opened(file, is_gzip=file.suffix == ".gz") as stream:
            head = parsed(stream.readline())
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error):  # said when all of it is read
        return False
    return isinstance(head, dict) and "kind" in head


def _entries(file: Path, format: str | None) -> Iterator[tuple[str, Any]]:
    """Yield each entry after its place in the file."""
    lines = [(f"line {number}", line) for number, line in enumerate(_lines(file), start=1) if line.strip()]
    if not lines:
        raise ValueError(f"{file} is empty")
    if len(lines) > 1 and _is_json(lines[0][1]):
        for place, line in lines:
            try:
                yield place, parsed(line)
            except ValueError as error:
                raise ValueError(f"{file}, {place}: {error}") from error
        return
    try:
        whole = parsed("".join(line for _, line in lines))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    if isinstance(whole, dict) and isinstance(whole.get("results"), list) and format in (None, "mem0"):
        whole = whole["results"]
    for number, entry in enumerate(whole if isinstance(whole, list) else [whole], start=1):
        yield f"entry {number}", entry


def _lines(file: Path) -> list[str]:
    lines: list[str] = []
    try:
        with opened(file, is_gzip=file.suffix == ".gz") as stream:
            for line in stream:
                lines.append(line if lines else line.removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}, line {len(lines) + 1}: it is not UTF-8 ({error.reason})") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{file}, line {len(lines) + 1}: damaged compression: {error}") from error
    return lines


def _is_json(line: str) -> bool:
    try:
        parsed(line)
    except ValueError:
        return False
    return True


# -- the entries -----------------------------------------------------------------------------------------------------


def _format_of(entry: Any) -> ImportFormat | None:
    if isinstance(entry, str):
        return "texts"
    if isinstance(entry, dict):
        if "page_content" in entry or "lc" in entry:
            return "langchain"
        if "memory" in entry:
            return "mem0"
        if "text" in entry:
            return "texts"
    return None


def _document(entry: Any, format: ImportFormat | None) -> dict[str, Any]:
    """Return one entry as text, title, source and metadata.

    Raises:
        ValueError, TypeError: it is not what the format has.
    """
    readers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "texts": _of_text,
        "mem0": _of_mem0,
        "langchain": _of_langchain,
    }
    if isinstance(entry, str) and format == "texts":
        entry = {"text": entry}
    if not isinstance(entry, dict):
        raise TypeError(f"it is {_kind_of(entry)}")
    if format is None:
        raise ValueError(f"it has {', '.join(map(repr, entry)) or 'nothing in it'}")
    document = readers[format](entry)
    checked_text(document["source"], "source")
    json.dumps(document["metadata"], ensure_ascii=False).encode()  # lone surrogates cannot be stored
    return document


def _of_text(entry: dict[str, Any]) -> dict[str, Any]:
    _require_known(entry, ("text", "title", "source", "metadata"))
    text, title, metadata = checked_text(entry.get("text"), "text"), _title(entry), _metadata(entry)
    source = entry.get("source")
    if source is None:
        source = f"text:{_hash(text, title, metadata) if title or metadata else _hash_of_text(text)}"
    return {"text": text, "title": title, "source": source, "metadata": metadata}


def _of_mem0(entry: dict[str, Any]) -> dict[str, Any]:
    """Whose a memory is, when it was made, and whatever else stands beside it becomes metadata."""
    text = checked_text(entry.get("memory"), "memory")
    beside = {key: value for key, value in entry.items() if key not in ("id", "memory", "metadata")}
    metadata = _metadata(entry) | {key: value for key, value in beside.items() if value is not None}
    return {"text": text, "title": None, "source": f"mem0:{_id(entry) or _hash(text, metadata)}", "metadata": metadata}


def _of_langchain(entry: dict[str, Any]) -> dict[str, Any]:
    if "lc" in entry:
        name = entry.get("id")
        if entry.get("type") != "constructor" or not (isinstance(name, list) and name[-1:] == ["Document"]):
            raise ValueError("it is a serialized object, but no Document")
        entry = entry.get("kwargs")  # type: ignore[assignment]  # checked right here
        if not isinstance(entry, dict):
            raise TypeError(f"kwargs is {_kind_of(entry)}")
    _require_known(entry, ("page_content", "metadata", "id", "type"))
    if entry.get("type", "Document") != "Document":
        raise ValueError(f"type is {entry['type']!r}, not 'Document'")
    text, metadata = checked_text(entry.get("page_content"), "page_content"), _metadata(entry)
    title = metadata.get("title")
    return {
        "text": text,
        "title": title if isinstance(title, str) and title.strip() else None,
        "source": f"langchain:{_id(entry) or _hash(text, metadata)}",
        "metadata": metadata,
    }


def _require_known(entry: dict[str, Any], known: tuple[str, ...]) -> None:
    if unknown := sorted(entry.keys() - set(known)):
        raise ValueError(f"unknown field {unknown[0]!r}")


def _title(entry: dict[str, Any]) -> str | None:
    title = entry.get("title")
    return None if title is None or title == "" else checked_text(title, "title")


def _metadata(entry: dict[str, Any]) -> dict[str, Any]:
    metadata = entry.get("metadata")
    if not isinstance(metadata, dict | None):
        raise TypeError(f"metadata is {_kind_of(metadata)}, not an object")
    return metadata or {}


def _id(entry: dict[str, Any]) -> str | None:
    given = entry.get("id")
    if given is not None and (isinstance(given, bool) or not isinstance(given, str | int)):
        raise TypeError(f"id is {_kind_of(given)}, not a text or a number")
    return None if given is None else str(given)


def _hash(*parts: Any) -> str:
    return _hash_of_text(json.dumps(parts, sort_keys=True))


def _hash_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _kind_of(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
