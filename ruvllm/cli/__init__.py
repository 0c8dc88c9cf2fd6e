"""The `ruvllm` command."""

from __future__ import annotations

import os
import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line.

    Ctrl-C ends it at once while its parts are still imported, as a KeyboardInterrupt while a command runs, and is not
    heard any more when the command is over and only the interpreter has to end.
    """
    listens = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a background job may ignore it
    if listens:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from ruvllm.cli.app import run

    if listens:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run()
    finally:
        if listens:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
