"""Sessions of the runtime: however tokens arrived, what follows has the bits of one pass over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from models import converted
from models.tiny_lfm2 import CONV, Size

from ruvllm.kernels import KvType, RuntimeModel, RuntimeSession

from .runtime_cases import Ids, load, logits_of, pieces, session_of, some_ids

KINDS = {"lfm2": converted.lfm2, "llama": converted.decoder, "qwen2": partial(converted.decoder, kind="qwen2")}
CASES = [
    ("lfm2", "float32", "float32"),
    ("lfm2", "int8", "float32"),
    ("lfm2", "int8", "int8"),
    ("lfm2", "int4", "int8"),
    ("llama", "float32", "int8"),
    ("llama", "int8", "float32"),
    ("qwen2", "int4", "float32"),
]


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, KvType]]:
    """A model's directory and a type of keys and values."""
    kind, quantization, kv = request.param
    yield KINDS[kind](tmp_path_factory.mktemp(kind), quantization=quantization), kv


@pytest.fixture(scope="module")
def model(case: tuple[Path, KvType]) -> RuntimeModel:
    """The model on two threads."""
    return load(case[0], num_threads=2)


@pytest.fixture(scope="module")
def kv(case: tuple[Path, KvType]) -> KvType:
    """The type of keys and values."""
    return case[1]


@pytest.fixture(scope="module")
def lfm2(tmp_path_factory: pytest.TempPathFactory) -> RuntimeModel:
    """A model whose sessions hold states of both kinds."""
    return load(converted.lfm2(tmp_path_factory.mktemp("lfm2")))


def read_in_pieces(model: RuntimeModel, ids: Ids, lengths: list[int], kv: KvType) -> np.ndarray:
    session = model.session(context_tokens=2048, kv=kv)
    return np.concatenate([model.advance([session], [part], want="all_logits") for part in pieces(ids, lengths)])


@pytest.mark.parametrize("lengths", [[1] * 59, [1, 2, 13, 12, 1], [2, 1, 1], [47, 1], [48], [20, 20]], ids=str)
def test_any_chunking_equals_one_pass(model: RuntimeModel, kv: KvType, lengths: list[int]) -> None:
    ids = some_ids(model, 60)
    np.testing.assert_array_equal(read_in_pieces(model, ids, lengths, kv), logits_of(model, ids, kv=kv))


@pytest.mark.parametrize("lengths", [[511], [512], [513, 190], [1, 512, 1]], ids=str)
def test_the_border_between_two_passes_is_not_seen(model: RuntimeModel, kv: KvType, lengths: list[int]) -> None:
    ids = some_ids(model, 720, seed=1)
    np.testing.assert_array_equal(read_in_pieces(model, ids, lengths, kv), logits_of(model, ids, kv=kv))


@pytest.mark.parametrize("num_threads", [1, 3, 5])
def test_the_number_of_threads_changes_no_bit(case: tuple[Path, KvType], model: RuntimeModel, num_threads: int) -> None:
    other, ids = load(case[0], num_threads=num_threads), some_ids(model, 90)
    np.testing.assert_array_equal(logits_of(other, ids, kv=case[1]), logits_of(model, ids, kv=case[1]))


def test_other_sessions_in_the_pass_change_no_bit(model: RuntimeModel, kv: KvType) -> None:
    texts = [some_ids(model, n, seed=n) for n in (30, 1, 200, 2, 64)]
    sessions = [session_of(model, some_ids(model, n, seed=n + 1), kv=kv) for n in (0, 40, 3, 100, 17)]
    alone = [
        model.advance([session.fork()], [ids], want="all_logits") for session, ids in zip(sessions, texts, strict=True)
    ]
    np.testing.assert_array_equal(model.advance(sessions, texts, want="all_logits"), np.concatenate(alone))


def test_decoding_together_equals_decoding_alone(model: RuntimeModel, kv: KvType) -> None:
    together = [session_of(model, some_ids(model, n, seed=n), kv=kv) for n in (5, 50, 7, 49, 21, 1, 2, 120)]
    alone = [session.fork() for session in together]
    for step in range(6):
        ids = [some_ids(model, 1, seed=10 * step + i) for i in range(len(together))]
        model.advance(together, ids)
        for session, other, one in zip(together, alone, ids, strict=True):
            model.advance([other], [one])
            np.testing.assert_array_equal(session.logits(), other.logits())


@pytest.mark.parametrize("length", [0, 1, 2, 3, 15, 16, 47, 48, 49, 100, 191, 192, 193, 299])
def test_a_cut_session_goes_on_as_if_the_rest_had_never_been(model: RuntimeModel, kv: KvType, length: int) -> None:
    ids, other = some_ids(model, 300), some_ids(model, 40, seed=9)
    session = session_of(model, ids, kv=kv)
    session.cut(length)
    assert (session.length, len(session.logits())) == (length, 0)
    expected = logits_of(model, np.concatenate([ids[:length], other]), kv=kv)[length:]
    np.testing.assert_array_equal(model.advance([session], [other], want="all_logits"), expected)


@pytest.mark.parametrize("back", range(1, 11))
def test_a_cut_of_a_few_tokens_goes_on_as_if_they_had_never_been(model: RuntimeModel, kv: KvType, back: int) -> None:
    ids, other = some_ids(model, 70), some_ids(model, 12, seed=9)
    session = session_of(model, ids[:60], kv=kv)
    for at in range(60, 70):
        model.advance([session], [ids[at : at + 1]])
    for _ in range(2):  # the second cut goes beyond what a state has left
        session.cut(session.length - back)
    expected = logits_of(model, np.concatenate([ids[: 70 - 2 * back], other]), kv=kv)[-12:]
    np.testing.assert_array_equal(model.advance([session], [other], want="all_logits"), expected)


def test_tails_are_the_last_rows_of_each_session(model: RuntimeModel) -> None:
    texts = [some_ids(model, length, length) for length in (5, 300, 1)]
    tails = [3, 270, 1]  # one reaches over several passes
    sessions = [model.session(context_tokens=512) for _ in texts]
    rows = model.advance(sessions, texts, tails=tails)
    expected = [logits_of(model, ids)[-tail:] for ids, tail in zip(texts, tails, strict=True)]
    np.testing.assert_array_equal(rows, np.concatenate(expected))
    for session, part in zip(sessions, expected, strict=True):
        np.testing.assert_array_equal(session.logits(), part[-1])


def test_a_cut_at_the_end_or_beyond_keeps_the_logits(model: RuntimeModel) -> None:
    session = session_of(model, some_ids(model, 9))
    before = session.logits()
    for length in (9, 10, 10**6):
        session.cut(length)
        np.testing.assert_array_equal(session.logits(), before)


@pytest.mark.parametrize("length", [None, 0, 1, 33, 192, 250])
def test_a_fork_goes_on_and_leaves_the_original_alone(model: RuntimeModel, kv: KvType, length: int | None) -> None:
    ids, other = some_ids(model, 250), some_ids(model, 20, seed=9)
    session = session_of(model, ids, kv=kv)
    copy = session.fork(length)
    kept = ids if length is None else ids[:length]
    forked = model.advance([copy], [other], want="all_logits")
    original = model.advance([session], [other], want="all_logits")
    np.testing.assert_array_equal(forked, logits_of(model, np.concatenate([kept, other]), kv=kv)[len(kept) :])
    np.testing.assert_array_equal(original, logits_of(model, np.concatenate([ids, other]), kv=kv)[250:])


@pytest.mark.parametrize("length", [0, 1, 48, 200])
def test_a_restored_session_goes_on(model: RuntimeModel, kv: KvType, length: int) -> None:
    ids, other = some_ids(model, length), some_ids(model, 20, seed=9)
    session = session_of(model, ids, kv=kv)
    restored = model.restore(session.save(), context_tokens=300)
    assert (restored.length, restored.kv, restored.context_tokens) == (length, kv, 300)
    np.testing.assert_array_equal(restored.tokens(), ids)
    np.testing.assert_array_equal(restored.logits(), session.logits())
    model.advance([restored, session], [other, other])
    np.testing.assert_array_equal(restored.logits(), session.logits())


def test_a_snapshot_is_the_same_however_the_session_grew(model: RuntimeModel, kv: KvType) -> None:
    ids = some_ids(model, 250)
    whole, grown = session_of(model, ids, kv=kv), session_of(model, ids[:100], kv=kv)
    for at in range(100, 250, 50):
        model.advance([grown], [ids[at : at + 50]])
    assert grown.save() == whole.save()
    assert model.restore(whole.save(), context_tokens=2048).save() == whole.save()


@pytest.mark.parametrize("seed", range(6))
def test_any_program_of_operations_equals_one_pass(model: RuntimeModel, kv: KvType, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sessions: list[RuntimeSession] = [model.session(context_tokens=2048, kv=kv)]
    for _ in range(30):
        at = int(rng.integers(len(sessions)))
        match rng.integers(6):
            case 0:
                sessions[at].cut(int(rng.integers(sessions[at].length + 1)))
            case 5:
                sessions[at].cut(max(0, sessions[at].length - int(rng.integers(12))))
            case 1 if len(sessions) < 5:
                sessions.append(sessions[at].fork(int(rng.integers(sessions[at].length + 1))))
            case 2:
                sessions[at] = model.restore(sessions[at].save(), context_tokens=2048)
            case _:
                taken = rng.permutation(len(sessions))[: rng.integers(1, len(sessions) + 1)]
                ids = [some_ids(model, int(rng.choice([1, 2, 5, 60])), int(rng.integers(2**31))) for _ in taken]
                model.advance([sessions[i] for i in taken], ids)
    end = some_ids(model, 3, seed)
    for session in sessions:
        expected = logits_of(model, np.concatenate([session.tokens(), end]), kv=kv)[-3:]
        np.testing.assert_array_equal(model.advance([session], [end], want="all_logits"), expected)


@pytest.mark.parametrize("width", [2, 3, 5])
def test_a_cut_replays_as_far_as_convolutions_remember(tmp_path: Path, width: int) -> None:
    """(width - 1) a layer: one token less would leave the first of them out."""
    model = load(converted.lfm2(tmp_path, Size((CONV,) * 4, width=width)))
    ids = some_ids(model, 60)
    session = session_of(model, ids)
    session.cut(40)
    np.testing.assert_array_equal(model.advance([session], [ids[40:]], want="all_logits"), logits_of(model, ids)[40:])


def test_8_bit_keys_and_values_take_less_memory(lfm2: RuntimeModel) -> None:
    ids = some_ids(lfm2, 1000)
    sizes = [session_of(lfm2, ids, kv=kv).nbytes() for kv in ("float32", "int8")]  # type: ignore[arg-type]
    assert sizes[1] < 0.75 * sizes[0]  # heads of 16 are padded to whole groups of 64; real ones have 64


def test_the_memory_of_a_session_grows_with_its_tokens(lfm2: RuntimeModel) -> None:
    sizes = [session_of(lfm2, some_ids(lfm2, count)).nbytes() for count in (0, 1, 200, 2000)]
    assert sizes == sorted(sizes)
    assert sizes[0] < 10_000 < sizes[3] < 4_000_000


def test_batch_equals_single_to_the_bit_in_an_encoder(tmp_path: Path) -> None:
    for quantization in ("float32", "int8"):
        model = load(converted.encoder(tmp_path / quantization, quantization=quantization), num_threads=2)
        texts = [some_ids(model, 1 + i % 32, seed=i) for i in range(70)]
        alone = np.concatenate([model.encode([ids]) for ids in texts])
        np.testing.assert_array_equal(model.encode(texts), alone)
        np.testing.assert_array_equal(model.encode(texts[::-1]), alone[::-1])


def test_no_texts_give_no_vectors(tmp_path: Path) -> None:
    model = load(converted.encoder(tmp_path))
    assert model.encode([]).shape == (0, model.hidden_size)
