"""Which sessions a student answers in the canary phase."""

from __future__ import annotations

from hashlib import blake2b

__all__ = ["is_treated", "session_hash"]


def is_treated(student: str, who: str, share: float) -> bool:
    """Return whether `who`, a session or a request without one, belongs to the `share` that the student answers.

    The same `who` always belongs to the same side; another student has other sessions.
    """
    return int.from_bytes(_digest(student, who), "big") < share * 2**64


def session_hash(student: str, session: str | None) -> str:
    """Return what stands for a session among the outcomes of a student's trial, "" for none."""
    return "" if session is None else _digest(f"session of {student}", session).hex()


def _digest(salt: str, text: str) -> bytes:
    return blake2b(f"{salt}\0{text}".encode(), digest_size=8).digest()
