"""Weights pass through one at a time, and the file is the one that CTranslate2 writes from memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

# CTranslate2, imported with this module, stays out of the measurement
from ruvllm.models.convert import convert, variables
from ruvllm.models.convert.checkpoint import Matrix

from .. import tiny, tiny_lfm2

LARGE = tiny_lfm2.Size((tiny_lfm2.CONV, tiny_lfm2.ATTENTION) * 4, 512, 1024, 8, 4, 64, vocab=8192)


@pytest.mark.parametrize("quantization", ["float32", "int8", "int4"])
def test_memory_follows_the_largest_tensor(tmp_path: Path, quantization: str) -> None:
    source = tiny_lfm2.write_lfm2_folder(tmp_path / "hf", LARGE, dtype="BF16")
    (tmp_path / "out").mkdir()
    largest = 4 * LARGE.vocab * LARGE.hidden
    tracemalloc.start()
    convert(source, tmp_path / "out", model="tiny", quantization=quantization)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.6 * largest + 4e6  # bfloat16 and float32 at once; the vocabulary


@pytest.mark.parametrize("family", ["llama", "lfm2"])
@pytest.mark.parametrize("quantization", ["float32", "int8"])
@pytest.mark.parametrize("tied", [True, False])
def test_file_equals_what_ctranslate2_makes_in_one_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, quantization: str, tied: bool
) -> None:
    from ctranslate2.specs import model_spec

    if family == "llama":
        path = tiny.write_gguf(tmp_path / "tiny.gguf", tiny.decoder_weights(tied=tied))
    else:
        path = tiny_lfm2.write_lfm2_gguf(tmp_path / "tiny.gguf", tiny_lfm2.Size(tied=tied))
    (tmp_path / "ours").mkdir()
    convert(path, tmp_path / "ours", model="tiny", quantization=quantization)

    def fill_at_once(layer: object, matrix: Matrix, quantization: str) -> None:
        layer.weight = matrix.read()  # type: ignore[attr-defined]

    whole = model_spec.LayerSpec.optimize
    for module in ("spec", "lfm2_spec", "variables"):
        monkeypatch.setattr(f"ruvllm.models.convert.{module}.fill", fill_at_once)
    monkeypatch.setattr(model_spec.LayerSpec, "optimize", lambda self, _=None: whole(self, quantization))
    (tmp_path / "stock").mkdir()
    convert(path, tmp_path / "stock", model="tiny")
    for file in ("model.bin", "config.json", "vocabulary.json"):
        assert (tmp_path / "ours" / file).read_bytes() == (tmp_path / "stock" / file).read_bytes()


def test_large_matrix_is_quantized_as_in_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    class Source:
        shape = (10, 8)

        def read(self) -> np.ndarray:
            return np.random.default_rng(0).standard_normal(self.shape).astype(np.float32)

    whole = variables._int8(Source())  # type: ignore[arg-type]
    monkeypatch.setattr(variables, "_BLOCK_VALUES", 24)  # three rows
    blocks = variables._int8(Source())  # type: ignore[arg-type]
    assert all((blocks[name] == whole[name]).all() for name in whole)
