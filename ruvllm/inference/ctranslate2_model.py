"""Opening a model directory with CTranslate2, the library's failures named as ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.models import ModelCard

if TYPE_CHECKING:
    import ctranslate2

__all__ = ["open_generator"]

_QUANTIZATIONS = ("float32", "int8")


def open_generator(model_dir: Path, card: ModelCard, *, num_threads: int) -> ctranslate2.Generator:
    """Load the weights (tens to hundreds of ms, the size of model.bin in memory).

    Raises:
        ModelDamaged: model.bin or a file beside it is missing, truncated or unreadable; the message names it.
        ModelUnsupported: CTranslate2 does not know this family or this quantization.
    """
    import ctranslate2

    name = model_dir.name
    if card.family != "llama" or card.quantization not in _QUANTIZATIONS:
        hint = ': set generation.engine to "runtime"' if card.task == "generate" else ""
        raise ModelUnsupported(
            f"{name}: CTranslate2 generates with llama weights in float32 or int8, not with {card.family} in "
            f"{card.quantization}{hint}",
            model=name,
        )
    for file in ("model.bin", "config.json", "vocabulary.json"):
        if not (model_dir / file).is_file():
            raise ModelDamaged(f"{model_dir / file} is missing: pull {name} again", model=name)
    try:
        return ctranslate2.Generator(str(model_dir), device="cpu", intra_threads=num_threads)
    except (RuntimeError, ValueError) as error:
        weights = model_dir / "model.bin"
        raise ModelDamaged(f"{weights} cannot be loaded ({error}): pull {name} again", model=name) from error
