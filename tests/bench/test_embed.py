"""The embed bench on a tiny encoder; the token ids it times are those of their texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from models import tiny
from tokenizers import Tokenizer

from ruvllm import models
from ruvllm.bench import embed, encoders
from ruvllm.config import ModelsConfig


@pytest.fixture
def tiny_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A converted encoder of two layers, and no peers but CTranslate2."""
    monkeypatch.setattr(encoders, "peer", lambda module: None)
    folder = tiny.write_encoder_folder(tmp_path / "tiny-bert", tiny.encoder_weights(), tiny.encoder_config())
    return models.pull(f"path:{folder}", ModelsConfig(cache_dir=str(tmp_path / "cache")))


def test_a_query_and_a_batch_are_measured_beside_ctranslate2(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "BATCH_TOKENS", 8)
    report = embed.run(tiny_encoder, num_threads=2, rounds=1, seconds=0.001)
    assert report.bench == "embed"
    one, many = report.rows
    assert (one.unit, many.unit) == ("ms", "tokens/s")
    for row in report.rows:
        assert list(row.peers) == [f"CTranslate2 int8, {what}" for what in ("1 thread", "2 threads", "2 workers")]
        assert row.value > 0 and row.met is not None
    assert one.ratio == one.value / min(one.peers.values())
    assert many.ratio == many.value / max(many.peers.values())


def test_peers_compute_the_same_means(tiny_encoder: Path) -> None:
    ids = [[2, 5, 3], [2, 5, 6, 8, 9, 3]]
    ours = np.asarray(encoders.runtime(tiny_encoder, 1)(ids))
    theirs = np.asarray(encoders.ctranslate2(tiny_encoder, 1)(ids))
    for a, b in zip(ours, theirs, strict=True):
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.99


def test_texts_are_as_long_as_asked_for(tiny_encoder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tiny_encoder / "tokenizer.json"))
    tokenizer.no_truncation()
    assert [len(ids) for ids in embed.token_ids(tokenizer, 1, 16)] == [14]  # this tokenizer adds no special tokens
    lengths = [len(ids) for ids in embed.token_ids(tokenizer, 64, 100)]
    assert 95 < np.mean(lengths) < 102 and len(set(lengths)) > 10
