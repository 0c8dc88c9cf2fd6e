"""The perplexity bench on a tiny decoder, checked against numpy."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from models import tiny

from ruvllm import models
from ruvllm.bench import perplexity
from ruvllm.config import ModelsConfig
from ruvllm.inference.perplexity import runtime_logprobs


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A tiny decoder in every quantization, found under their names."""
    source = tiny.write_decoder_folder(tmp_path / "tiny", tiny.decoder_weights(), tiny.decoder_config())
    config = ModelsConfig(cache_dir=str(tmp_path / "cache"))
    made = {q: models.pull(f"path:{source}", config, quantization=q) for q in perplexity.QUANTIZATIONS}
    found = {path.name: path for path in made.values()}
    monkeypatch.setattr(perplexity, "find_or_pull", lambda name, config, task: found[name])
    return made


def logprobs(ids: list[int]) -> np.ndarray:
    logits = tiny.decoder_logits(tiny.decoder_weights(), ids)[:-1]
    logits -= logits.max(axis=1, keepdims=True)
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))[np.arange(len(ids) - 1), ids[1:]]


def test_both_engines_score_every_token_but_the_first(folders: dict[str, Path]) -> None:
    windows = [[5, 40, 41, 7, 9], [8, 100, 5, 6, 30]]
    wanted = np.concatenate([logprobs(ids) for ids in windows])
    np.testing.assert_allclose(runtime_logprobs(folders["float32"], windows, 1), wanted, atol=1e-4)
    np.testing.assert_allclose(perplexity.ctranslate2_logprobs(folders["float32"], windows, 1), wanted, atol=1e-4)


def test_rows_hold_each_quantization_against_float32(folders: dict[str, Path], tmp_path: Path) -> None:
    text = tmp_path / "text.gz"
    text.write_bytes(gzip.compress(b"hello world 123 " * 20))
    report = perplexity.run(text, "tiny", ModelsConfig(), windows=2, window=16, num_threads=1)
    rows = {row.name: row for row in report.rows}
    assert list(rows) == [
        *(f"tiny {q}" for q in perplexity.QUANTIZATIONS),
        *(f"tiny {q} over float32" for q in perplexity.QUANTIZATIONS[1:]),
    ]
    loss = 100 * (rows["tiny int8"].value / rows["tiny float32"].value - 1)
    assert rows["tiny int8 over float32"].value == pytest.approx(loss)
    assert rows["tiny float32"].peers["CTranslate2"] == pytest.approx(rows["tiny float32"].value, rel=1e-4)
    assert not rows["tiny int4"].peers


def test_a_text_that_is_too_short_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match=r"has \d+ tokens; 2 windows of 16 need 32"):
        perplexity.run(tmp_path / "text", "tiny", ModelsConfig(), windows=2, window=16, num_threads=1)
