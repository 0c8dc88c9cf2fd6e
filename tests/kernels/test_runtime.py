"""What the runtime computes: logits of every kind of decoder and states of an encoder, beside float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from models import converted, lfm2_numpy, tiny
from models.tiny_lfm2 import Size

from ruvllm import kernels
from ruvllm.kernels import KvType

from .runtime_cases import SIZES, cosines, emulated_logits, load, logits_of, session_of, some_ids

# float32 carries 24 bits; logits near 10 are sums over a few hundred products in a few layers, each rounded to half a
# unit of 2^-24: 10 * 2^-24 * sqrt(300 * 6) = 2.5e-5, and up to four times that where a norm divides by something small.
ATOL = 1e-4


@pytest.mark.parametrize("name", SIZES)
def test_lfm2_logits_match_float64(tmp_path: Path, name: str) -> None:
    path = converted.lfm2(tmp_path, SIZES[name])
    model = load(path)
    ids = some_ids(model, 40)
    expected = lfm2_numpy.logits(lfm2_numpy.weights_of(path / "model.bin"), ids.tolist())
    for length in (1, 2, 3, 40):
        np.testing.assert_allclose(logits_of(model, ids[:length]), expected[:length], atol=ATOL)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_llama_like_logits_match_float64(tmp_path: Path, kind: str, tied: bool) -> None:
    model = load(converted.decoder(tmp_path, kind, tied=tied))
    ids = some_ids(model, 30)
    expected = tiny.decoder_logits(tiny.decoder_weights(kind, tied=tied), ids.tolist())
    np.testing.assert_allclose(logits_of(model, ids), expected, atol=ATOL)


def test_encoder_means_match_float64(tmp_path: Path) -> None:
    model = load(converted.encoder(tmp_path), norm_eps=1e-12)
    texts = [some_ids(model, length, seed=length) for length in (1, 2, 7, 32)]
    expected = [tiny.encoder_states(tiny.encoder_weights(), ids.tolist()).mean(axis=0) for ids in texts]
    np.testing.assert_allclose(model.encode(texts), expected, atol=ATOL)


def in_features(size: Size) -> dict[str, int]:
    """Widths of the layers that may be padded to whole groups in int4."""
    attention = size.heads * size.head_dim
    found: dict[str, int] = {}
    for i in range(len(size.layer_types)):
        at = f"layer_{i}"
        found |= {f"{at}/ffn_w{n}": size.hidden for n in (1, 3)} | {f"{at}/ffn_w2": size.ffn}
        found |= {f"{at}/short_conv/{part}_proj": size.hidden for part in ("in", "out")}
        found |= {f"{at}/self_attention/linear_{part}": size.hidden for part in "qkv"}
        found[f"{at}/self_attention/linear_out"] = attention
    return found


@pytest.mark.parametrize("name", ["conv attention conv", "attention first and last", "a head of its own", "odd widths"])
@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_quantized_logits_match_the_same_integers_in_float64(tmp_path: Path, quantization: str, name: str) -> None:
    path = converted.lfm2(tmp_path, SIZES[name], quantization=quantization)
    model = load(path)
    ids = some_ids(model, 24)
    expected = emulated_logits(path / "model.bin", ids.tolist(), in_features(SIZES[name]))
    assert cosines(logits_of(model, ids), expected).min() >= 0.9999


@pytest.mark.parametrize(("quantization", "least"), [("int8", 0.998), ("int4", 0.9)])
def test_quantized_logits_stay_near_those_in_float32(tmp_path: Path, quantization: str, least: float) -> None:
    exact, small = (load(converted.lfm2(tmp_path / q, quantization=q)) for q in ("float32", quantization))
    ids = some_ids(exact, 60)
    assert cosines(logits_of(small, ids), logits_of(exact, ids)).mean() >= least


def test_8_bit_keys_and_values_stay_near_those_in_float32(tmp_path: Path) -> None:
    model = load(converted.decoder(tmp_path))
    ids = some_ids(model, 200)
    assert cosines(logits_of(model, ids, kv="int8"), logits_of(model, ids)).mean() >= 0.9995


Make = Callable[..., Path]
KINDS: dict[str, Make] = {
    "lfm2": converted.lfm2,
    "llama": converted.decoder,
    "qwen2": partial(converted.decoder, kind="qwen2", tied=False),
}


@pytest.mark.parametrize("kv", ["float32", "int8"])
@pytest.mark.parametrize("quantization", ["float32", "int8", "int4"])
@pytest.mark.parametrize("kind", KINDS)
def test_instruction_sets_agree(tmp_path: Path, kind: str, quantization: str, kv: KvType) -> None:
    model, before = load(KINDS[kind](tmp_path, quantization=quantization)), kernels.isa()
    ids, found = some_ids(model, 70), {}
    for isa in kernels.available_isas():
        kernels._use_isa(isa)
        try:
            found[isa] = logits_of(model, ids, kv=kv)
        finally:
            kernels._use_isa(before)
    for logits in found.values():
        if quantization == kv == "float32":
            np.testing.assert_allclose(logits, found[before], atol=2 * ATOL)
        else:  # a sum that differs in its last bit may round an activation to the next of 255 steps
            assert cosines(logits, found[before]).min() >= 0.999


def test_log_probabilities_are_those_of_the_logits(tmp_path: Path) -> None:
    model = load(converted.lfm2(tmp_path))
    ids = some_ids(model, 50)
    logits = logits_of(model, ids).astype(np.float64)
    expected = (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))[np.arange(49), ids[1:]]
    session = model.session(context_tokens=64)
    first = model.advance([session], [ids[:20]], want="logprobs")
    second = model.advance([session], [ids[20:]], want="logprobs")
    assert np.isnan(first[0])
    np.testing.assert_allclose(np.concatenate([first[1:], second]), expected, atol=1e-5)


def test_hidden_states_times_the_head_are_the_logits(tmp_path: Path) -> None:
    path = converted.lfm2(tmp_path)
    model = load(path)
    ids = some_ids(model, 20)
    hidden = model.advance([model.session(context_tokens=64)], [ids], want="hidden")
    head = lfm2_numpy.weights_of(path / "model.bin")["projection/weight"]
    np.testing.assert_allclose(hidden @ head.T, logits_of(model, ids), atol=ATOL)


def test_hidden_states_leave_no_logits_behind(tmp_path: Path) -> None:
    model = load(converted.lfm2(tmp_path))
    session = session_of(model, some_ids(model, 5))
    assert len(session.logits()) == model.vocab_size
    model.advance([session], [some_ids(model, 2)], want="hidden")
    assert (session.length, len(session.logits())) == (7, 0)


def test_the_last_logits_are_those_of_the_last_token(tmp_path: Path) -> None:
    model = load(converted.lfm2(tmp_path))
    ids = some_ids(model, 530)  # beyond one pass
    np.testing.assert_array_equal(session_of(model, ids).logits(), logits_of(model, ids)[-1])
