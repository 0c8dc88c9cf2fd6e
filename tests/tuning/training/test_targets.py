"""Names of the layers that adapters go to."""

from __future__ import annotations

from pathlib import Path

import pytest

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.tuning.training import lora_targets
from ruvllm.tuning.training.targets import family_of

from . import cases


@pytest.mark.parametrize("family", ["lfm2", "llama"])
def test_default_is_every_linear_layer_that_the_model_has(tmp_path: Path, family: str) -> None:
    cases.needs_training()
    import torch
    import transformers

    folder = getattr(cases, family)(tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(str(folder))
    linear = [name for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)]
    assert set(lora_targets(family)) == {name.rpartition(".")[2] for name in linear} - {"lm_head"}


def test_name_that_does_not_exist_is_named_beside_the_real_ones() -> None:
    with pytest.raises(ValueError, match=r"lfm2 has no o_proj, gate_proj; its linear layers are w1, w2, w3, q_proj"):
        lora_targets("lfm2", ["q_proj", "o_proj", "gate_proj"])


def test_family_is_read_from_the_folder(tmp_path: Path) -> None:
    assert family_of(cases.lfm2(tmp_path)) == "lfm2"


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ModelUnsupported, match="students are made of lfm2, llama, qwen2, not of 'gpt2'"):
        family_of(tmp_path)


def test_folder_without_configuration_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(ModelDamaged, match="no Hugging Face folder"):
        family_of(tmp_path)
