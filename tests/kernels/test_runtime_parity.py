"""The runtime beside transformers: LFM2, Llama, Qwen2 and BERT; from a golden file, and anew where it is installed."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from models import converted

from .runtime_cases import SIZES, load, logits_of
from .runtime_parity import COLUMNS, GOLDEN, IDS, WORD_IDS, decoder, encoder, lfm2

ATOL = 1e-4  # at logits near 10: see test_runtime
NAMES = [*(f"lfm2: {name}" for name in SIZES), *(f"{k}: tied={t}" for k in ("llama", "qwen2") for t in (True, False))]


def computed(folder: Path, name: str) -> np.ndarray:
    """Return what the runtime makes of a case."""
    kind, _, rest = name.partition(": ")
    if kind == "bert":
        return load(converted.encoder(folder), norm_eps=1e-12).encode([np.array(WORD_IDS, np.int32)])
    tied = rest == "tied=True"
    path = converted.lfm2(folder, SIZES[rest]) if kind == "lfm2" else converted.decoder(folder, kind, tied=tied)
    return logits_of(load(path), np.array(IDS, np.int32))


@pytest.mark.parametrize("name", [*NAMES, "bert"])
def test_the_golden_file_of_transformers_is_met(tmp_path: Path, name: str) -> None:
    found = computed(tmp_path, name)[:, COLUMNS]
    expected = np.frombuffer(base64.b64decode(json.loads(GOLDEN.read_text())[name]), np.float32).reshape(len(found), -1)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, atol=ATOL)


@pytest.mark.parametrize("name", [*NAMES, "bert"])
def test_transformers_agrees(tmp_path: Path, name: str) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    kind, _, rest = name.partition(": ")
    source = tmp_path / "reference"
    if kind == "bert":
        expected = encoder(source)
    elif kind == "lfm2":
        expected = lfm2(source, SIZES[rest])
    else:
        expected = decoder(source, kind, tied=rest == "tied=True")
    np.testing.assert_allclose(computed(tmp_path, name), expected, atol=ATOL)
