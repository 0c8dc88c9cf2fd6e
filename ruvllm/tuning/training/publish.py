"""Adapters merged into their base, and the result as a model directory like any other."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruvllm.config import TrainingConfig
from ruvllm.errors import ModelDamaged
from ruvllm.models.card import sha256_of
from ruvllm.models.pull import convert_with_card

__all__ = ["ABOUT", "merged", "publish", "quiet"]

ABOUT = "training.json"
TEXT_SIDE = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
BESIDE = (*TEXT_SIDE, "generation_config.json", "README.md")


def publish(
    base: Path,
    adapters: Sequence[Path],
    target: Path,
    *,
    name: str,
    about: Mapping[str, Any],
    options: TrainingConfig,
) -> None:
    """Write the student as the model directory `target`, all or none of it.

    Raises:
        OSError: the disk is full; nothing of it is left but what the next call overwrites.
    """
    folder, part = target.with_name("merged.part"), target.with_name(f"{target.name}.part")
    for left in (folder, part):
        shutil.rmtree(left, ignore_errors=True)
    try:
        model = merged(base, adapters)
        model.save_pretrained(str(folder))
        for file in (base / beside for beside in BESIDE):
            if file.is_file():
                shutil.copyfile(file, folder / file.name)
        part.mkdir()
        (part / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        sources = {f"{base.name}/{file.name}": file for file in base.glob("*.safetensors")}
        sources |= {f"{one.parent.name}/{one.name}": one / "adapter_model.safetensors" for one in adapters}
        convert_with_card(
            folder,
            part,
            name=name,
            origin=f"trained from {base.name}",
            source_files={name: sha256_of(file) for name, file in sources.items()},
            quantization=options.quantization,
        )
        part.replace(target)
    finally:
        for left in (folder, part):
            shutil.rmtree(left, ignore_errors=True)


def merged(base: Path, adapters: Sequence[Path]) -> Any:
    """Return the model in a Hugging Face folder, in float32, with adapters merged into its weights one after the other.

    Raises:
        ModelDamaged: a tensor of the model is missing.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    with quiet():
        model, said = AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32, output_loading_info=True)
        if said["missing_keys"]:
            raise ModelDamaged(f"{base} lacks {sorted(said['missing_keys'])[0]}", model=base.name)
        for adapter in adapters:
            model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Let the libraries keep to themselves what they deprecate of one another."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(torch|transformers|datasets|accelerate|peft|trl)(\..*)?$")
        yield
