"""Token ids to mean hidden states through our own runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ruvllm.inference.local_model import available_threads
from ruvllm.inference.runtime_model import mean_hidden_states, open_runtime
from ruvllm.models import read_card

__all__ = ["RuntimeEncoder"]


class RuntimeEncoder:
    """An encoder, or a decoder read for its hidden states, on the CPU. Safe to share between threads; calls wait for
    each other.

    Args:
        model_dir: a converted model.
        num_threads: cores of one call; 0 takes all.

    Raises:
        ModelDamaged, ModelUnsupported: see `open_runtime`.
    """

    def __init__(self, model_dir: Path, *, num_threads: int = 0) -> None:
        self.name = model_dir.name
        self._model = open_runtime(model_dir, read_card(model_dir), num_threads=available_threads(num_threads))

    def mean_states(self, batch: Sequence[Sequence[int]]) -> np.ndarray:
        """Return (n, hidden_size) float32: the mean of the last hidden states of each sequence, none of them empty.

        A sequence's bits do not depend on the others.
        """
        return mean_hidden_states(self._model, [np.array(ids, np.int32) for ids in batch])
