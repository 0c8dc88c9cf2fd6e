"""Numbered versions of a parameter vector in a folder, one of them in force."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ruvllm.whole_file import replacing

__all__ = ["Checkpoint", "Checkpoints", "Saved", "digest_of"]

KEPT = 20  # newest versions that stay on disk, beside the one that a rollback of the newest goes back to

DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    AttributeError,
    RuntimeError,  # a flag of the archive says encrypted, or packed in a way that this Python does not know
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)  # of reading

_FILE = re.compile(r"(\d{6})\.npz")
_BESIDE = "beside_"  # begins the names of further arrays in a file


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """One version: its number, parameters, what was said about it when it was saved, and what was kept beside them."""

    version: int
    params: npt.NDArray[np.float32]
    about: Mapping[str, Any]
    arrays: Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Saved:
    """What is said of a version on disk: its number, when it was saved (seconds since 1970), whether it counts, and
    which version did when it came."""

    version: int
    at: float
    about: Mapping[str, Any]
    in_force: bool
    before: int


def digest_of(examples: object) -> str:
    """Return the SHA-256 of examples as JSON, in hex: whether a version was made of the same ones."""
    return hashlib.sha256(json.dumps(examples).encode()).hexdigest()


class Checkpoints:
    """The versions of one kind of model in one folder, which is made by the first `save`.

    Version 0 is what needs no file: the untrained model. A version counts once the file `current`, replaced as a whole,
    names it; what a crash leaves half written is never named.

    Args:
        folder: of this kind alone.
        form: names what the parameters are for; those of another form are not loaded.
    """

    def __init__(self, folder: Path, *, form: str) -> None:
        self._folder = folder
        self._form = form

    def current(self) -> Checkpoint | None:
        """Return the version in force; None for the untrained, also where its file is missing, damaged or another's."""
        version = self._named()
        return self.load(version) if version else None

    def load(self, version: int) -> Checkpoint | None:
        """Return a version; None when its file is missing, damaged, or of another form."""
        read = self._read(version)
        return None if read is None else Checkpoint(version, read[1], read[0]["about"], read[2])

    def nothing_new(self, version: int, digest: str) -> str:
        """Return why the examples of a digest, which `about` holds as "taught", teach nothing: `version`, or a later
        one that was taken back, was made of them; "" where none was."""
        for known in (version, *(later for later in reversed(self.versions()) if later > version)):
            saved = self.load(known)
            if saved is not None and saved.about.get("taught") == digest:
                return f"nothing new since version {known}{'' if known == version else ', which was taken back'}"
        return ""

    def save(
        self,
        params: npt.NDArray[np.float32],
        about: Mapping[str, Any],
        arrays: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> int:
        """Write a new version, put it in force, and return its number; durable on return.

        Args:
            about: what JSON can say of it. arrays: what else is needed to go on from it, by name.

        Raises:
            BrainError: the disk is full; the version before is in force.
        """
        before = self._named()
        version = max([*self.versions(), before], default=0) + 1
        head = json.dumps({"form": self._form, "before": before, "at": time.time(), "about": dict(about)})
        beside = {_BESIDE + name: array for name, array in (arrays or {}).items()}
        with replacing(self._path(version)) as stream:
            np.savez(stream, params=np.asarray(params, np.float32), head=np.array(head), **beside)  # type: ignore[arg-type]
        try:
            self._name(version)
        except BaseException:
            if self._named() != version:  # nobody took this one back: it never was in force
                self._path(version).unlink()
            raise
        for old in self.versions()[:-KEPT]:
            if old != before:
                self._path(old).unlink(missing_ok=True)
        return version

    def rollback(self) -> int:
        """Put the version in force again that was before the one that is; return its number, 0 for the untrained."""
        version = self._named()
        if not version:
            return 0
        read = self._read(version)
        before = 0 if read is None or self._read(read[0]["before"]) is None else read[0]["before"]
        self._name(before)
        return before

    def versions(self) -> list[int]:
        """Return the numbers of the versions on disk, ascending."""
        if not self._folder.is_dir():
            return []
        return sorted(int(found[1]) for name in os.listdir(self._folder) if (found := _FILE.fullmatch(name)))

    def history(self) -> tuple[Saved, ...]:
        """Return what is said of each sound version on disk, of whatever form, the oldest first."""
        found = []
        for version in self.versions():
            path = self._path(version)
            try:
                with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                    head = json.loads(str(file["head"]))
                at = float(head.get("at", path.stat().st_mtime))
                before = int(head.get("before", 0))
                found.append(Saved(version, at, dict(head["about"]), version == self._named(), before))
            except DAMAGE:
                continue
        return tuple(found)

    def _path(self, version: int) -> Path:
        return self._folder / f"{version:06d}.npz"

    def _named(self) -> int:
        try:
            return int((self._folder / "current").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0

    def _name(self, version: int) -> None:
        with replacing(self._folder / "current") as stream:
            stream.write(str(version).encode("ascii"))

    def _read(self, version: int) -> tuple[dict[str, Any], npt.NDArray[np.float32], dict[str, npt.NDArray[Any]]] | None:
        try:
            with self._path(version).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                head = json.loads(str(file["head"]))
                head |= {"about": dict(head["about"]), "before": int(head["before"])}
                params = np.ascontiguousarray(file["params"], np.float32)
                arrays = {name[len(_BESIDE) :]: file[name] for name in file.files if name.startswith(_BESIDE)}
            is_sound = head["form"] == self._form and np.isfinite(params).all()
            return (head, params, arrays) if is_sound else None
        except DAMAGE:
            return None
