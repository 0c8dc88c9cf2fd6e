"""What the runtime refuses, and how it says so: damaged model files, wrong arguments, foreign snapshots, two users."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from models import converted
from models.lfm2_numpy import ModelBin, read_model_bin
from models.tiny_lfm2 import Size

from ruvllm.kernels import RuntimeModel, RuntimeSampler

from .runtime_cases import load, session_of, some_ids, write_model_bin

SMALL = Size(hidden=32, ffn=32, heads=2, kv_heads=1, head_dim=16, vocab=288)
Change = Callable[[ModelBin], None]


@pytest.fixture(scope="module")
def model_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The int8 weights of a small LFM2."""
    return converted.lfm2(tmp_path_factory.mktemp("lfm2"), SMALL, quantization="int8") / "model.bin"


@pytest.fixture(scope="module")
def int4_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The int4 weights of a small LFM2."""
    return converted.lfm2(tmp_path_factory.mktemp("lfm2"), SMALL, quantization="int4") / "model.bin"


@pytest.fixture(scope="module")
def model(model_bin: Path) -> RuntimeModel:
    """The small LFM2, loaded."""
    return load(model_bin.parent)


def opened(path: Path) -> RuntimeModel:
    return RuntimeModel(path, norm_eps=1e-5, num_threads=1)


def refusal(path: Path) -> str:
    """Return what the runtime has against a file."""
    with pytest.raises(RuntimeError, match=r"^model\.bin") as caught:
        opened(path)
    return str(caught.value)


def changed(source: Path, target: Path, change: Change) -> Path:
    """Write a copy of a file after a change to its variables or aliases."""
    known = read_model_bin(source)
    copy = ModelBin(known.spec_name, {k: v.copy() for k, v in known.variables.items()}, dict(known.aliases))
    change(copy)
    return write_model_bin(target, copy)


def test_what_the_tests_write_is_read(model_bin: Path, model: RuntimeModel, tmp_path: Path) -> None:
    copy = opened(changed(model_bin, tmp_path / "model.bin", lambda _: None))
    ids = some_ids(model, 9)
    np.testing.assert_array_equal(session_of(copy, ids).logits(), session_of(model, ids).logits())


def test_a_file_cut_anywhere_is_refused(model_bin: Path, tmp_path: Path) -> None:
    raw, target = model_bin.read_bytes(), tmp_path / "model.bin"
    cuts = {0, 1, 3, 4, 5, 6, 12, 13, 14, 16, 18, 20, *np.linspace(21, len(raw) - 1, 50, dtype=int).tolist()}
    for size in sorted(cuts):
        target.write_bytes(raw[:size])
        assert re.search("truncated in .|is empty|has no end", refusal(target)), size


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("fixture", ["model_bin", "int4_bin"])
def test_flipped_bits_never_crash(request: pytest.FixtureRequest, tmp_path: Path, fixture: str, seed: int) -> None:
    """A flip may go unnoticed in a weight, but no file is read beyond its end and no message leaves the field out."""
    raw, target = bytearray(request.getfixturevalue(fixture).read_bytes()), tmp_path / "model.bin"
    rng = np.random.default_rng(seed)
    headers = [
        at.start() + i
        for at in re.finditer(rb"/(weight|gamma|qweight|qscales|weight_scale)\0", raw)
        for i in range(-9, 28)
    ]
    for case in range(50):
        damaged = bytearray(raw)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.choice(headers)) if case % 2 else int(rng.integers(len(raw)))
            damaged[min(at, len(raw) - 1)] ^= 1 << int(rng.integers(8))
        target.write_bytes(damaged)
        try:
            found = opened(target)
        except RuntimeError as error:
            assert re.match(r"model\.bin(:| is truncated in | has version | holds | has bytes )", str(error)), error
            continue
        session_of(found, some_ids(found, 3))


def put(name: str, value: np.ndarray) -> Change:
    return lambda known: known.variables.update({name: value})


def drop(name: str) -> Change:
    return lambda known: known.variables.__delitem__(name)


def reshape(name: str, *shape: int) -> Change:
    return lambda known: known.variables.update({name: np.resize(known.variables[name], shape)})


def spoil(name: str, value: float) -> Change:
    def change(known: ModelBin) -> None:
        known.variables[name].reshape(-1)[1] = value

    return change


def alias(name: str, target: str) -> Change:
    return lambda known: known.aliases.update({name: target})


ATTENTION, CONV = "layer_1/self_attention", "layer_0/short_conv"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("layer_0/ffn_w1/weight"), "variable layer_0/ffn_w1/weight is missing"),
        (drop("layer_0/ffn_w1/weight_scale"), "variable layer_0/ffn_w1/weight_scale is missing"),
        (drop("layer_1/operator_norm/gamma"), "no use for variable layer_"),
        (drop("output_norm/gamma"), "variable output_norm/gamma is missing"),
        (drop("num_heads"), "variable num_heads is missing"),
        (put("layer_0/extra/weight", np.zeros(3, np.float32)), "no use for variable layer_0/extra/weight"),
        (reshape("layer_0/ffn_w2/weight", 32, 31), r"layer_0/ffn_w2/weight has shape \(32, 31\), not \(32, 32\)"),
        (reshape("layer_0/ffn_w3/weight", 16, 32), r"layer_0/ffn_w3/weight has shape \(16, 32\), not \(32, 32\)"),
        (reshape("layer_0/ffn_w1/weight_scale", 31), r"layer_0/ffn_w1/weight_scale has shape \(31\)"),
        (reshape("embeddings/weight", 288 * 32), "embeddings/weight is no matrix"),
        (reshape("layer_0/ffn_norm/gamma", 31), r"layer_0/ffn_norm/gamma has shape \(31\), not \(32\)"),
        (reshape(f"{CONV}/conv/weight", 32, 1, 1), f"{CONV}/conv/weight has width 1"),
        (reshape(f"{CONV}/conv/weight", 32, 1, 4), "layer_2/short_conv/conv/weight has width 3"),
        (
            put("num_heads", np.array(3, np.int16)),
            r"self_attention/linear_q/weight has shape \(32, 32\), not \(48, 32\)",
        ),
        (put("num_heads", np.array(0, np.int16)), "num_heads is 0"),
        (put("num_heads", np.array(2000, np.int16)), "num_heads is 2000"),
        (put("num_heads", np.array([2, 2], np.int16)), "num_heads is not one number"),
        (put("num_heads_kv", np.array(-1, np.int16)), "num_heads_kv is -1"),
        (put("num_heads_kv", np.array(3, np.int16)), "2 query heads over 3 key-value heads"),
        (put("head_dim", np.array(15, np.int16)), "heads of 15 entries"),
        (put("head_dim", np.array(np.nan, np.float32)), "head_dim is nan"),
        (put("norm_eps", np.array(np.nan, np.float32)), "norm_eps is nan"),
        (put("norm_eps", np.array(-1.0, np.float32)), "norm_eps is -1"),
        (put("rotary_base", np.array(np.nan, np.float32)), "rotary_base is nan"),
        (put("rotary_base", np.array(0.0, np.float32)), "rotary_base is 0"),
        (spoil("layer_0/operator_norm/gamma", np.nan), "layer_0/operator_norm/gamma holds a NaN or an infinity"),
        (spoil(f"{CONV}/conv/weight", np.inf), f"{CONV}/conv/weight holds a NaN or an infinity"),
        (
            spoil("layer_0/ffn_w1/weight_scale", np.nan),
            "layer_0/ffn_w1/weight_scale holds a scale that",
        ),
        (spoil("layer_0/ffn_w1/weight_scale", 0.0), "layer_0/ffn_w1/weight_scale holds a scale that"),
        (spoil("embeddings/weight_scale", np.inf), "weight_scale holds a scale that is not positive"),
        (alias("projection/weight", "nothing"), "alias projection/weight names no variable"),
        (alias("a", "a"), "alias a names no variable"),
        (alias("a", "projection/weight"), "alias a names no variable"),  # an alias of an alias, so no cycles either
    ],
)
def test_a_wrong_variable_is_named(model_bin: Path, tmp_path: Path, change: Change, message: str) -> None:
    assert re.search(message, refusal(changed(model_bin, tmp_path / "model.bin", change)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil("layer_0/ffn_w1/qscales", np.nan), "layer_0/ffn_w1/qscales holds a NaN or an infinity"),
        (reshape("layer_0/ffn_w1/qweight", 32, 15), r"layer_0/ffn_w1/qweight has shape \(32, 15\), not \(32, 16\)"),
        (drop("layer_0/ffn_w1/qscales"), "variable layer_0/ffn_w1/qscales is missing"),
        (put("layer_0/ffn_w1/qscales", np.ones((32, 1), np.float32)), "qweight must be int8 and its qscales float16"),
    ],
)
def test_a_wrong_int4_variable_is_named(int4_bin: Path, tmp_path: Path, change: Change, message: str) -> None:
    assert re.search(message, refusal(changed(int4_bin, tmp_path / "model.bin", change)))


def test_nan_among_float_weights_is_named(tmp_path: Path) -> None:
    path = converted.lfm2(tmp_path, SMALL) / "model.bin"
    found = refusal(changed(path, tmp_path / "model.bin", spoil("layer_0/ffn_w1/weight", np.nan)))
    assert "layer_0/ffn_w1/weight holds a NaN or an infinity" in found


def test_another_version_and_another_spec_are_named(model_bin: Path, tmp_path: Path) -> None:
    known, target = read_model_bin(model_bin), tmp_path / "model.bin"
    assert "has version 5, not 6" in refusal(write_model_bin(target, known, version=5))
    assert "spec WhisperSpec is not one of" in refusal(write_model_bin(target, known._replace(spec_name="WhisperSpec")))


@pytest.mark.parametrize("byte", [b"\xff", b"\0", b"\n"])
@pytest.mark.parametrize(
    ("name", "message"), [(b"Lfm2Spec", "the name of its spec"), (b"ffn_norm/gamma", "the name of variable")]
)
def test_a_name_that_is_no_ascii_is_refused(
    model_bin: Path, tmp_path: Path, name: bytes, message: str, byte: bytes
) -> None:
    target = tmp_path / "model.bin"
    target.write_bytes(model_bin.read_bytes().replace(name, byte + name[1:], 1))
    assert re.search(f"{message}.* is not ASCII", refusal(target))


def test_bytes_behind_the_last_alias_are_refused(model_bin: Path, tmp_path: Path) -> None:
    found = refusal(write_model_bin(tmp_path / "model.bin", read_model_bin(model_bin), tail=b"\0"))
    assert "has bytes after its last alias" in found


def header(*variables: bytes, count: int | None = None) -> bytes:
    start = struct.pack("<IH9sII", 6, 9, b"Lfm2Spec\0", 1, len(variables) if count is None else count)
    return start + b"".join(variables) + struct.pack("<I", 0)


def variable(name: bytes, shape: tuple[int, ...], size: int, data: bytes = b"", kind: int = 0) -> bytes:
    shape_bytes = struct.pack(f"<B{len(shape)}I", len(shape), *shape)
    return struct.pack(f"<H{len(name) + 1}s", len(name) + 1, name) + shape_bytes + struct.pack("<BI", kind, size) + data


MOST = 2**32 - 1


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (header(count=MOST), "the name of variable 0 has no end"),
        (header(variable(b"x", (4,), 16)), "truncated in variable x"),
        (header(variable(b"x", (MOST, MOST, MOST, MOST), 16)), "the shape of variable x is too large"),
        (header(variable(b"x", (MOST,), MOST)), "variable x has 4294967295 bytes"),
        (header(variable(b"x", (1, 1, 1, 1, 1), 4, b"abcd")), "variable x has rank 5"),
        (header(variable(b"x", (1,), 4, b"abcd", kind=9)), "variable x has the unknown type 9"),
        (header(variable(b"x", (2,), 4, b"abcd")), r"variable x has 4 bytes, its shape is \(2\)"),
        (header(*[variable(b"x", (1,), 4, b"abcd")] * 2), "holds x twice"),
        (struct.pack("<IH", 6, 0), "the name of its spec has no end"),
        (struct.pack("<IH3s", 6, 3, b"abc"), "the name of its spec has no end"),
    ],
)
def test_lengths_that_lie_allocate_nothing(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "model.bin").write_bytes(raw)
    assert re.search(message, refusal(tmp_path / "model.bin"))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be opened: No such file" in refusal(tmp_path / "missing.bin")
    assert "empty or cannot be mapped" in refusal(tmp_path)


@pytest.mark.parametrize("num_threads", [0, 257, -1])
def test_a_wrong_number_of_threads_is_refused(model_bin: Path, num_threads: int) -> None:
    with pytest.raises(ValueError, match="num_threads"):
        RuntimeModel(model_bin, norm_eps=1e-5, num_threads=num_threads)


@pytest.mark.parametrize("bad", [-1, 288, 2**31 - 1])
def test_an_id_out_of_range_is_named_and_changes_nothing(model: RuntimeModel, bad: int) -> None:
    session = session_of(model, some_ids(model, 4))
    before = session.save()
    with pytest.raises(ValueError, match=rf"ids\[2\] must be in \[0, 288\) \({bad}\)"):
        model.advance([session], [np.array([1, 2, bad], np.int32)])
    assert session.save() == before


def test_no_ids_are_refused(model: RuntimeModel) -> None:
    with pytest.raises(ValueError, match=r"lengths\[0\] must be at least 1"):
        model.advance([model.session(context_tokens=8)], [np.empty(0, np.int32)])


def test_ids_of_another_type_or_shape_are_refused(model: RuntimeModel) -> None:
    session = model.session(context_tokens=8)
    for ids in (np.array([1.0]), np.array([[1]], np.int32), np.array([1], np.int64)):
        with pytest.raises((ValueError, TypeError), match="ids"):
            model.advance([session], [ids])  # type: ignore[list-item]
    assert session.length == 0


def test_sessions_and_texts_must_be_as_many(model: RuntimeModel) -> None:
    with pytest.raises(ValueError, match="lengths must have 1 entries"):
        model.advance([model.session(context_tokens=8)], [some_ids(model, 2), some_ids(model, 2)])


def test_a_prompt_beyond_the_context_is_refused_and_changes_nothing(model: RuntimeModel) -> None:
    session = model.session(context_tokens=10)
    model.advance([session], [some_ids(model, 8)])
    with pytest.raises(ValueError, match=r"ids must fit into context_tokens 10 \(11\)"):
        model.advance([session], [some_ids(model, 3)])
    model.advance([session], [some_ids(model, 2)])
    assert session.length == 10


def test_a_session_of_another_model_is_refused(model: RuntimeModel, int4_bin: Path) -> None:
    other = load(int4_bin.parent)
    with pytest.raises(ValueError, match=r"sessions\[1\] is of another model"):
        model.advance(
            [session_of(model, some_ids(model, 1)), other.session(context_tokens=8)], [some_ids(model, 1)] * 2
        )


def test_the_same_session_twice_in_a_pass_is_refused(model: RuntimeModel) -> None:
    session = model.session(context_tokens=8)
    with pytest.raises(RuntimeError, match="in use"):
        model.advance([session, session], [some_ids(model, 1)] * 2)
    model.advance([session], [some_ids(model, 1)])


@pytest.mark.parametrize("operation", ["cut", "fork", "save", "advance", "tokens", "logits", "nbytes", "length"])
def test_a_second_thread_on_a_session_is_refused(tmp_path: Path, operation: str) -> None:
    model = load(converted.lfm2(tmp_path, Size(hidden=256, ffn=512, heads=4, head_dim=64)))
    session, ids, refusals = model.session(context_tokens=100_000), some_ids(model, 1500), []
    again: dict[str, Callable[[], object]] = {
        "cut": lambda: session.cut(10**6),
        "advance": lambda: model.advance([session], [ids[:1]]),
        "length": lambda: session.length,
    }

    def work(what: Callable[[], object]) -> None:
        try:
            what()
        except RuntimeError as error:
            refusals.append(str(error))

    for _ in range(40):  # until the two meet
        thread = threading.Thread(target=work, args=(lambda: model.advance([session], [ids]),))
        thread.start()
        time.sleep(0.02)
        work(again.get(operation) or getattr(session, operation))
        thread.join()
        if refusals:
            break
    assert set(refusals) == {"this session is in use by another thread"}
    np.testing.assert_array_equal(
        model.advance([session], [ids[:1]], want="all_logits")[0],
        session_of(model, session.tokens()).logits(),
    )


@pytest.fixture(scope="module")
def snapshot(model: RuntimeModel) -> bytes:
    """A session of 20 tokens as bytes."""
    return session_of(model, some_ids(model, 20)).save()


def test_a_damaged_snapshot_is_refused(model: RuntimeModel, snapshot: bytes) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(snapshot)
        damaged[rng.integers(len(snapshot))] ^= 1 << int(rng.integers(8))
        with pytest.raises(ValueError, match=r"^snapshot must"):
            model.restore(bytes(damaged), context_tokens=64)


def test_a_snapshot_cut_anywhere_is_refused(model: RuntimeModel, snapshot: bytes) -> None:
    for size in (0, 1, 8, 23, 24, 100, len(snapshot) - 1):
        with pytest.raises(ValueError, match=r"^snapshot must"):
            model.restore(snapshot[:size], context_tokens=64)


def test_a_foreign_or_too_long_snapshot_is_refused(model: RuntimeModel, int4_bin: Path, snapshot: bytes) -> None:
    with pytest.raises(ValueError, match="snapshot must be of this model"):
        load(int4_bin.parent).restore(snapshot, context_tokens=64)
    with pytest.raises(ValueError, match="snapshot must fit into context_tokens: 20 tokens"):
        model.restore(snapshot, context_tokens=19)
    with pytest.raises(ValueError, match="snapshot must be of this kind"):
        model.restore(b"RUVGRAPH" + snapshot[8:], context_tokens=64)


def test_a_huge_context_allocates_nothing_before_it_is_used(model: RuntimeModel) -> None:
    session = model.session(context_tokens=2**62)
    assert session.nbytes() < 100_000
    model.advance([session], [some_ids(model, 3)])
    assert session.nbytes() < 1_000_000


@pytest.mark.parametrize("tails", [[0], [4], [-1], [1, 1], []])
def test_tails_that_a_session_does_not_have_are_refused(model: RuntimeModel, tails: list[int]) -> None:
    session = model.session(context_tokens=8)
    with pytest.raises(ValueError, match="tails"):
        model.advance([session], [some_ids(model, 3)], tails=tails)
    with pytest.raises(ValueError, match="tails"):
        model.advance([session], [some_ids(model, 3)], want="hidden", tails=[1])  # type: ignore[call-overload]
    assert session.length == 0


@pytest.mark.parametrize("argument", ["context_tokens", "kv", "want"])
def test_a_wrong_argument_is_named(model: RuntimeModel, argument: str) -> None:
    with pytest.raises(ValueError, match=argument):
        if argument == "context_tokens":
            model.session(context_tokens=-1)
        elif argument == "kv":
            model.session(context_tokens=8, kv="float16")  # type: ignore[arg-type]
        else:
            model.advance([model.session(context_tokens=8)], [some_ids(model, 1)], want="probabilities")  # type: ignore[call-overload]


def test_an_encoder_has_no_sessions_and_a_decoder_encodes_nothing(model: RuntimeModel, tmp_path: Path) -> None:
    encoder = load(converted.encoder(tmp_path), norm_eps=1e-12)
    with pytest.raises(ValueError, match="encoder has no sessions"):
        encoder.session(context_tokens=8)
    with pytest.raises(ValueError, match="no encoder"):
        model.encode([some_ids(model, 3)])
    with pytest.raises(ValueError, match=r"lengths\[1\] must be at most 32"):
        encoder.encode([some_ids(encoder, 3), some_ids(encoder, 33)])
    with pytest.raises(ValueError, match=r"lengths\[0\] must be at least 1"):
        encoder.encode([some_ids(encoder, 0)])


def test_a_session_without_logits_gives_no_token(model: RuntimeModel) -> None:
    with pytest.raises(ValueError, match="session holds no logits"):
        RuntimeSampler(limit=288).next(model.session(context_tokens=8))


def test_masks_and_biases_of_another_size_are_refused(model: RuntimeModel) -> None:
    session, sampler = session_of(model, some_ids(model, 2)), RuntimeSampler(limit=288)
    with pytest.raises(ValueError, match="allowed"):
        sampler.next(session, allowed=np.ones(279, bool))
    with pytest.raises(ValueError, match="bias"):
        sampler.next(session, bias=np.zeros(281, np.float32))
    with pytest.raises(ValueError, match="allowed must leave a token"):
        sampler.next(session, allowed=np.zeros(288, bool))


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from ruvllm.kernels import RuntimeModel

model = RuntimeModel(Path(sys.argv[1]), norm_eps=1e-5, num_threads=1)
ids = np.arange(50_000, dtype=np.int32) % 256
session = model.session(context_tokens=100_000)
model.advance([session], [ids[:5]])
before = session.save()
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, hard))
try:
    model.advance([session], [ids])
except MemoryError:
    print("refused")
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
assert session.save() == before
model.advance([session], [ids[:5]])
print("goes on")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits address space as Linux does")
@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="its operator new aborts and never throws")
def test_a_cache_that_cannot_grow_leaves_the_session_as_it_was(tmp_path: Path) -> None:
    folder = converted.lfm2(tmp_path, Size(heads=16, kv_heads=16, head_dim=256))  # 32 KB a token
    # in its own process: threads of other libraries do not live through a refused allocation
    code = [sys.executable, "-P", "-c", LIMITED, str(folder / "model.bin")]
    done = subprocess.run(code, capture_output=True, text=True)
    assert done.stdout.split("\n") == ["refused", "goes on", ""], done.stderr
