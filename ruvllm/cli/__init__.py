"""The `ruvllm` command."""

from ruvllm.cli.app import main

__all__ = ["main"]
