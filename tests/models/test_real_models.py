"""The real default models, as they lie in the cache: token ids, chat prompts, sense, and closeness to float32."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ctranslate2
import jinja2
import numpy as np
import pytest
from tokenizers import Tokenizer

from ruvllm.config import ModelsConfig
from ruvllm.errors import ModelMissing
from ruvllm.models import catalogue, find, read_card, verify

pytestmark = pytest.mark.real
DATA = Path(__file__).with_name("data")


def golden(name: str) -> Any:
    """Ids that transformers and a plain byte-pair encoder agreed on (make_golden.py)."""
    return json.loads((DATA / f"{name}.json").read_text())


def check_tokenizer(name: str, path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    for case in golden(name)["texts"]:
        assert tokenizer.encode(case["text"], add_special_tokens=False).ids == case["ids"], case["text"]


def test_smollm2_tokenizer_agrees_token_for_token(smollm2_dir: Path) -> None:
    check_tokenizer("smollm2-135m", smollm2_dir)


def test_qwen2_tokenizer_agrees_token_for_token(models_config: ModelsConfig) -> None:
    try:
        path = find("qwen2.5-coder-0.5b", models_config)
    except ModelMissing:
        pytest.skip("qwen2.5-coder-0.5b is not in the cache; it is for benchmarks")
    check_tokenizer("qwen2.5-coder-0.5b", path)


def test_smollm2_chat_template_renders_as_transformers_does(smollm2_dir: Path) -> None:
    config = json.loads((smollm2_dir / "tokenizer_config.json").read_text())
    template = jinja2.Environment().from_string(config["chat_template"])
    for case in golden("smollm2-135m")["chats"]:
        assert template.render(messages=case["messages"], add_generation_prompt=True) == case["text"]


@pytest.mark.parametrize("fixture", ["smollm2_dir", "minilm_dir"])
def test_default_model_is_whole_and_from_its_pinned_source(fixture: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(fixture)
    card, entry = read_card(path), catalogue()[path.name]
    assert verify(path) == []
    assert entry.package is not None and card.source == entry.package.files
    assert (card.parameters, card.family, card.tier) == (entry.parameters, entry.family, entry.tier)


def test_smollm2_knows_the_capital_of_france(smollm2_dir: Path) -> None:
    """Weights in int8, arithmetic in float32: with int8 activations this small model's wording depends on the CPU."""
    chat = golden("smollm2-135m")["chats"][0]
    tokenizer = Tokenizer.from_file(str(smollm2_dir / "tokenizer.json"))
    generator = ctranslate2.Generator(str(smollm2_dir), compute_type="float32", intra_threads=1)
    stop = list(read_card(smollm2_dir).stop_tokens)
    (result,) = generator.generate_batch(
        [[tokenizer.id_to_token(i) for i in chat["ids"]]], max_length=16, end_token=stop, include_prompt_in_result=False
    )
    assert tokenizer.decode(result.sequences_ids[0]) == "The capital of France is Paris."


def test_minilm_is_close_to_sentence_transformers(minilm_dir: Path) -> None:
    cases = golden("minilm-l6")
    tokenizer = Tokenizer.from_file(str(minilm_dir / "tokenizer.json"))
    encoder = ctranslate2.Encoder(str(minilm_dir), intra_threads=1)
    for case in cases:
        ids = tokenizer.encode(case["text"]).ids
        assert ids == case["ids"], case["text"]
        state = np.asarray(encoder.forward_batch([ids]).last_hidden_state)[0]  # (T, 384)
        vector = state.mean(0)
        wanted = np.array(case["vector"])
        assert vector @ wanted / np.linalg.norm(vector) / np.linalg.norm(wanted) >= 0.99, case["text"]
