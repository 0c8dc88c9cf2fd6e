"""What the arguments of a memory's methods must be: each check gives the argument back, or says its name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from enum import StrEnum
from operator import index
from pathlib import Path
from typing import Any, TypeVar

from ruvllm.memory.rows import checked_text

__all__ = [
    "checked_call",
    "checked_count",
    "checked_each",
    "checked_file",
    "checked_id",
    "checked_ids",
    "checked_kind",
    "checked_member",
    "checked_seed",
    "checked_texts",
]

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

MOST = 1 << 31  # more than any brain holds of anything
MAX_ID = (1 << 63) - 1  # SQLite's
MAX_SEED = (1 << 64) - 1  # Leiden's


def checked_kind(value: T, kind: type, name: str) -> T:
    """Return `value` when it is of a class, else raise TypeError."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be of {kind.__name__}, not {type(value).__name__}")
    return value


def checked_call(value: T, name: str) -> T:
    """Return `value` when it can be called, else raise TypeError."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {type(value).__name__}")
    return value


def checked_count(count: Any, name: str, *, least: int = 1) -> int:
    """Return a whole number that is not below `least`, else raise ValueError; one that no brain comes to is MOST."""
    return min(_whole(count, name, least), MOST)


def checked_seed(seed: Any) -> int:
    """Return a seed of draws, a whole number in [0, 2^64), else raise ValueError."""
    whole = _whole(seed, "seed", 0)
    if whole > MAX_SEED:
        raise ValueError(f"seed must be a whole number below 2^64 ({seed!r})")
    return whole


def _whole(number: Any, name: str, least: int) -> int:
    try:
        whole = least - 1 if isinstance(number, bool) else index(number)
    except TypeError:
        whole = least - 1
    if whole < least:
        raise ValueError(f"{name} must be a whole number >= {least} ({number!r})")
    return whole


def checked_id(id: Any, name: str) -> int:
    """Return the id of a node, which need not exist.

    Raises:
        TypeError, ValueError: it is no whole number, or none that an id can be.
    """
    if type(id) is not int:
        try:
            if isinstance(id, bool):
                raise TypeError
            id = index(id)
        except TypeError:
            raise TypeError(f"{name} must be the id of a node, not {type(id).__name__}") from None
    if not 1 <= id <= MAX_ID:
        raise ValueError(f"{name} must be the id of a node, a whole number >= 1 ({id!r})")
    return int(id)


def checked_each(values: Any, name: str, of: str) -> Iterable[Any]:
    """Return `values` when they are several; a text and a mapping are one, so TypeError for these, too."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be an iterable of {of}, not {type(values).__name__}")
    return values


def checked_ids(ids: Any, name: str) -> list[int]:
    """Return ids of nodes, see `checked_id`."""
    return [checked_id(id, name) for id in checked_each(ids, name, "node ids")]


def checked_texts(texts: Any, name: str) -> list[str]:
    """Return texts that can be stored and embedded, see `checked_text`."""
    return [checked_text(text, name) for text in checked_each(texts, name, "texts")]


def checked_member(value: Any, kind: type[E], name: str) -> E:
    """Return the member of an enumeration that has this value, else raise ValueError."""
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(member.value for member in kind)
        raise ValueError(f"{name} must be one of {known} ({value!r})") from None


def checked_file(file: Any, name: str) -> Path:
    """Return the path of a file or folder; an empty one would be the current folder, which nobody means by it.

    Raises:
        TypeError, ValueError: it is no path, or one that no file can have.
    """
    if not isinstance(file, str | os.PathLike):
        raise TypeError(f"{name} must be a str or a Path, not {type(file).__name__}")
    path = os.fspath(file)
    if not isinstance(path, str) or not path.strip():
        raise ValueError(f"{name} must not be empty ({file!r})")
    if "\0" in path:
        raise ValueError(f"{name} holds a zero byte ({file!r})")
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} holds a lone surrogate at character {error.start}") from error
    return Path(path)
