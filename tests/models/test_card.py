"""A model directory knows its own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.models.card import ModelCard, read_card, verify, write_card

CARD = ModelCard(
    name="tiny",
    family="llama",
    task="generate",
    parameters=1,
    license="mit",
    origin="path:/x",
    source={},
    quantization="int8",
    hidden_size=8,
    vocab_size=4,
    context_tokens=16,
    stop_tokens=("</s>",),
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model.bin").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    write_card(tmp_path, CARD)
    return tmp_path


def test_card_comes_back_with_every_file_recorded(model: Path) -> None:
    card = read_card(model)
    assert card.stop_tokens == ("</s>",) and card.name == "tiny"
    assert set(card.files) == {"model.bin", "config.json"} and card.files["model.bin"].bytes == 7


def test_whole_directory_has_no_problems(model: Path) -> None:
    assert verify(model) == []


def test_flipped_bit_is_found_though_the_size_is_right(model: Path) -> None:
    (model / "model.bin").write_bytes(b"Weights")
    (problem,) = verify(model)
    assert problem.startswith("model.bin has sha256")


def test_truncated_and_missing_files_are_named(model: Path) -> None:
    (model / "model.bin").write_bytes(b"wei")
    (model / "config.json").unlink()
    assert verify(model) == ["config.json is missing", "model.bin has 3 bytes, recorded 7"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b'{"name": "x"}', b'{"format": 1, "surprise": 2}', b"[" * 100_000]
)
def test_unreadable_card_is_damaged(model: Path, content: bytes) -> None:
    (model / "ruvllm.json").write_bytes(content)
    with pytest.raises(ModelDamaged, match=r"ruvllm\.json cannot be read"):
        read_card(model)


def test_card_of_a_later_version_asks_for_an_upgrade(model: Path) -> None:
    later = json.loads((model / "ruvllm.json").read_bytes()) | {"format": 2, "unheard_of": True}
    (model / "ruvllm.json").write_text(json.dumps(later))
    with pytest.raises(ModelUnsupported, match="format 2, this ruvllm knows up to 1: upgrade"):
        read_card(model)
