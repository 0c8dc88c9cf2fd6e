"""Finding, listing and removing models."""

from __future__ import annotations

from pathlib import Path

import pytest

from ruvllm.config import ModelsConfig
from ruvllm.errors import ModelDamaged, ModelMissing, ModelUnsupported
from ruvllm.models import find, installed, pull, remove


@pytest.fixture
def model(config: ModelsConfig, tiny_gguf: Path) -> Path:
    """tiny-llama in the cache."""
    return pull(f"path:{tiny_gguf}", config)


def test_model_is_found_by_name_and_by_path(config: ModelsConfig, model: Path) -> None:
    assert find("tiny-llama", config) == model
    assert find(str(model), ModelsConfig(cache_dir="/nowhere")) == model


def test_missing_model_says_how_to_get_it(config: ModelsConfig) -> None:
    with pytest.raises(ModelMissing, match="ruvllm pull smollm2-135m") as caught:
        find("smollm2-135m", config)
    assert caught.value.model == "smollm2-135m"


@pytest.mark.parametrize("name", ["/no/such/dir", "../cache", "."])
def test_path_that_is_no_model_is_not_found(config: ModelsConfig, name: str) -> None:
    with pytest.raises((ModelMissing, ModelDamaged)):
        find(name, config)


def test_empty_name_is_a_callers_mistake(config: ModelsConfig) -> None:
    with pytest.raises(ValueError, match="name must not be empty"):
        find("", config)


def test_directory_without_a_card_is_damaged(config: ModelsConfig, model: Path) -> None:
    (model / "ruvllm.json").unlink()
    with pytest.raises(ModelDamaged, match=r"ruvllm\.json is missing"):
        find("tiny-llama", config)


def test_truncated_file_is_damaged(config: ModelsConfig, model: Path) -> None:
    (model / "model.bin").write_bytes(b"half")
    with pytest.raises(ModelDamaged, match=r"model\.bin has 4 bytes instead of"):
        find("tiny-llama", config)


def test_missing_file_is_damaged(config: ModelsConfig, model: Path) -> None:
    (model / "tokenizer.json").unlink()
    with pytest.raises(ModelDamaged, match=r"tokenizer\.json is missing; pull it again"):
        find("tiny-llama", config)


def test_an_encoder_cannot_generate_and_a_decoder_embeds_too(
    config: ModelsConfig, model: Path, tiny_encoder: Path
) -> None:
    pull(f"path:{tiny_encoder}", config)
    with pytest.raises(ModelUnsupported, match="made to embed, not to generate"):
        find("tiny-bert", config, task="generate")
    assert find("tiny-llama", config, task="embed") == model


def test_installed_lists_models_and_marks_damaged_ones(config: ModelsConfig, model: Path, tiny_encoder: Path) -> None:
    pull(f"path:{tiny_encoder}", config)
    (model / "ruvllm.json").write_text("{")
    bert, llama = installed(config)
    assert (bert.name, llama.name, llama.card) == ("tiny-bert", "tiny-llama", None)
    assert bert.card is not None and bert.card.task == "embed"
    assert bert.bytes == sum(file.stat().st_size for file in bert.path.iterdir())


def test_installed_of_an_empty_cache_is_empty(config: ModelsConfig) -> None:
    assert installed(config) == []


def test_removed_model_is_gone(config: ModelsConfig, model: Path) -> None:
    remove("tiny-llama", config)
    assert not model.exists() and installed(config) == []


@pytest.mark.parametrize("name", ["never-there", "../tiny-llama", ".partial", ""])
def test_removing_what_is_not_there_is_missing(config: ModelsConfig, model: Path, name: str) -> None:
    with pytest.raises(ModelMissing):
        remove(name, config)
    assert model.is_dir()
