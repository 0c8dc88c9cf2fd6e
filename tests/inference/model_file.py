"""Reads the table of contents of a CTranslate2 model.bin."""

from __future__ import annotations

import math
import struct
from pathlib import Path


def count_parameters(path: Path) -> int:
    """Return how many weights the file holds; quantization scales and settings are not counted."""
    raw, at = path.read_bytes(), 0

    def take(layout: str) -> int:
        nonlocal at
        at += struct.calcsize(layout)
        return int(struct.unpack_from(layout, raw, at - struct.calcsize(layout))[0])

    def text() -> str:
        nonlocal at
        length = take("<H")  # the closing NUL included
        at += length
        return raw[at - length : at - 1].decode()

    take("<I"), text(), take("<I")  # version of the format, name and revision of the specification
    count = 0
    for _ in range(take("<I")):
        name = text()
        shape = [take("<I") for _ in range(take("<B"))]
        take("<B")  # type
        size = take("<I")
        at += size  # the payload
        if shape and not name.endswith("_scale"):
            count += math.prod(shape)
    return count
