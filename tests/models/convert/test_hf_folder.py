"""What a Hugging Face folder may say, and what it must not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.models.convert import convert
from ruvllm.models.convert.hf_folder import hf_checkpoint

from .. import tiny


def decoder_folder(tmp_path: Path, **changes: Any) -> Path:
    return tiny.write_decoder_folder(tmp_path / "hf", tiny.decoder_weights(), tiny.decoder_config() | changes)


def convert_there(folder: Path, tmp_path: Path) -> Path:
    target = tmp_path / "out"
    target.mkdir()
    convert(folder, target, model="tiny")
    return target


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt_neox"}, "model_type 'gpt_neox'"),
        ({"model_type": "lfm2_moe"}, "mixtures of experts do not run here"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "rope_scaling 'llama3'"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling 'linear'"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"use_sliding_window": True}, "use_sliding_window True"),
        ({"quantization_config": {"quant_method": "awq"}}, "already quantized"),
    ],
)
def test_option_without_a_counterpart_is_unsupported(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelUnsupported, match=message):
        hf_checkpoint(decoder_folder(tmp_path, **changes), model="tiny")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": None}, "hidden_size in config.json is None"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers in config.json is 'two'"),
        ({"num_attention_heads": 5}, "num_attention_heads 5 does not divide hidden_size"),
        ({"tie_word_embeddings": False}, r"tensor lm_head\.weight is missing"),
    ],
)
def test_config_that_cannot_be_true_is_damaged(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelDamaged, match=message):
        hf_checkpoint(decoder_folder(tmp_path, **changes), model="tiny")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 3}, r"tensor model\.layers\.2\.\S+ is missing"),
        ({"intermediate_size": 100}, r"gate_proj\.weight has shape \(96, 64\), the configuration promises \(100, 64\)"),
        ({"num_key_value_heads": 4}, r"k_proj\.weight has shape \(32, 64\), the configuration promises \(64, 64\)"),
    ],
)
def test_config_that_contradicts_a_tensor_names_it(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelDamaged, match=message):
        convert_there(decoder_folder(tmp_path, **changes), tmp_path)


def test_tensor_that_nobody_asked_for_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupported, match=r"no use for tensor model\.layers\.1\.\S+ and 8 more"):
        convert_there(decoder_folder(tmp_path, num_hidden_layers=1), tmp_path)


def test_tied_head_that_is_stored_too_is_the_embedding_again(tmp_path: Path) -> None:
    weights = tiny.decoder_weights()
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].copy()
    folder = tiny.write_decoder_folder(tmp_path / "hf", weights, tiny.decoder_config(tied=True))
    target = convert_there(folder, tmp_path)
    assert (target / "model.bin").stat().st_size < 1.2 * sum(a.size for a in tiny.decoder_weights().values())


@pytest.mark.parametrize(
    "rope", [{"rope_theta": 5e5}, {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}]
)
def test_rope_theta_is_found_in_old_and_new_configs(tmp_path: Path, rope: dict[str, Any]) -> None:
    shape = hf_checkpoint(decoder_folder(tmp_path, **rope), model="tiny").shape
    assert shape.rope_theta == 5e5  # type: ignore[union-attr]


def test_tokenizer_copy_neither_truncates_nor_pads(tmp_path: Path) -> None:
    target = convert_there(decoder_folder(tmp_path), tmp_path)
    tokenizer = Tokenizer.from_file(str(target / "tokenizer.json"))
    assert len(tokenizer.encode("a" * 20).ids) == 20
    assert len(tokenizer.encode("a").ids) == 1


def test_text_side_is_normalised(tmp_path: Path) -> None:
    folder = decoder_folder(tmp_path)
    (folder / "generation_config.json").write_text('{"eos_token_id": [2, 0], "temperature": 0.7, "top_k": 20}')
    text = hf_checkpoint(folder, model="tiny").text
    assert text.config["eos_token"] == "<|im_end|>" and text.config["chat_template"] == tiny.TEMPLATE
    assert text.stop_tokens == ("<|im_end|>", "<|endoftext|>")
    assert text.generation == {"temperature": 0.7, "top_k": 20.0}


@pytest.mark.parametrize(
    ("header", "licence"),
    [
        ("---\nlicense: apache-2.0\ntags: []\n---\n", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: 'lfm1.0'\n---\n", "lfm1.0"),
        ("---\ntags: []\n---\nlicense: mit", None),
        ("# No header\nlicense: mit", None),
    ],
)
def test_licence_is_what_the_model_cards_header_says(tmp_path: Path, header: str, licence: str | None) -> None:
    folder = decoder_folder(tmp_path)
    (folder / "README.md").write_text(header)
    assert hf_checkpoint(folder, model="tiny").license == licence


def test_chat_template_in_its_own_file_wins(tmp_path: Path) -> None:
    folder = decoder_folder(tmp_path)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert hf_checkpoint(folder, model="tiny").text.config["chat_template"] == "{{ messages }}"


def test_rows_past_the_last_token_get_placeholders(tmp_path: Path) -> None:
    weights = tiny.decoder_weights()
    extra = np.zeros((2, tiny.HIDDEN), np.float32)
    weights["model.embed_tokens.weight"] = np.concatenate([weights["model.embed_tokens.weight"], extra])
    config = tiny.decoder_config() | {"vocab_size": len(tiny.TOKENS) + 2}
    target = convert_there(tiny.write_decoder_folder(tmp_path / "hf", weights, config), tmp_path)
    vocabulary = json.loads((target / "vocabulary.json").read_text())
    assert vocabulary[:-2] == tiny.TOKENS and len(vocabulary) == len(tiny.TOKENS) + 2


def test_tokenizer_larger_than_the_embedding_is_damaged(tmp_path: Path) -> None:
    weights = tiny.decoder_weights()
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"][:-1]
    config = tiny.decoder_config() | {"vocab_size": len(tiny.TOKENS) - 1}
    folder = tiny.write_decoder_folder(tmp_path / "hf", weights, config)
    with pytest.raises(ModelDamaged, match=f"last id is {len(tiny.TOKENS) - 1}"):
        convert_there(folder, tmp_path)


@pytest.mark.parametrize(
    ("file", "message"), [("config.json", "config.json is missing"), ("tokenizer.json", "holds no")]
)
def test_missing_file_is_named(tmp_path: Path, file: str, message: str) -> None:
    folder = decoder_folder(tmp_path)
    (folder / file).unlink()
    with pytest.raises((ModelDamaged, ModelUnsupported), match=message):
        hf_checkpoint(folder, model="tiny")


@pytest.mark.parametrize("content", [b"\xff{", b"[" * 100_000, b"3"])
@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])
def test_garbage_file_is_named(tmp_path: Path, file: str, content: bytes) -> None:
    folder = decoder_folder(tmp_path)
    (folder / file).write_bytes(content)
    with pytest.raises(ModelDamaged, match=file):
        hf_checkpoint(folder, model="tiny")


def test_token_id_that_no_vocabulary_has_is_damaged(tmp_path: Path) -> None:
    folder = decoder_folder(tmp_path)
    stored = json.loads((folder / "tokenizer.json").read_text())
    stored["model"]["vocab"][tiny.TOKENS[-1]] = 2**32 - 1  # 16 GiB when the library writes it down
    (folder / "tokenizer.json").write_text(json.dumps(stored))
    with pytest.raises(ModelDamaged, match=r"tokenizer\.json is damaged: it holds the id 4294967295"):
        hf_checkpoint(folder, model="tiny")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", {"rope_scaling": 3}),
        ("config.json", {"rms_norm_eps": [1e-5]}),
        ("tokenizer_config.json", {"chat_template": [None]}),
        ("model.safetensors.index.json", {"weight_map": {"a": 0}}),
    ],
)
def test_value_of_another_kind_is_damaged(tmp_path: Path, file: str, content: dict[str, Any]) -> None:
    folder = decoder_folder(tmp_path)
    known = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
    (folder / file).write_text(json.dumps(known | content))
    with pytest.raises(ModelDamaged, match="something of the wrong kind"):
        convert_there(folder, tmp_path)


def encoder_folder(tmp_path: Path, **changes: Any) -> Path:
    return tiny.write_encoder_folder(tmp_path / "hf", tiny.encoder_weights(), tiny.encoder_config() | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
        ({"hidden_act": "mish"}, "hidden_act 'mish'"),
    ],
)
def test_encoder_option_without_a_counterpart_is_unsupported(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelUnsupported, match=message):
        hf_checkpoint(encoder_folder(tmp_path, **changes), model="tiny")


@pytest.mark.parametrize(
    ("stored", "pooling"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode": "cls"}, "cls"),
    ],
)
def test_pooling_is_what_sentence_transformers_says(tmp_path: Path, stored: dict[str, Any], pooling: str) -> None:
    folder = encoder_folder(tmp_path)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(stored))
    assert hf_checkpoint(folder, model="tiny").pooling == pooling


def test_pooling_that_is_not_known_is_unsupported(tmp_path: Path) -> None:
    folder = encoder_folder(tmp_path)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(ModelUnsupported, match="pooling_mode_max_tokens"):
        hf_checkpoint(folder, model="tiny")


def test_dense_layer_after_pooling_is_unsupported(tmp_path: Path) -> None:
    folder = encoder_folder(tmp_path)
    (folder / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense"}]')
    with pytest.raises(ModelUnsupported, match="module Dense"):
        hf_checkpoint(folder, model="tiny")
