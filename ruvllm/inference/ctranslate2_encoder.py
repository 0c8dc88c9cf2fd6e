"""Token ids to hidden states through CTranslate2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ruvllm.errors import EngineError
from ruvllm.inference.ctranslate2_model import available_threads, open_native
from ruvllm.models import read_card

__all__ = ["CTranslate2Encoder"]


class CTranslate2Encoder:
    """An encoder in CTranslate2's format on the CPU. Safe to share between threads.

    A batch runs on one core, and `num_threads` batches run beside each other: two cores that share one batch of MiniLM
    spend more on meeting than they gain.

    Args:
        model_dir: a converted model.
        num_threads: batches at a time; 0 takes all cores.

    Raises:
        ModelDamaged: a file is missing, truncated or unreadable.
        ModelUnsupported: CTranslate2 cannot run this model.
    """

    def __init__(self, model_dir: Path, *, num_threads: int = 0) -> None:
        self.name = model_dir.name
        self.num_threads = available_threads(num_threads)
        self._encoder = open_native("Encoder", model_dir, read_card(model_dir), inter_threads=self.num_threads)

    def hidden_states(self, batch: Sequence[Sequence[int]]) -> np.ndarray:
        """Return the last layer's output, (n, length of the longest, hidden_size) float32.

        Rows past the end of a shorter sequence hold nothing of use. Each sequence of ids must not be empty.

        Raises:
            EngineError: CTranslate2 failed.
        """
        try:
            output = self._encoder.forward_batch([list(ids) for ids in batch])
        except RuntimeError as error:
            raise EngineError(f"{self.name}: {error}", engine=self.name) from error
        return np.asarray(output.last_hidden_state)
