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

__all__ = ["DialogueItem", "FailedItem", "FileItem", "Item", "Sources", "TextItem", "TurnItem", "gather"]

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
class TurnItem:
    """One turn of a dialogue; `metadata` holds its speaker, and its date where that was given."""

    text: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DialogueItem:
    """A dialogue, each turn of which becomes a node of its own."""

    source: str
    turns: tuple[TurnItem, ...]
    title: str | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FailedItem:
    """Something that cannot be ingested, and why."""

    source: str
    reason: str


Item = FileItem | TextItem | DialogueItem | FailedItem


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


def _text_item(entry: str | Mapping[str, Any]) -> Item:
    """Return the document in a text, or in a mapping with text or turns and perhaps title, source, metadata."""
    given = {"text": entry} if isinstance(entry, str) else dict(entry)
    content = "turns" if "turns" in given else "text"
    _require_known(given, (content, "title", "source", "metadata"), "a dialogue" if content == "turns" else "a text")
    title, metadata = given.get("title"), _metadata(given)
    if content == "turns":
        turns = given["turns"]
        if isinstance(turns, str | Mapping) or not isinstance(turns, Iterable):
            raise TypeError(f"turns must be an iterable of mappings, not {type(turns).__name__}")
        spoken = tuple(_turn(turn) for turn in turns)
        source = _source(given, json.dumps([[turn.text, dict(turn.metadata)] for turn in spoken]))
        unsound = next((reason for turn in spoken if (reason := _why_unsound(turn.text))), None)
        if unsound or not spoken:
            return FailedItem(source, unsound or "turns must not be empty")
        return DialogueItem(source, spoken, str(title) if title else None, metadata)
    text = given.get("text")
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, not {type(text).__name__}")
    source = _source(given, text)
    if unsound := _why_unsound(text):
        return FailedItem(source, unsound)
    return TextItem(source, text, str(title) if title else None, metadata)


def _turn(turn: Any) -> TurnItem:
    """Return one turn of a dialogue: a mapping with text and perhaps speaker, date and metadata."""
    if not isinstance(turn, Mapping):
        raise TypeError(f"turns must hold mappings, not {type(turn).__name__}")
    _require_known(turn, ("text", "speaker", "date", "metadata"), "a turn")
    text, speaker = turn.get("text"), turn.get("speaker")
    if not isinstance(text, str):
        raise TypeError(f"turns: text must be a str, not {type(text).__name__}")
    said = {key: str(turn[key]) for key in ("speaker", "date") if turn.get(key)}
    return TurnItem(f"{speaker}: {text}" if speaker and text.strip() else text, {**_metadata(turn), **said})


def _require_known(given: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    unknown = given.keys() - set(known)
    if unknown:
        names = ", ".join(sorted(map(str, unknown)))
        raise ValueError(f"{what} has {', '.join(known[:-1])} and {known[-1]}; unknown: {names}")


def _metadata(given: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = given.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata must be a mapping, not {type(metadata).__name__}")
    try:
        json.dumps(dict(metadata), allow_nan=False)
    except (TypeError, ValueError) as error:  # what JSON cannot hold is the caller's mistake, named by json
        raise type(error)(f"metadata: {error}") from error
    return metadata


def _source(given: Mapping[str, Any], content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
    return str(given.get("source") or f"text:{digest[:16]}")


def _why_unsound(text: str) -> str | None:
    try:
        checked_text(text, "text")
    except ValueError as error:
        return str(error)
    return None


def _files(path: Path) -> Iterator[Item]:
    if os.path.isdir(path):  # False, not an error, where nothing can be asked
        yield from _walk(path, root=os.path.realpath(path), seen=set(), above=())
    else:
        yield FileItem(path)


def _walk(folder: Path, *, root: str, seen: set[tuple[int, int]], above: tuple[tuple[int, int], ...]) -> Iterator[Item]:
    """Yield the files below a folder in name order; hidden ones, unknown suffixes and links to files that come by
    themselves are passed over.

    A link out of `root` is not followed: who hands over a folder need not know that it names the reader's own files.
    """
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
        is_folder = os.path.isdir(path)
        if not is_folder and path.suffix.lower() not in SUFFIXES:
            continue
        target = os.path.realpath(path) if path.is_symlink() else ""
        if target and os.path.commonpath([root, target]) != root:
            yield FailedItem(os.path.abspath(path), f"it is a link out of the folder: name {target} itself")
        elif is_folder:
            yield from _walk(path, root=root, seen=seen, above=(*above, identity))
        elif not _comes_by_itself(root, target):
            yield FileItem(path)


def _comes_by_itself(root: str, target: str) -> bool:
    """Return whether a walk from `root` yields the file that a link there leads to."""
    below = Path(target).relative_to(root).parts if target else ()
    is_shown = bool(below) and not any(part.startswith(".") for part in below)
    return is_shown and os.path.isfile(target) and Path(target).suffix.lower() in SUFFIXES
