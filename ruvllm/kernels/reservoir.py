"""A bounded random sample of a stream, stratified by class, uniform or weighted."""

from __future__ import annotations

from ruvllm.kernels._reservoir import Reservoir

__all__ = ["Reservoir"]
