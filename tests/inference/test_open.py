"""Which engine a model's name opens, and when a model is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest
from models import converted

from ruvllm import models
from ruvllm.config import GenerationConfig, ModelsConfig
from ruvllm.errors import ModelMissing, ModelUnsupported, PullError
from ruvllm.inference import find_or_pull, open_engine
from ruvllm.inference.ctranslate2_engine import CTranslate2Engine
from ruvllm.inference.open import WINDOW_TOKENS
from ruvllm.inference.remote import RemoteEngine
from ruvllm.inference.runtime_engine import RuntimeEngine


def test_a_url_opens_a_remote_engine_with_room_for_prompt_and_answer(tmp_path: Path) -> None:
    generation = GenerationConfig(context_tokens=6000, max_new_tokens=500)
    engine = open_engine("http://localhost:11434/v1#llama3.2", generation, ModelsConfig(cache_dir=str(tmp_path)))
    engine.close()
    assert isinstance(engine, RemoteEngine)
    assert engine.context_tokens == 6500


@pytest.mark.real
@pytest.mark.integration
def test_a_name_and_a_directory_open_a_local_engine(smollm2_dir: Path, models_config: ModelsConfig) -> None:
    for model in ("smollm2-135m", str(smollm2_dir)):
        engine = open_engine(model, GenerationConfig(context_tokens=300), models_config)
        engine.close()
        assert isinstance(engine, RuntimeEngine)
        assert (engine.name, engine.context_tokens) == ("smollm2-135m", WINDOW_TOKENS)


@pytest.mark.real
@pytest.mark.integration
def test_the_configuration_chooses_the_engine(smollm2_dir: Path, models_config: ModelsConfig) -> None:
    engine = open_engine(str(smollm2_dir), GenerationConfig(engine="ctranslate2", num_threads=1), models_config)
    engine.close()
    assert isinstance(engine, CTranslate2Engine)


@pytest.mark.parametrize("kind", ["lfm2", "int4"])
def test_what_only_the_runtime_runs_opens_there(tmp_path: Path, kind: str) -> None:
    config = ModelsConfig(cache_dir=str(tmp_path), offline=True)
    model = str(converted.lfm2(tmp_path) if kind == "lfm2" else converted.decoder(tmp_path, quantization="int4"))
    engine = open_engine(model, GenerationConfig(kv="int8"), config)
    engine.close()
    assert isinstance(engine, RuntimeEngine)
    with pytest.raises(ModelUnsupported, match=f'{kind}.*set generation.engine to "runtime"'):
        open_engine(model, GenerationConfig(engine="ctranslate2"), config)


@pytest.mark.parametrize(("offline", "auto_pull"), [(True, True), (False, False)])
def test_a_missing_model_is_not_fetched_against_the_configuration(
    tmp_path: Path, offline: bool, auto_pull: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "pull", lambda *_, **__: pytest.fail("fetched"))
    with pytest.raises(ModelMissing, match="ruvllm pull smollm2-135m"):
        find_or_pull(
            "smollm2-135m", ModelsConfig(cache_dir=str(tmp_path), offline=offline, auto_pull=auto_pull), task="generate"
        )


def test_what_the_catalogue_does_not_hold_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing):
        find_or_pull(str(tmp_path / "nowhere"), ModelsConfig(cache_dir=str(tmp_path)), task="generate")


def test_a_catalogue_model_is_fetched_in_the_wanted_quantization(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def pull(name: str, config: ModelsConfig, *, quantization: str) -> Path:
        asked.append((name, quantization))
        raise PullError("no network in tests", model=name)

    monkeypatch.setattr(models, "pull", pull)
    with pytest.raises(PullError):
        find_or_pull("minilm-l6@float32", ModelsConfig(cache_dir=str(tmp_path)), task="embed")
    assert asked == [("minilm-l6", "float32")]
