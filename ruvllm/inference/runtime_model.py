"""Opening a model directory with our own runtime, its failures named as ours."""

from __future__ import annotations

import json
from pathlib import Path

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.kernels import RuntimeModel
from ruvllm.models import ModelCard

__all__ = ["open_runtime"]


def open_runtime(model_dir: Path, card: ModelCard, *, num_threads: int) -> RuntimeModel:
    """Load the weights: about the size of model.bin in memory, at the speed of reading it.

    Raises:
        ModelDamaged: model.bin or config.json is missing, truncated, or contradicts itself or the card.
        ModelUnsupported: the runtime does not know this architecture.
    """
    name = model_dir.name
    try:
        config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
        model = RuntimeModel(
            model_dir / "model.bin", norm_eps=float(config.get("layer_norm_epsilon", 1e-5)), num_threads=num_threads
        )
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ModelDamaged(
            f"{model_dir / 'config.json'} cannot be read ({error}): pull {name} again", model=name
        ) from error
    except RuntimeError as error:
        kind = ModelUnsupported if "no use for" in str(error) or "is not one of" in str(error) else ModelDamaged
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
