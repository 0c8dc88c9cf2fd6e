"""The compiled core, or the reason why it is missing."""

from __future__ import annotations

try:
    import ruvllm._core as core
except ModuleNotFoundError as error:
    raise ImportError(
        "the compiled core ruvllm._core is missing: build it with `pip install .` in the source tree and run Python "
        "outside that tree, or with `pip install -e .` to work inside it"
    ) from error

__all__ = ["core"]
