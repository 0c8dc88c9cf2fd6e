"""A log that can only grow: each line is signed by a local key and names the line before it."""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec

from ruvllm.config import signing_key_file
from ruvllm.errors import RegistryDamaged

__all__ = ["SignedLog", "flush_folder", "local_key"]

KEY_BYTES = 32
FIRST = "0" * 64  # what the first line names as the one before it


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    before: str  # mac of the line before
    key: str  # which key signed
    mac: str  # of `before` and the bytes of `said`
    said: msgspec.Raw


def local_key() -> bytes:
    """Return the key that signs on this machine for this user; it is made at first need, readable by nobody else.

    Raises:
        ValueError: the file holds no key.
        OSError: it cannot be read or made.
    """
    path = signing_key_file()
    try:
        return _key_in(path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(f"{secrets.token_hex(KEY_BYTES)}\n")
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(part, path)  # of two that make one, the first to be there is everybody's
    except FileExistsError:
        pass
    finally:
        part.unlink()
    return _key_in(path)


def _key_in(path: Path) -> bytes:
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path} must hold a key of {2 * KEY_BYTES} hexadecimal digits")
    return key


class SignedLog:
    """Lines of JSON in one file. Who appends holds a lock of the caller's; who reads needs none.

    What is changed, left out or put between is noticed, but not that whole lines are missing at the end. A line that a
    crash left unfinished never counted, and the next one takes its place.

    Args:
        path: the file, made by the first line.
        key: called when the first line is to be checked or signed.
    """

    def __init__(self, path: Path, key: Callable[[], bytes]) -> None:
        self.path = path
        self._make_key = key
        self._key: bytes | None = None

    def stamp(self) -> tuple[int, int, int] | None:
        """Return what is another value after each change of the file; None while there is none."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def read(self) -> list[bytes]:
        """Return the JSON of each line, oldest first.

        Raises:
            RegistryDamaged: a line is not what was signed, or was signed by another key.
        """
        return [bytes(line.said) for line in self._lines()[0]]

    def append(self, said: bytes) -> None:
        """Add the JSON `said` as a line; durable on return.

        Raises:
            RegistryDamaged: as `read`.
            OSError: the disk is full or fails; the log is as it was.
        """
        lines, end = self._lines()
        before = lines[-1].mac if lines else FIRST
        line = _Line(before, self._name(), self._mac(before, said), msgspec.Raw(said))
        is_new, written = not self.path.exists(), msgspec.json.encode(line) + b"\n"
        with self.path.open("ab", buffering=0) as stream:
            stream.truncate(end)  # of what a crash left unfinished
            try:
                if stream.write(written) != len(written):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                os.fsync(stream.fileno())
            except OSError:
                stream.truncate(end)
                raise
        if is_new:
            flush_folder(self.path.parent)

    def _lines(self) -> tuple[list[_Line], int]:
        """Return the lines, checked, and where the last of them ends."""
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return [], 0
        end = raw.rfind(b"\n") + 1
        lines, before = [], FIRST
        for number, text in enumerate(raw[:end].splitlines(), start=1):
            line = self._checked(text, number, before)
            lines.append(line)
            before = line.mac
        return lines, end

    def _checked(self, text: bytes, number: int, before: str) -> _Line:
        try:
            line = msgspec.json.decode(text, type=_Line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RegistryDamaged(f"{self.path}: line {number} cannot be read: {error}", path=self.path) from error
        if line.key != self._name():
            raise RegistryDamaged(
                f"{self.path}: line {number} was signed by another key than that in {signing_key_file()}: "
                "set RUVLLM_SIGNING_KEY to the file of that one",
                path=self.path,
            )
        if line.before != before or not hmac.compare_digest(
            line.mac.encode(), self._mac(before, bytes(line.said)).encode()
        ):
            raise RegistryDamaged(f"{self.path}: line {number} is not what was signed: restore it", path=self.path)
        return line

    def _mac(self, before: str, said: bytes) -> str:
        return hmac.new(self._signing(), before.encode() + said, hashlib.sha256).hexdigest()

    def _name(self) -> str:
        return hashlib.sha256(b"ruvllm" + self._signing()).hexdigest()[:8]

    def _signing(self) -> bytes:
        if self._key is None:
            self._key = self._make_key()
        return self._key


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    if os.name == "nt":
        return  # a directory cannot be opened there
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
