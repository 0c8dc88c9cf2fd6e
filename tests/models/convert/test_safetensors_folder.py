"""Reading safetensors bytes without PyTorch, and refusing files that are not whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.models.convert.safetensors_folder import SafetensorsFolder

from .. import tiny

WEIGHTS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([0.5, -1.5], np.float32)}


def test_reads_what_the_reference_library_wrote(tmp_path: Path) -> None:
    save = pytest.importorskip("safetensors.numpy").save_file
    save(WEIGHTS, tmp_path / "model.safetensors", metadata={"format": "pt"})
    folder = SafetensorsFolder(tmp_path, model="m")
    assert sorted(folder.names()) == ["a", "b"]
    np.testing.assert_array_equal(folder.read("a"), WEIGHTS["a"])


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_every_stored_type_comes_back_as_writable_float32(tmp_path: Path, dtype: str) -> None:
    tiny.write_safetensors(tmp_path / "model.safetensors", WEIGHTS, dtype)
    array = SafetensorsFolder(tmp_path, model="m").read("a")
    assert array.dtype == np.float32 and array.flags.writeable
    np.testing.assert_array_equal(array, WEIGHTS["a"])  # small integers are exact in all three


def test_shards_are_joined_by_their_index(tmp_path: Path) -> None:
    for name, array in WEIGHTS.items():
        tiny.write_safetensors(tmp_path / f"{name}.safetensors", {name: array})
    index = {"weight_map": {name: f"{name}.safetensors" for name in WEIGHTS}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    folder = SafetensorsFolder(tmp_path, model="m")
    np.testing.assert_array_equal(folder.read("b"), WEIGHTS["b"])
    assert [file.name for file in folder.files] == ["a.safetensors", "b.safetensors"]


@pytest.mark.parametrize("shard", ["gone.safetensors", "../outside.safetensors"])
def test_missing_shard_is_named(tmp_path: Path, shard: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(ModelDamaged, match=f"shard {shard} is missing"):
        SafetensorsFolder(tmp_path, model="m")


def test_folder_without_safetensors_is_unsupported(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelUnsupported, match=r"holds no model\.safetensors"):
        SafetensorsFolder(tmp_path, model="m")


def test_truncation_at_any_byte_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    tiny.write_safetensors(file, WEIGHTS)
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(ModelDamaged):
            SafetensorsFolder(tmp_path, model="m")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"not json", "header"),
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', "tensor a has 4 bytes, its shape 8"),
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}', "tensor a ends past the file"),
        (b'{"a": {"dtype": "F32"}}', "header"),
        (b"[1]", "header"),
    ],
)
def test_damaged_header_is_refused(tmp_path: Path, header: bytes, message: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(ModelDamaged, match=message):
        SafetensorsFolder(tmp_path, model="m")


def test_integer_tensor_is_unsupported_only_when_it_is_read(tmp_path: Path) -> None:
    header = b'{"ids": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}'
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    folder = SafetensorsFolder(tmp_path, model="m")
    with pytest.raises(ModelUnsupported, match="tensor ids has dtype I64"):
        folder.read("ids")
