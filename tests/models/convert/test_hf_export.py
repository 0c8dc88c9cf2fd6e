"""Checkpoints as Hugging Face folders to train from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ruvllm.config import ModelsConfig
from ruvllm.errors import ModelUnsupported
from ruvllm.models import find, pull
from ruvllm.models.convert import convert
from ruvllm.models.convert.safetensors_folder import SafetensorsFolder
from tests.models import tiny, tiny_lfm2


def exported(source: Path, folder: Path) -> SafetensorsFolder:
    target = folder / "hf"
    target.mkdir()
    convert(source, target, model="tiny", quantization="hf")
    return SafetensorsFolder(target, model="tiny")


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("tied", [True, False])
def test_gguf_gives_the_weights_that_it_was_made_of(tmp_path: Path, kind: str, tied: bool) -> None:
    weights = tiny.decoder_weights(kind, tied=tied)
    found = exported(tiny.write_gguf(tmp_path / "tiny.gguf", weights, kind), tmp_path)
    assert set(found.names()) == set(weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(found.read(name), array)
    assert json.loads((tmp_path / "hf/config.json").read_text())["model_type"] == kind


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_lfm2_keeps_its_weights(tmp_path: Path, dtype: str) -> None:
    source = tiny_lfm2.write_lfm2_folder(tmp_path / "tiny-lfm2", tiny_lfm2.Size(conv_bias=True), dtype=dtype)
    found, before = exported(source, tmp_path), SafetensorsFolder(source, model="tiny")
    assert set(found.names()) == set(before.names())
    for name in before.names():
        np.testing.assert_array_equal(found.read(name), before.read(name))
        assert found.shape(name) == before.shape(name)


@pytest.mark.parametrize("source", ["gguf", "lfm2"])
def test_converting_the_folder_gives_the_same_model(tmp_path: Path, source: str) -> None:
    first = (
        tiny.write_gguf(tmp_path / "tiny.gguf", tiny.decoder_weights())
        if source == "gguf"
        else tiny_lfm2.write_lfm2_gguf(tmp_path / "tiny.gguf", tiny_lfm2.Size())
    )
    exported(first, tmp_path)
    made = {}
    for name, path in (("direct", first), ("exported", tmp_path / "hf")):
        (tmp_path / name).mkdir()
        made[name] = convert(path, tmp_path / name, model="tiny")
    assert made["direct"] == made["exported"]
    assert (tmp_path / "direct/model.bin").read_bytes() == (tmp_path / "exported/model.bin").read_bytes()


def test_encoder_is_refused(tmp_path: Path) -> None:
    source = tiny.write_encoder_folder(tmp_path / "tiny-bert", tiny.encoder_weights(), tiny.encoder_config())
    with pytest.raises(ModelUnsupported, match="encoders are not exported"):
        exported(source, tmp_path)


def test_no_engine_is_offered_the_folder(tmp_path: Path) -> None:
    config = ModelsConfig(cache_dir=str(tmp_path / "cache"))
    source = tiny.write_gguf(tmp_path / "tiny.gguf", tiny.decoder_weights())
    folder = pull(f"path:{source}", config, quantization="hf")
    assert find("tiny@hf", config) == folder
    with pytest.raises(ModelUnsupported, match="no engine runs it"):
        find("tiny@hf", config, task="generate")


def test_transformers_says_what_the_oracle_says(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs pip install 'ruvllm[train]'")
    torch = pytest.importorskip("torch", reason="needs pip install 'ruvllm[train]'")
    weights, ids = tiny.decoder_weights(), [5, 80, 7, 42]
    exported(tiny.write_gguf(tmp_path / "tiny.gguf", weights), tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(str(tmp_path / "hf"), dtype=torch.float64)
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].numpy()
    np.testing.assert_allclose(logits, tiny.decoder_logits(weights, ids), atol=1e-5)
