"""What students are tested on and never trained on: questions with their accepted answers, fixed by a content hash."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ruvllm.text import normalized_tokens
from ruvllm.types import Message

__all__ = ["HoldoutDataset", "HoldoutItem", "is_held_out"]


@dataclass(frozen=True, slots=True)
class HoldoutItem:
    """One question. With `choices` the answer must name one of them, and no other."""

    id: str
    messages: tuple[Message, ...]
    answers: tuple[str, ...]
    choices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.messages or not self.answers:
            raise ValueError(f"a holdout item needs messages and answers ({self.id})")
        if missing := [answer for answer in self.answers if self.choices and answer not in self.choices]:
            raise ValueError(f"answers must be among choices ({self.id}: {missing[0]!r})")

    def texts(self) -> tuple[str, ...]:
        """Return what must not be trained on: the last message, and the question in it by itself.

        That is the last line before the choices, which is the same question where no passage stands before it.
        """
        asked = self.messages[-1].content
        question = asked.removesuffix("\n".join(("", *self.choices))).splitlines()[-1:]
        return tuple(dict.fromkeys((asked, *question)))


def is_held_out(text: str, share: float) -> bool:
    """Return whether a question belongs to the holdout: by the hash of its words, so the same one always does or never.

    Case, punctuation and articles do not count, so that a repetition with other marks stays on the same side.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share must be in [0, 1] ({share})")
    digest = hashlib.sha256(" ".join(normalized_tokens(text)).encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


@dataclass(frozen=True)
class HoldoutDataset:
    """A fixed set of questions, in the order of their ids.

    Raises:
        ValueError: it is empty, or two items have one id.
    """

    items: tuple[HoldoutItem, ...]

    def __post_init__(self) -> None:
        if not self.items:
            raise ValueError("a holdout needs items")
        object.__setattr__(self, "items", tuple(sorted(self.items, key=lambda item: item.id)))
        for one, other in zip(self.items, self.items[1:], strict=False):
            if one.id == other.id:
                raise ValueError(f"two holdout items have the id {one.id!r}")

    def __len__(self) -> int:
        return len(self.items)

    @property
    def sha256(self) -> str:
        """The hash of all questions and answers: what a result names to say what it was measured on."""
        return hashlib.sha256(b"\n".join(msgspec.json.encode(item) for item in self.items)).hexdigest()

    def texts(self) -> tuple[str, ...]:
        """Return what must not be in any curriculum; see `HoldoutItem.texts`."""
        return tuple(text for item in self.items for text in item.texts())

    def write(self, path: Path) -> None:
        """Write JSON Lines of {id, messages, answers, choices}, gzipped where the name ends in .gz."""
        lines = b"".join(msgspec.json.encode(item) + b"\n" for item in self.items)
        path.write_bytes(gzip.compress(lines, mtime=0) if path.suffix == ".gz" else lines)

    @classmethod
    def read(cls, path: Path, *, sha256: str = "") -> HoldoutDataset:
        """Return what `write` wrote, or a public set in one of the project's forms.

        Rows are {id, messages, answers, choices?}, {id?, question, answers | answer, context?}, {prompt, choices,
        reference} or {text, intent}; a request is asked as it stands, its choices are all intents of the file.

        Args:
            sha256: that the set must have; "" for any.

        Raises:
            ValueError: a row is of no such form, or the set is not the one that was asked for.
        """
        raw = path.read_bytes()
        lines = (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines()
        rows = [_decoded(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
        intents = tuple(sorted({str(row["intent"]) for row in rows if "intent" in row}))
        found = cls(tuple(_item(path, number, row, intents) for number, row in enumerate(rows, 1)))
        if sha256 and found.sha256 != sha256:
            raise ValueError(f"{path} is not the holdout that was asked for ({found.sha256[:12]}, not {sha256[:12]})")
        return found

    def part(self, n: int) -> HoldoutDataset:
        """Return `n` items, the same for the same set: those whose ids have the smallest hashes."""
        order = sorted(self.items, key=lambda item: hashlib.sha256(item.id.encode()).digest())
        return HoldoutDataset(tuple(order[:n]))


def _decoded(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}, line {number}: {error}") from error


def _item(path: Path, number: int, row: dict[str, Any], intents: tuple[str, ...]) -> HoldoutItem:
    id = str(row.get("id", number))
    try:
        if "messages" in row:
            return msgspec.convert({"id": id, **row}, HoldoutItem)
        if "intent" in row:
            return HoldoutItem(id, _asked(row["text"]), _texts([row["intent"]]), intents)
        if "reference" in row:
            choices = _texts(row["choices"])
            return HoldoutItem(id, _asked(row["prompt"], *choices), (row["reference"],), choices)
        question = _asked(*(text for text in (row.get("context"), row["question"]) if text))
        return HoldoutItem(id, question, _texts(row["answers"] if "answers" in row else [row["answer"]]))
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise ValueError(f"{path}, item {number}: not in a form that is known ({error!r})") from error


def _asked(*parts: str) -> tuple[Message, ...]:
    return (Message("user", "\n".join(parts)),)


def _texts(found: object) -> tuple[str, ...]:
    """Return a list of texts; a text is none, though it is a sequence of them."""
    return msgspec.convert(found, tuple[str, ...])
