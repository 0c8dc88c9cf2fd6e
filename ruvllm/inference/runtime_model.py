"""Opening a model directory with our own runtime, its failures named as ours."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.kernels import RuntimeModel
from ruvllm.models import ModelCard

__all__ = ["mean_hidden_states", "open_runtime"]


def open_runtime(model_dir: Path, card: ModelCard, *, num_threads: int) -> RuntimeModel:
    """Load the weights: about the size of model.bin in memory, at the speed of reading it.

    Raises:
        ModelDamaged: model.bin or config.json is missing, truncated, or contradicts itself or the card.
        ModelUnsupported: the runtime does not know this architecture.
    """
    name = model_dir.name
    try:
        config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
        norm_eps = float(config.get("layer_norm_epsilon", 1e-5))
        if not 0.0 < norm_eps < math.inf:
            raise ValueError(f"layer_norm_epsilon is {norm_eps}")
    except (OSError, ValueError, AttributeError, TypeError, OverflowError, RecursionError) as error:
        path = model_dir / "config.json"
        raise ModelDamaged(f"{path} cannot be read ({error}): pull {name} again", model=name) from error
    try:
        model = RuntimeModel(model_dir / "model.bin", norm_eps=norm_eps, num_threads=num_threads)
    except RuntimeError as error:
        is_unknown = any(words in str(error) for words in ("no use for", "is not one of"))
        kind = ModelUnsupported if is_unknown else ModelDamaged
        raise kind(f"{model_dir}: {error}: pull {name} again", model=name) from error
    if model.is_encoder != (card.task == "embed"):
        raise ModelUnsupported(f"{name}: its weights do not {card.task}", model=name)
    if (model.hidden_size, model.vocab_size) != (card.hidden_size, card.vocab_size):
        raise ModelDamaged(
            f"{model_dir}: model.bin has {model.vocab_size} x {model.hidden_size} embeddings, the card says "
            f"{card.vocab_size} x {card.hidden_size}: pull {name} again",
            model=name,
        )
    return model


def mean_hidden_states(model: RuntimeModel, ids: Sequence[npt.NDArray[np.int32]]) -> npt.NDArray[np.float32]:
    """Return (n, hidden_size): the mean of the final hidden states of each text, none of them empty.

    A decoder's tokens see those before them only. A text's bits do not depend on the others.
    """
    if model.is_encoder or not ids:
        return model.encode(ids) if model.is_encoder else np.empty((0, model.hidden_size), np.float32)
    sessions = [model.session(context_tokens=len(one)) for one in ids]
    states = model.advance(sessions, ids, want="hidden")
    ends = np.cumsum([len(one) for one in ids])
    return np.stack([part.mean(axis=0) for part in np.split(states, ends[:-1])])
