"""Converted float32 models compute what the checkpoint means, from every source and in every stored type."""

from __future__ import annotations

from pathlib import Path

import ctranslate2
import numpy as np
import pytest

from ruvllm.errors import ModelUnsupported
from ruvllm.models.convert import Converted, convert

from .. import tiny
from ..lfm2_numpy import read_model_bin, weights_of

IDS = [1, 40, 77, 262, 259, 12, 200, 3, 65]


def converted(source: Path, folder: Path, quantization: str = "float32") -> tuple[Path, Converted]:
    target = folder / "out"
    target.mkdir(parents=True)
    return target, convert(source, target, model="tiny", quantization=quantization)


def logits(path: Path, ids: list[int]) -> np.ndarray:
    generator = ctranslate2.Generator(str(path), device="cpu", compute_type="default")
    return np.asarray(generator.forward_batch([ids]))[0]


def states(path: Path, ids: list[int]) -> np.ndarray:
    encoder = ctranslate2.Encoder(str(path), device="cpu")
    return np.asarray(encoder.forward_batch([ids]).last_hidden_state)[0]


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("source", ["folder", "gguf"])
def test_decoder_computes_the_same_logits_as_numpy(tmp_path: Path, kind: str, tied: bool, source: str) -> None:
    weights = tiny.decoder_weights(kind, tied=tied)
    if source == "gguf":
        path = tiny.write_gguf(tmp_path / "tiny.gguf", weights, kind)
    else:
        path = tiny.write_decoder_folder(tmp_path / "hf", weights, tiny.decoder_config(kind, tied=tied))
    target, facts = converted(path, tmp_path)
    np.testing.assert_allclose(logits(target, IDS), tiny.decoder_logits(weights, IDS), rtol=0, atol=2e-5)
    assert facts.parameters == sum(array.size for array in weights.values())


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_half_precision_folder_is_read_as_it_was_stored(tmp_path: Path, dtype: str) -> None:
    weights = tiny.decoder_weights()
    path = tiny.write_decoder_folder(tmp_path / "hf", weights, tiny.decoder_config(), dtype)
    target, _ = converted(path, tmp_path)
    if dtype == "F16":
        stored = {name: array.astype(np.float16).astype(np.float32) for name, array in weights.items()}
    else:
        stored = {name: (array.view(np.uint32) & 0xFFFF0000).view(np.float32) for name, array in weights.items()}
    np.testing.assert_allclose(logits(target, IDS), tiny.decoder_logits(stored, IDS), rtol=0, atol=2e-5)


@pytest.mark.parametrize("quantization", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
def test_quantized_gguf_is_dequantized_by_its_own_rule(tmp_path: Path, quantization: str) -> None:
    import gguf

    weights = tiny.decoder_weights("qwen2")
    path = tiny.write_gguf(tmp_path / "tiny.gguf", weights, "qwen2", quantization=quantization)
    target, _ = converted(path, tmp_path)
    kind = gguf.GGMLQuantizationType[quantization]
    stored = {n: gguf.dequantize(gguf.quantize(a, kind), kind) if a.ndim > 1 else a for n, a in weights.items()}
    np.testing.assert_allclose(logits(target, IDS), tiny.decoder_logits(stored, IDS), rtol=0, atol=5e-5)


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_encoder_computes_the_same_states_as_numpy(tmp_path: Path, prefix: str) -> None:
    weights = tiny.encoder_weights()
    path = tiny.write_encoder_folder(tmp_path / "hf", weights, tiny.encoder_config(), prefix)
    target, facts = converted(path, tmp_path)
    ids = [2, 5, 6, 7, 3]
    np.testing.assert_allclose(states(target, ids), tiny.encoder_states(weights, ids), rtol=0, atol=2e-5)
    assert (facts.family, facts.task, facts.pooling, facts.context_tokens) == ("bert", "embed", "mean", 16)


def test_int8_decoder_stays_close_and_is_a_quarter_of_the_size(tmp_path: Path) -> None:
    weights = tiny.decoder_weights()
    path = tiny.write_gguf(tmp_path / "tiny.gguf", weights)
    target, _ = converted(path, tmp_path, "int8")
    found, wanted = logits(target, IDS), tiny.decoder_logits(weights, IDS)
    cosine = (found * wanted).sum(-1) / np.linalg.norm(found, axis=-1) / np.linalg.norm(wanted, axis=-1)
    assert cosine.min() > 0.995
    stored = sum(array.size for array in weights.values())
    assert (target / "model.bin").stat().st_size < 1.2 * stored


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("source", ["folder", "F32", "Q4_0", "Q4_1"])
def test_int4_decoder_holds_the_source_in_groups(tmp_path: Path, kind: str, source: str) -> None:
    """Q4_0 is the same grid and stays as it is; anything else is within half a step of -7 .. 7, a group at a time."""
    weights = tiny.decoder_weights(kind)
    if source == "folder":
        path = tiny.write_decoder_folder(tmp_path / "hf", weights, tiny.decoder_config(kind))
    else:
        path = tiny.write_gguf(tmp_path / "tiny.gguf", weights, kind, quantization=source)
    exact, packed = (weights_of(converted(path, tmp_path / q, q)[0] / "model.bin") for q in ("float32", "int4"))
    assert set(packed) == set(exact)
    for name in (n for n in exact if "linear" in n and n.endswith("weight")):
        groups, found = (w[name].reshape(-1, 32).astype(np.float64) for w in (exact, packed))
        error, norm = (np.linalg.norm(a, axis=-1) for a in (found - groups, groups))
        bound = 0 if source == "Q4_0" else np.sqrt(32) * np.abs(groups).max(-1) / 14 + 2.0**-11 * norm
        assert (error <= 1.0001 * bound).all()


def test_int4_decoder_is_a_family_of_names_of_its_own(tmp_path: Path) -> None:
    path = tiny.write_gguf(tmp_path / "tiny.gguf", tiny.decoder_weights("qwen2"), "qwen2")
    _, variables, _ = read_model_bin(converted(path, tmp_path, "int4")[0] / "model.bin")
    layer = "decoder/layer_1/self_attention/linear_0"
    parts = {name.rpartition("/")[2] for name in variables if name.startswith(layer)}
    assert parts == {"qweight", "qscales", "bias"} and variables[f"{layer}/qweight"].shape == (128, 32)
    assert variables["decoder/embeddings/weight"].dtype == np.int8


def test_int4_encoder_is_refused(tmp_path: Path) -> None:
    path = tiny.write_encoder_folder(tmp_path / "hf", tiny.encoder_weights(), tiny.encoder_config())
    with pytest.raises(ModelUnsupported, match="int4 is for decoders"):
        converted(path, tmp_path, "int4")


def test_unknown_quantization_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="quantization must be one of int8, float32, int4"):
        convert(tmp_path, tmp_path, model="tiny", quantization="int3")


@pytest.mark.parametrize("kind", ["llama", "qwen2", "bert"])
def test_transformers_agrees(tmp_path: Path, kind: str) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    if kind == "bert":
        weights = tiny.encoder_weights()
        path = tiny.write_encoder_folder(tmp_path / "hf", weights, tiny.encoder_config())
        ids, model = [2, 5, 6, 7, 3], transformers.BertModel.from_pretrained(path).eval()
    else:
        weights = tiny.decoder_weights(kind)
        path = tiny.write_decoder_folder(tmp_path / "hf", weights, tiny.decoder_config(kind))
        ids, model = IDS, transformers.AutoModelForCausalLM.from_pretrained(path).eval()
    with torch.no_grad():
        out = model(torch.tensor([ids]))
    wanted = (out.last_hidden_state if kind == "bert" else out.logits)[0].float().numpy()
    target, _ = converted(path, tmp_path)
    np.testing.assert_allclose((states if kind == "bert" else logits)(target, ids), wanted, rtol=0, atol=2e-5)
