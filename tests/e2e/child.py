"""The `ruvllm` command in a process of its own, which says "listening" on stderr once Ctrl-C is its own business."""

from __future__ import annotations

import signal
import sys
from typing import Any

from ruvllm.cli import main

install = signal.signal


def announce(number: int, handler: Any) -> Any:
    before = install(number, handler)
    signal.signal = install
    print("listening", file=sys.stderr, flush=True)
    return before


if __name__ == "__main__":
    signal.signal = announce  # type: ignore[assignment]
    main()
