"""The linear layers of a model family that adapters go to, by the names that its checkpoints really use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ruvllm.errors import ModelDamaged, ModelUnsupported

__all__ = ["LINEAR", "family_of", "lora_targets"]

_LLAMA = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LINEAR = {
    "lfm2": ("w1", "w2", "w3", "q_proj", "k_proj", "v_proj", "out_proj", "in_proj"),
    "llama": _LLAMA,
    "qwen2": _LLAMA,
}
"""Family -> every linear layer of a block; LFM2 has no o_proj and none of Llama's feed-forward names."""


def family_of(folder: Path) -> str:
    """Return the family of the model in a Hugging Face folder.

    Raises:
        ModelDamaged: there is no readable config.json.
        ModelUnsupported: no student can be made of that family.
    """
    try:
        family = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelDamaged(f"{folder} is no Hugging Face folder: config.json: {error}", model=folder.name) from error
    if family not in LINEAR:
        known = ", ".join(LINEAR)
        raise ModelUnsupported(f"{folder.name}: students are made of {known}, not of {family!r}", model=folder.name)
    return str(family)


def lora_targets(family: str, wanted: Sequence[str] = ()) -> list[str]:
    """Return the layers that adapters go to: `wanted`, or every linear layer of the family.

    PEFT is content when one of several names exists and trains that one only; here each of them must.

    Raises:
        ValueError: a name that the family does not have; the message lists those it has.
    """
    real = LINEAR[family]
    if missing := [name for name in wanted if name not in real]:
        raise ValueError(f"targets: {family} has no {', '.join(missing)}; its linear layers are {', '.join(real)}")
    return list(dict.fromkeys(wanted)) or list(real)
