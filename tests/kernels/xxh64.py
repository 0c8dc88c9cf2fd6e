"""XXH64 in plain Python, from its specification: the checksum of snapshots, to forge them in tests."""

from __future__ import annotations

import struct

__all__ = ["forged", "xxh64"]

MASK = 2**64 - 1
P1, P2, P3, P4, P5 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)


def rotate(x: int, count: int) -> int:
    x &= MASK
    return (x << count | x >> 64 - count) & MASK


def mix(acc: int, lane: int) -> int:
    return rotate(acc + lane * P2, 31) * P1 & MASK


def xxh64(content: bytes) -> int:
    """Return the hash of `content` with seed 0."""
    acc, tail = P5, len(content) % 32
    if len(content) >= 32:
        lanes = [P1 + P2, P2, 0, -P1]
        for words in struct.iter_unpack("<4Q", content[: len(content) - tail]):
            lanes = [mix(lane, word) for lane, word in zip(lanes, words, strict=True)]
        acc = sum(rotate(lane, count) for lane, count in zip(lanes, (1, 7, 12, 18), strict=True))
        for lane in lanes:
            acc = (acc ^ mix(0, lane)) * P1 + P4
    acc += len(content)
    rest = content[len(content) - tail :]
    for (word,) in struct.iter_unpack("<Q", rest[: tail // 8 * 8]):
        acc = rotate(acc ^ mix(0, word), 27) * P1 + P4
    rest = rest[tail // 8 * 8 :]
    if len(rest) >= 4:
        acc = rotate(acc ^ struct.unpack("<I", rest[:4])[0] * P1, 23) * P2 + P3
        rest = rest[4:]
    for byte in rest:
        acc = rotate(acc ^ byte * P5, 11) * P1
    acc &= MASK
    acc = (acc ^ acc >> 33) * P2 & MASK
    acc = (acc ^ acc >> 29) * P3 & MASK
    return acc ^ acc >> 32


def forged(snapshot: bytes, *changes: tuple[int, bytes]) -> bytes:
    """Return the snapshot with other bytes at some places, and the checksum it then should have."""
    body = bytearray(snapshot[:-8])
    for at, content in changes:
        body[at : at + len(content)] = content
    return bytes(body) + struct.pack("<Q", xxh64(bytes(body)))
