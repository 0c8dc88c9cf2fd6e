"""LFM2 from every source: the variables that the runtime reads, their values, and what they compute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from ruvllm.errors import ModelDamaged, ModelUnsupported
from ruvllm.models.convert import Converted, convert

from .. import tiny_lfm2
from ..lfm2_numpy import ModelBin, logits, read_model_bin, weights_of
from ..tiny_lfm2 import ATTENTION, CONV, Size

IDS = [1, 6, 40, 77, 262, 259, 7, 200, 14]
SETTINGS = {"num_heads", "num_heads_kv", "head_dim", "rotary_base", "norm_eps"}
GAMMAS = {"output_norm/gamma", *(f"layer_{i}/{norm}/gamma" for i in range(3) for norm in ("operator_norm", "ffn_norm"))}
GAMMAS |= {"layer_1/self_attention/q_norm/gamma", "layer_1/self_attention/k_norm/gamma"}
TAPS = {f"layer_{i}/short_conv/conv/weight" for i in (0, 2)}
LINEAR = {f"layer_{i}/ffn_{part}" for i in range(3) for part in ("w1", "w2", "w3")}
LINEAR |= {f"layer_{i}/short_conv/{part}" for i in (0, 2) for part in ("in_proj", "out_proj")}
LINEAR |= {f"layer_1/self_attention/linear_{part}" for part in ("q", "k", "v", "out")}


def converted(source: Path, tmp_path: Path, quantization: str = "float32") -> tuple[Path, Converted]:
    target = tmp_path / f"out-{quantization}"
    target.mkdir()
    return target, convert(source, target, model="tiny", quantization=quantization)


def stored(source: Path, tmp_path: Path, quantization: str = "float32") -> ModelBin:
    return read_model_bin(converted(source, tmp_path, quantization)[0] / "model.bin")


def test_variables_have_the_names_that_the_runtime_reads(tmp_path: Path) -> None:
    spec_name, variables, aliases = stored(tiny_lfm2.write_lfm2_folder(tmp_path / "hf"), tmp_path)
    weights = {f"{name}/weight" for name in LINEAR}
    assert spec_name == "Lfm2Spec"
    assert set(variables) == SETTINGS | GAMMAS | TAPS | weights | {"embeddings/weight"}
    assert aliases == {"projection/weight": "embeddings/weight"}


def test_shapes_and_types_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    variables = stored(tiny_lfm2.write_lfm2_folder(tmp_path / "hf"), tmp_path).variables
    assert variables["layer_0/short_conv/in_proj/weight"].shape == (192, 64)
    assert variables["layer_0/short_conv/conv/weight"].shape == (64, 1, 3)
    assert variables["layer_1/self_attention/linear_k/weight"].shape == (32, 64)
    assert variables["layer_1/self_attention/q_norm/gamma"].shape == (16,)
    assert variables["layer_1/ffn_w2/weight"].shape == (64, 96)
    assert {name: variables[name].dtype.str for name in SETTINGS} == {
        "num_heads": "<i4",
        "num_heads_kv": "<i4",
        "head_dim": "<i4",
        "rotary_base": "<f4",
        "norm_eps": "<f4",
    }


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_norms_and_taps_stay_float32(tmp_path: Path, quantization: str) -> None:
    folder = tiny_lfm2.write_lfm2_folder(tmp_path / "hf", dtype="BF16")
    variables = stored(folder, tmp_path, quantization).variables
    assert {variables[name].dtype for name in GAMMAS | TAPS} == {np.dtype(np.float32)}
    assert not {f"{name}_scale" for name in TAPS} & set(variables)


def test_int8_adds_a_scale_a_row(tmp_path: Path) -> None:
    variables = stored(tiny_lfm2.write_lfm2_folder(tmp_path / "hf"), tmp_path, "int8").variables
    source = tiny_lfm2.weights(Size())["model.layers.1.feed_forward.w1.weight"]
    codes, scale = variables["layer_1/ffn_w1/weight"], variables["layer_1/ffn_w1/weight_scale"]
    assert codes.dtype == np.int8 and scale.shape == (96,)
    half_a_step = 0.5 * np.abs(source).max(axis=1) / 127 * (1 + 1e-5)  # rounding, and float32 around it
    assert (np.abs(codes / scale[:, None] - source).max(axis=1) <= half_a_step).all()


def test_int4_packs_linear_layers_and_keeps_embedding_and_head_in_int8(tmp_path: Path) -> None:
    folder = tiny_lfm2.write_lfm2_folder(tmp_path / "hf", Size(tied=False))
    variables = stored(folder, tmp_path, "int4").variables
    packed = {f"{name}/{part}" for name in LINEAR for part in ("qweight", "qscales")}
    plain = {f"{name}/{part}" for name in ("embeddings", "projection") for part in ("weight", "weight_scale")}
    assert set(variables) == SETTINGS | GAMMAS | TAPS | packed | plain
    assert variables["layer_0/ffn_w2/qweight"].shape == (64, 48) and variables["projection/weight"].dtype == np.int8
    assert variables["layer_0/ffn_w2/qscales"].shape == (64, 3)
    assert variables["layer_0/ffn_w2/qscales"].dtype == np.float16


def test_int4_row_that_ends_inside_a_group_is_filled_up(tmp_path: Path) -> None:
    target, _ = converted(tiny_lfm2.write_lfm2_folder(tmp_path / "hf", Size(ffn=100)), tmp_path, "int4")
    assert read_model_bin(target / "model.bin").variables["layer_0/ffn_w2/qweight"].shape == (64, 64)
    found = weights_of(target / "model.bin", {"layer_0/ffn_w2": 100})["layer_0/ffn_w2/weight"]
    source = tiny_lfm2.weights(Size(ffn=100))["model.layers.0.feed_forward.w2.weight"]
    assert np.abs(found - source).max() <= np.abs(source).max() / 7  # a step of the coarsest trial, where it cuts off


CASES = [
    Size(),
    Size(tied=False, width=2),
    Size((ATTENTION, CONV, ATTENTION), width=5, heads=6, kv_heads=2),
    Size((CONV, ATTENTION), width=4, conv_bias=True, heads=4, kv_heads=1),
    Size((ATTENTION,), heads=2, kv_heads=2, head_dim=32, ffn=100),
]


@pytest.mark.parametrize("size", CASES, ids=repr)
@pytest.mark.parametrize("source", ["new", "old", "gguf"])
def test_every_source_means_the_same_weights(tmp_path: Path, size: Size, source: str) -> None:
    if source == "gguf":
        path = tiny_lfm2.write_lfm2_gguf(tmp_path / "tiny.gguf", size)
    else:
        path = tiny_lfm2.write_lfm2_folder(tmp_path / "hf", size, spelling=source)
    target, facts = converted(path, tmp_path)
    found, wanted = weights_of(target / "model.bin"), tiny_lfm2.weights(size)
    assert facts.parameters == sum(array.size for array in wanted.values())
    for name, array in by_our_names(wanted).items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    tied = found["projection/weight"] is found["embeddings/weight"]
    assert tied == size.tied and found["num_heads"] == size.heads


OURS = {
    "embed_tokens": "embeddings",
    "embedding_norm": "output_norm",
    "lm_head": "projection",
    "feed_forward.w": "ffn_w",
    "self_attn.q_layernorm": "self_attention/q_norm",
    "self_attn.k_layernorm": "self_attention/k_norm",
    "self_attn.out_proj": "self_attention/linear_out",
    "self_attn.q_proj": "self_attention/linear_q",
    "self_attn.k_proj": "self_attention/linear_k",
    "self_attn.v_proj": "self_attention/linear_v",
    "conv.in_proj": "short_conv/in_proj",
    "conv.out_proj": "short_conv/out_proj",
    "conv.conv": "short_conv/conv",
}


def by_our_names(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The checkpoint's tensors under the variable names of the specification."""
    renamed = {}
    for name, array in weights.items():
        stem, _, part = name.removeprefix("model.").rpartition(".")
        for theirs, ours in OURS.items():
            stem = stem.replace(theirs, ours, 1)
        part = "gamma" if "norm" in stem else part
        renamed[f"{stem.replace('layers.', 'layer_').replace('.', '/')}/{part}"] = array
    return renamed


@pytest.mark.parametrize("layout", [(64, 3, 1), (64, 3)])
def test_taps_are_found_in_every_layout(tmp_path: Path, layout: tuple[int, ...]) -> None:
    folder = tiny_lfm2.write_lfm2_folder(tmp_path / "hf")
    content = (folder / "model.safetensors").read_bytes()
    old, new = b'"shape": [64, 1, 3]', f'"shape": {list(layout)}'.encode()
    (folder / "model.safetensors").write_bytes(content.replace(old, new.ljust(len(old))))
    taps = stored(folder, tmp_path).variables["layer_2/short_conv/conv/weight"]
    np.testing.assert_array_equal(taps, tiny_lfm2.weights(Size())["model.layers.2.conv.conv.weight"])


def test_model_without_its_head_is_tied(tmp_path: Path) -> None:
    folder = tiny_lfm2.write_lfm2_folder(tmp_path / "hf", prefix="", architectures=["Lfm2Model"])
    target, _ = converted(folder, tmp_path)
    with_head = tmp_path / "with-head"
    with_head.mkdir()
    convert(tiny_lfm2.write_lfm2_folder(tmp_path / "hf2"), with_head, model="tiny", quantization="float32")
    assert (target / "model.bin").read_bytes() == (with_head / "model.bin").read_bytes()


@pytest.mark.parametrize("quantization", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_K_M"])
def test_quantized_gguf_is_dequantized_by_its_own_rule(tmp_path: Path, quantization: str) -> None:
    path = tiny_lfm2.write_lfm2_gguf(tmp_path / "tiny.gguf", BLOCKS_OF_256, quantization=quantization)
    found = weights_of(converted(path, tmp_path)[0] / "model.bin")
    for name, array in dequantized(path).items():
        np.testing.assert_array_equal(found[name].ravel(), array.ravel(), err_msg=name)


BLOCKS_OF_256 = Size((CONV, ATTENTION), hidden=256, ffn=512, heads=4, kv_heads=2, head_dim=64)


def dequantized(path: Path) -> dict[str, np.ndarray]:
    """A file's matrices under our names, as the gguf package reads them."""
    import gguf

    ours = {tiny_lfm2.gguf_name(name): name for name in tiny_lfm2.shapes(BLOCKS_OF_256)}
    tensors = gguf.GGUFReader(path).tensors
    return by_our_names({ours[t.name]: gguf.dequantize(t.data, t.tensor_type) for t in tensors})


def test_q4_0_codes_are_kept(tmp_path: Path) -> None:
    path = tiny_lfm2.write_lfm2_gguf(tmp_path / "tiny.gguf", BLOCKS_OF_256, quantization="Q4_0")
    found = weights_of(converted(path, tmp_path, "int4")[0] / "model.bin")
    for name, array in dequantized(path).items():
        if name != "embeddings/weight":
            np.testing.assert_array_equal(found[name].ravel(), array.ravel(), err_msg=name)


def test_other_quantized_sources_are_requantized(tmp_path: Path) -> None:
    path = tiny_lfm2.write_lfm2_gguf(tmp_path / "tiny.gguf", BLOCKS_OF_256, quantization="Q4_K_M")
    found = weights_of(converted(path, tmp_path, "int4")[0] / "model.bin")
    wanted = dequantized(path)["layer_1/self_attention/linear_v/weight"]
    error = np.linalg.norm(found["layer_1/self_attention/linear_v/weight"] - wanted)
    assert 0 < error < 0.15 * np.linalg.norm(wanted)  # 16 even steps over a group that spans its range evenly: 0.12


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_quantized_model_stays_close(tmp_path: Path, quantization: str) -> None:
    size = Size((CONV, ATTENTION, CONV), hidden=256, ffn=512, heads=4, kv_heads=2, head_dim=64)
    folder = tiny_lfm2.write_lfm2_folder(tmp_path / "hf", size)
    exact, rounded = (
        logits(weights_of(converted(folder, tmp_path, q)[0] / "model.bin"), IDS) for q in ("float32", quantization)
    )
    cosine = (exact * rounded).sum() / np.linalg.norm(exact) / np.linalg.norm(rounded)
    variance = {"int8": 1e-4, "int4": 7e-3}[quantization]  # of a normal weight's error, relative to the weight's
    matrices = 18  # 5, 7 and 5 in the layers, and the head; each adds its error once
    assert cosine > 1 - matrices * variance


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"intermediate_size": 104}, r"w1\.weight has shape \(96, 64\), the configuration promises \(104, 64\)"),
        (
            {"block_auto_adjust_ff_dim": True},
            r"w1\.weight has shape \(96, 64\), the configuration promises \(256, 64\)",
        ),
        ({"conv_L_cache": 4}, r"conv\.conv\.weight has shape \(64, 1, 3\), the configuration promises \(64, 1, 4\)"),
        ({"layer_types": [ATTENTION, ATTENTION, CONV]}, r"layers\.0\.self_attn\.q_proj\.weight is missing"),
        ({"num_key_value_heads": 4}, r"k_proj\.weight has shape \(32, 64\), the configuration promises \(64, 64\)"),
        ({"conv_bias": True}, r"conv\.in_proj\.bias is missing"),
        ({"tie_word_embeddings": False}, r"lm_head\.weight is missing and the head is not tied"),
        ({"vocab_size": 65536}, r"embed_tokens\.weight has shape \(288, 64\)"),
    ],
)
def test_config_that_contradicts_a_tensor_names_it(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = tiny_lfm2.write_lfm2_folder(tmp_path / "hf", **changes)
    with pytest.raises(ModelDamaged, match=message):
        converted(folder, tmp_path)


def test_bias_that_the_config_denies_is_unsupported(tmp_path: Path) -> None:
    folder = tiny_lfm2.write_lfm2_folder(tmp_path / "hf", Size(conv_bias=True), conv_bias=False)
    with pytest.raises(ModelUnsupported, match=r"no use for tensor model\.layers\.0\.conv\.conv\.bias"):
        converted(folder, tmp_path)


@pytest.mark.parametrize("quantization", ["float32", "int8", "int4"])
def test_weight_that_is_no_number_is_damaged(tmp_path: Path, quantization: str) -> None:
    folder = tiny_lfm2.write_lfm2_folder(tmp_path / "hf")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + np.float32(np.nan).tobytes())
    with pytest.raises(ModelDamaged, match=r"tensor model\.layers\.2\.\S+ holds a NaN or infinity"):
        converted(folder, tmp_path, quantization)


def test_mixture_of_experts_is_refused(tmp_path: Path) -> None:
    folder = tiny_lfm2.write_lfm2_folder(tmp_path / "hf", model_type="lfm2_moe")
    with pytest.raises(ModelUnsupported, match=r"model_type 'lfm2_moe' .* mixtures of experts"):
        converted(folder, tmp_path)


@pytest.mark.parametrize("source", ["folder", "gguf"])
def test_text_side_is_carried(tmp_path: Path, source: str) -> None:
    path = tmp_path / "tiny.gguf"
    sampling = {"temp": 0.3, "min_p": 0.15, "penalty_repeat": 1.05}
    if source == "gguf":
        tiny_lfm2.write_lfm2_gguf(path, extra={f"general.sampling.{name}": v for name, v in sampling.items()})
    else:
        path = tiny_lfm2.write_lfm2_folder(tmp_path / "hf")
    target, facts = converted(path, tmp_path)
    config = json.loads((target / "tokenizer_config.json").read_text())
    assert (facts.family, facts.task, facts.license, facts.context_tokens) == ("lfm2", "generate", "lfm1.0", 32_768)
    assert facts.stop_tokens == ("<|im_end|>", "<|endoftext|>") and config["chat_template"] == tiny_lfm2.TEMPLATE
    assert facts.generation == pytest.approx({"temperature": 0.3, "min_p": 0.15, "repetition_penalty": 1.05})
    tokenizer = Tokenizer.from_file(str(target / "tokenizer.json"))
    for text in ("hello world 12345", "<|im_start|>user\nIt's 10\n\n<|im_end|>", " \r\n x"):
        assert tokenizer.encode(text).ids == tiny_lfm2.tokenizer().encode(text).ids
    assert tokenizer.get_vocab_size() == len(tiny_lfm2.TOKENS)


@pytest.mark.parametrize("size", CASES, ids=repr)
def test_transformers_agrees(tmp_path: Path, size: Size) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Lfm2Config(**{k: v for k, v in tiny_lfm2.config(size).items() if k != "model_type"})
    model = transformers.Lfm2ForCausalLM(config).eval()
    with torch.no_grad():  # norms start at 1, which hides a swap
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.3 if parameter.ndim > 1 else 0.2) + (parameter.ndim == 1))
    folder = tiny_lfm2.write_lfm2_folder(tmp_path / "hf", size)
    model.save_pretrained(folder)
    with torch.no_grad():
        wanted = model(torch.tensor([IDS])).logits[0].numpy()
    target, _ = converted(folder, tmp_path)
    np.testing.assert_allclose(logits(weights_of(target / "model.bin"), IDS), wanted, rtol=0, atol=1e-4)
